//! Whether somebody stopped a container on Podman, which tells of it in other ways than Docker: the event `stop` comes only
//! when the program had to be killed. Pure.
//!
//! What was seen of `podman stop`: 5.8 has it in the container's state, where `podman kill` is, too, but that has an event of
//! its own. 4.3 has it nowhere, and tells `cleanup` twice: once for the end and once for the command.

use crate::{
    engine::events::EventKind,
    supervise::policy::{ExitStatus, Input, Outside},
};

/// So many of them follow an end that a command asked for.
const CLEANUPS: u8 = 2;

/// What was told of one run of the container.
#[derive(Debug, Default)]
pub(super) struct Clues {
    /// Somebody sent it a signal, which does not mean that it should stop.
    signalled: bool,
    /// Seen of an end that may have been asked for.
    cleanups: Option<u8>,
}

impl Clues {
    /// Takes an event; whether the container's state has to be looked at, because it tells more of this end.
    pub(super) fn take(&mut self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Started => *self = Clues::default(),
            EventKind::Signalled { .. } => self.signalled = true,
            EventKind::Died { .. } => return !self.signalled,
            _ => {}
        }
        false
    }

    /// What an end means that was looked at: `stopped` is what its state says.
    pub(super) fn died(&mut self, status: ExitStatus, stopped: Option<bool>) -> Vec<Input> {
        let end = Input::Died(status.clone());
        if stopped == Some(true) {
            return vec![Input::EndedOutside(Outside::Stopped), end];
        }
        if stopped.is_none() && status.is_quiet() {
            self.cleanups = Some(0);
            return vec![Input::AskedToEnd, end];
        }
        vec![end]
    }

    /// What one more `cleanup` means.
    pub(super) fn cleaned_up(&mut self) -> Option<Input> {
        let seen = self.cleanups.as_mut()?;
        *seen = seen.saturating_add(1);
        (*seen == CLEANUPS).then_some(Input::EndedOutside(Outside::Stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Input = Input::EndedOutside(Outside::Stopped);

    /// The inputs from a run's events, as Podman told them.
    fn told(code: i64, stopped: Option<bool>, events: &[EventKind]) -> Vec<Input> {
        let mut clues = Clues::default();
        let mut inputs = vec![];
        for event in events {
            let look = clues.take(event);
            match event {
                EventKind::Died { .. } => {
                    let status = ExitStatus { code: Some(code), out_of_memory: false };
                    inputs.extend(if look { clues.died(status, stopped) } else { vec![Input::Died(status)] });
                }
                EventKind::CleanedUp => inputs.extend(clues.cleaned_up()),
                _ => {}
            }
        }
        inputs
    }

    #[test]
    fn podmans_ways_to_tell_of_a_stop_are_understood() {
        let died = |code| Input::Died(ExitStatus { code: Some(code), out_of_memory: false });
        let (start, kill, die, clean) = (
            EventKind::Started,
            EventKind::Signalled { signal: 0 },
            EventKind::Died { code: None },
            EventKind::CleanedUp,
        );
        let run = |middle: &[EventKind]| [&[start.clone()][..], middle].concat();
        // Podman 4.3.1: stop, an end by itself, kill --signal TERM, a crash.
        let stop = run(&[die.clone(), clean.clone(), clean.clone()]);
        let end = run(&[die.clone(), clean.clone()]);
        let signal = run(&[kill.clone(), die.clone(), clean.clone()]);
        assert_eq!(told(143, None, &stop), [Input::AskedToEnd, died(143), STOP]);
        assert_eq!(told(0, None, &end), [Input::AskedToEnd, died(0)]);
        assert_eq!(told(0, None, &signal), [died(0)]);
        assert_eq!(told(7, None, &end), [died(7)]);
        // Podman 5.8.6: stop, kill, rm --force.
        assert_eq!(told(0, Some(true), &end), [STOP, died(0)]);
        assert_eq!(told(137, Some(true), &signal), [died(137)]);
        // What was before a start says nothing about the next end.
        assert_eq!(told(0, Some(true), &[signal, end].concat()), [died(0), STOP, died(0)]);
    }
}
