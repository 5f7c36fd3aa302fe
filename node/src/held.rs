//! Since when blocks are held here with their certificates, by this machine's clock: how long a
//! withdrawal took to reach this node is asked for afterwards, too.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use consilium_proto::ids::{Height, TimeMs};

/// Certificates remembered; before the first nothing is known.
const HELD_MAX: usize = 16_384;

/// The newest certificates, in order, each with the time when it was known here; the first one is
/// where the memory begins, and its time is not told.
#[derive(Debug)]
pub(crate) struct Held(Mutex<VecDeque<(Height, TimeMs)>>);

impl Held {
    /// Begins with what was certified before.
    pub(crate) fn new(certified: Height) -> Self {
        Self(Mutex::new(VecDeque::from([(certified, TimeMs(0))])))
    }

    /// Everything up to a height is certified.
    pub(crate) fn certified(&self, height: Height, now: TimeMs) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.back().is_some_and(|(newest, _)| *newest < height) {
            held.push_back((height, now));
        }
        if held.len() > HELD_MAX {
            held.pop_front();
        }
    }

    /// When the certificate of a height, or of one above it, was known here; `None` if it is not,
    /// or this node has forgotten.
    pub(crate) fn since(&self, height: Height) -> Option<TimeMs> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = held.partition_point(|(certified, _)| *certified < height);
        held.get(place).filter(|_| place > 0).map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_held_since_the_first_certificate_at_or_above_it() {
        let held = Held::new(Height(4));
        held.certified(Height(6), TimeMs(60));
        held.certified(Height(6), TimeMs(61));
        held.certified(Height(7), TimeMs(70));
        let since = [4, 5, 6, 7, 8].map(|height| held.since(Height(height)).map(|at| at.0));
        assert_eq!(since, [None, Some(60), Some(60), Some(70), None], "what was before the start is not known");
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let held = Held::new(Height(0));
        (1..=HELD_MAX as u64 + 1).for_each(|height| held.certified(Height(height), TimeMs(height)));
        assert_eq!(held.since(Height(2)), None);
        assert_eq!(held.since(Height(3)), Some(TimeMs(3)));
    }
}
