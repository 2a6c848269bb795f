//! Every way of showing, against strings: what all of these tests write to and look at.
#![allow(clippy::unwrap_used)]

mod errors;
mod events;
mod output;
mod results;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::*;

const UNICODE: Style = Style { color: false, unicode: true };
const MIB: u64 = 1 << 20;

/// A stream that remembers.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>, Instant);

impl Hands {
    fn new() -> Self {
        Hands(Arc::default(), Instant::now())
    }
    fn clock(&self) -> Clock {
        let hands = self.clone();
        Arc::new(move || hands.1 + Duration::from_millis(hands.0.load(Ordering::SeqCst)))
    }
    fn move_to(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::SeqCst);
    }
}
