//! The numbers of the policy: how often it looks, how patient it is, when enough is enough. Decides nothing.

use std::time::Duration;

/// The numbers (contract, section 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Time between two probes of the page.
    pub probe_every: Duration,
    /// The same while a start has not been answered yet.
    pub probe_starting: Duration,
    /// So many misses in a row make a restart.
    pub misses: u32,
    /// How long after a start misses do not count, unless the page has answered before.
    pub start_period: Duration,
    /// The pause before the second restart; it doubles with each.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_most: Duration,
    /// After so long healthy, the next restart is a first one again.
    pub healthy_after: Duration,
    /// So many restarts …
    pub most_restarts: usize,
    /// … within this time are enough.
    pub within: Duration,
    /// How long to wait for the engine to say whether somebody asked for an end, and whether a
    /// start follows it.
    pub settle: Duration,
    /// After the machine slept, misses do not count for this long.
    pub awake_grace: Duration,
    /// Time between two looks at the container when nothing happens: finds what no event told.
    pub inspect_every: Duration,
}

impl Limits {
    /// The contract's numbers, and how long this appliance may take to start.
    pub fn contract(ready_timeout: Duration) -> Self {
        let seconds = Duration::from_secs;
        Limits {
            probe_every: seconds(10),
            probe_starting: seconds(1),
            misses: 3,
            start_period: ready_timeout,
            backoff_first: seconds(1),
            backoff_most: seconds(60),
            healthy_after: seconds(300),
            most_restarts: 5,
            within: seconds(600),
            settle: seconds(2),
            awake_grace: seconds(15),
            inspect_every: seconds(300),
        }
    }

    /// The shortest pause after so many restarts in a row.
    pub fn backoff(&self, restarts: u32) -> Duration {
        match restarts {
            0 => Duration::ZERO,
            n => self.backoff_first.saturating_mul(1 << (n - 1).min(20)).min(self.backoff_most),
        }
    }
}
