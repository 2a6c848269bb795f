//! The last minutes of something that is measured, a value a second, in a ring of fixed size.

use std::collections::VecDeque;

/// How many seconds are kept.
pub const SECONDS: u64 = 300;

/// See the module. Times are seconds since any fixed moment.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// One a second up to `last`; `None`: not measured then.
    values: VecDeque<Option<f64>>,
    last: u64,
}

impl History {
    /// Takes a value. Of several in one second, the last counts; one of an earlier second is dropped.
    pub fn push(&mut self, at: u64, value: f64) {
        if self.values.is_empty() || at.saturating_sub(self.last) >= SECONDS {
            self.values.clear();
        } else if at == self.last {
            self.values.pop_back();
        } else if at < self.last {
            return;
        } else {
            let missed = at - self.last - 1;
            self.values.extend((0..missed).map(|_| None));
        }
        self.values.push_back(Some(value));
        self.last = at;
        let seconds = usize::try_from(SECONDS).unwrap_or(usize::MAX);
        let too_many = self.values.len().saturating_sub(seconds);
        self.values.drain(..too_many);
    }

    /// The largest value of each of `width` spans of time, oldest first, up to `now`. A span keeps its seconds
    /// while it moves to the left, so that nothing flickers.
    pub fn spans(&self, now: u64, width: usize) -> Vec<Option<f64>> {
        let Ok(columns @ 1..) = u64::try_from(width) else { return vec![] };
        let each = SECONDS.div_ceil(columns).max(1);
        let first = (now / each + 1).saturating_sub(columns);
        let mut spans = vec![None; width];
        let begin = (self.last + 1).saturating_sub(u64::try_from(self.values.len()).unwrap_or(0));
        for (value, at) in self.values.iter().zip(begin..) {
            let span = (at / each).checked_sub(first).and_then(|span| usize::try_from(span).ok());
            if let (Some(value), Some(span)) = (value, span.and_then(|span| spans.get_mut(span))) {
                *span = Some(span.map_or(*value, |most: f64| most.max(*value)));
            }
        }
        spans
    }

    /// How many values are kept, and for how many there is room.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        (self.values.len(), self.values.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_their_seconds_and_gaps_stay_gaps() {
        let mut history = History::default();
        for (at, value) in [(1000, 1.0), (1001, 5.0), (1002, 2.0), (1010, 3.0), (1010, 4.0), (1005, 9.0)] {
            history.push(at, value);
        }
        // 300 seconds in 60 columns: five each.
        let last = |now: u64| history.spans(now, 60).split_off(56);
        assert_eq!(last(1010), [None, Some(5.0), None, Some(4.0)]);
        assert_eq!(last(1014), last(1010));
        assert_eq!(last(1015), [Some(5.0), None, Some(4.0), None]);
        assert!(history.spans(1400, 60).iter().all(Option::is_none), "what is older is not shown");
        assert!(history.spans(1010, 0).is_empty());
        assert_eq!(history.spans(3, 7).len(), 7, "before all of it, too");
        history.push(9000, 1.0);
        assert_eq!(history.size().0, 1);
    }
}
