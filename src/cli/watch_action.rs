//! Runs `stop`, `restart` or `open` while the watch is shown, in a thread of its own because taking the lock may block.
//! Its output goes to the watch.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    args::{self, Global},
    context::Context,
    open, stop,
};
use crate::{
    error::{Error, Result},
    event::{Event, Reporter},
    interrupt::{self, Interrupt, Raise},
    present::{ColorChoice, Output, Streams, Style, error},
    watch::{ScreenInput, WatchAction},
};

/// Grace before SIGKILL, as the commands have it.
const GRACE: u64 = 10;

/// A command that runs.
pub struct Doing {
    /// Its progress; ends with [`ScreenInput::Done`].
    pub inputs: UnboundedReceiver<ScreenInput>,
    /// Interrupts it.
    pub raise: Raise,
}

/// Begins a command with the options that the watch has.
pub fn begin(context: &Context, action: WatchAction) -> Doing {
    let (to, inputs) = unbounded_channel();
    let (raise, interrupt) = interrupt::pair();
    let global = Global { json: false, quiet: true, color: args::Color::Never, ..context.global.clone() };
    let streams = Streams { json: false, quiet: true, color: ColorChoice::Never, ..*context.output.streams() };
    let instance = context.name.to_string();
    std::thread::spawn(move || {
        let done = run(action, global, streams, interrupt, to.clone());
        let done = done.map_err(|e| error::text(&e, Some(&instance), Style::PLAIN));
        // Fails when the watch has ended.
        let _ = to.send(ScreenInput::Done(done));
    });
    Doing { inputs, raise }
}

/// Runs a command to its end; what it printed.
fn run(
    action: WatchAction,
    global: Global,
    streams: Streams,
    interrupt: Interrupt,
    to: UnboundedSender<ScreenInput>,
) -> Result<String> {
    let failed = |e: io::Error| Error::bug(format!("no runtime: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let buffer = OutputBuffer::default();
    let mut context = Context::new(global, streams, interrupt)?;
    context.output = Output::to(streams, Box::new(buffer.clone()), Box::new(io::sink()));
    context.instance.reporter = Box::new(Relay { to, notes: buffer.clone() });
    // The terminal is the screen's: nothing is asked here.
    context.environment.interactive = false;
    context.ask_at_terminal();
    runtime.block_on(async {
        match action {
            WatchAction::Restart => {
                stop::restart(&context, &args::RestartArgs { timeout: GRACE, dry_run: false }).await
            }
            WatchAction::Stop => stop::run(&context, &args::Stop { timeout: GRACE }).await,
            WatchAction::Open => open::run(&context, &args::Open { print: false }).await,
        }
    })?;
    Ok(buffer.text())
}

/// What is printed, kept.
#[derive(Clone, Default)]
struct OutputBuffer(Arc<Mutex<Vec<u8>>>);

impl OutputBuffer {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for OutputBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands over how far it has come.
struct Relay {
    to: UnboundedSender<ScreenInput>,
    notes: OutputBuffer,
}

impl Reporter for Relay {
    fn report(&self, event: &Event) {
        let text = match event {
            Event::StepStarted { step, .. } => step.clone(),
            Event::Waiting { what, .. } => format!("waiting for {what}"),
            Event::Host { what, .. } => what.clone(),
            Event::Note { text } | Event::Warning { text } => {
                // Part of what came of it.
                let _ = writeln!(self.notes.clone(), "{text}");
                return;
            }
            _ => return,
        };
        let _ = self.to.send(ScreenInput::Progress(text));
    }
}
