//! Ctrl-C and SIGTERM as a condition that long work waits for beside its own. The first signal
//! asks; the process's owner decides what the second one does.

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Tells whether the user wants to stop. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Raises an [`Interrupt`].
#[derive(Debug)]
pub struct Raise(watch::Sender<bool>);

/// A connected pair.
pub fn pair() -> (Raise, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (Raise(sender), Interrupt(receiver))
}

impl Raise {
    /// From now on, everything that waits is interrupted.
    pub fn raise(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// Completes when the user wants to stop; never when nobody can say so any more.
    pub async fn wait(&self) {
        if self.0.clone().wait_for(|raised| *raised).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does some work, and drops it where it is when the user wants to stop: that ends with this error.
    ///
    /// # Errors
    /// `stopped`, and those of the work.
    pub fn or<T>(&self, stopped: Error, work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        // On the heap: as an argument it would be a part of the caller's future twice, and stacks are small.
        let work = Box::pin(work);
        async move {
            tokio::select! {
                biased;
                () = self.wait() => Err(stopped),
                done = work => done,
            }
        }
    }

    /// Whether the user wants to stop.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }
}
