//! How many transactions are worth a block of their own: each block costs every node two syncs, a
//! signature and the votes of the others, however small it is. Under load a block waits for the
//! certificate of the one before: who waited for that is back with what it does next, and all of
//! it goes into one block. Where certificates take long, nobody waits for them.
//!
//! Who was answered by a certificate needs a moment to be back. If they were after the certificate
//! before, a block waits for them as long as it took itself, and a few milliseconds at most: else half of
//! the callers would always wait for the block of the other half.

/// Transactions that a block costs as much as, whatever it holds.
const BLOCK_WORTH: usize = 32;
/// So long fewer wait for the block before theirs: on nodes that are near each other it is certified
/// by then. Nodes that are far from each other, or fewer than a certificate needs, order on.
const PATIENCE_MS: u64 = 25;
/// So long a block waits at most for those who were answered.
const RETURN_MS: u64 = 8;

/// What is worth a block at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// So many transactions.
    pub(crate) count: usize,
    /// Until then. Later fewer are, if nothing else happens.
    pub(crate) until_ms: u64,
}

impl Wanted {
    /// Whatever there is.
    const ANY: Self = Self { count: 0, until_ms: u64::MAX };
}

/// What is known of the blocks under way.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Transactions of the newest block.
    count: usize,
    made_ms: u64,
    /// When it was made, or one was executed: whichever was later.
    moved_ms: u64,
    answered: Answered,
}

/// Since a certificate answered those who waited for it.
#[derive(Debug, Default)]
struct Answered {
    at_ms: u64,
    /// So many.
    count: usize,
    /// So long it took since the block was made.
    took_ms: u64,
    /// Transactions that waited for the next block then.
    waited: usize,
    /// Those that came since, while there was time.
    came: usize,
    /// Whether half of those before were back in time.
    returning: bool,
}

impl Pace {
    /// A transaction came.
    pub(crate) fn came(&mut self, monotonic_ms: u64) {
        let answered = &mut self.answered;
        answered.came += usize::from(monotonic_ms < answered.at_ms.saturating_add(RETURN_MS));
    }

    /// A block was made.
    pub(crate) fn proposed(&mut self, monotonic_ms: u64, count: usize) {
        (self.count, self.made_ms, self.moved_ms) = (count, monotonic_ms, monotonic_ms);
    }

    /// A block was executed.
    pub(crate) fn executed(&mut self, monotonic_ms: u64) {
        self.moved_ms = monotonic_ms;
    }

    /// A block was certified, while so many waited for the next.
    pub(crate) fn certified(&mut self, monotonic_ms: u64, waited: usize) {
        let before = &self.answered;
        self.answered = Answered {
            at_ms: monotonic_ms,
            count: self.count,
            took_ms: monotonic_ms.saturating_sub(self.made_ms),
            waited,
            came: 0,
            returning: before.count > 0 && before.came.saturating_mul(2) >= before.count,
        };
    }

    /// What is worth a block, while others are not executed, or the newest that is executed is not
    /// certified.
    pub(crate) fn wanted(&self, monotonic_ms: u64, not_executed: u64, is_certified: bool) -> Wanted {
        let until_ms = self.moved_ms.saturating_add(PATIENCE_MS);
        match (not_executed, is_certified) {
            (0, true) => self.back(monotonic_ms),
            _ if monotonic_ms < until_ms => Wanted { count: BLOCK_WORTH.max(self.count.saturating_mul(2)), until_ms },
            (0, false) => Wanted::ANY,
            _ => Wanted { count: self.count, ..Wanted::ANY },
        }
    }

    /// Those who waited when a certificate came, and those whom it answered.
    fn back(&self, monotonic_ms: u64) -> Wanted {
        let Answered { at_ms, count, took_ms, waited, returning, .. } = self.answered;
        let until_ms = at_ms.saturating_add(took_ms.min(RETURN_MS));
        match returning && monotonic_ms < until_ms {
            true => Wanted { count: waited.saturating_add(count), until_ms },
            false => Wanted::ANY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(count: usize) -> Pace {
        let mut pace = Pace::default();
        pace.proposed(1_000, count);
        pace
    }

    fn count(pace: &Pace, monotonic_ms: u64, not_executed: u64, is_certified: bool) -> usize {
        pace.wanted(monotonic_ms, not_executed, is_certified).count
    }

    #[test]
    fn nobody_waits_where_nothing_is_under_way() {
        assert_eq!(pace(500).wanted(1_000, 0, true), Wanted::ANY);
        assert_eq!(Pace::default().wanted(0, 0, true), Wanted::ANY);
    }

    #[test]
    fn few_wait_for_the_block_before() {
        for (made, wanted) in [(0, BLOCK_WORTH), (1, BLOCK_WORTH), (16, BLOCK_WORTH), (17, 34), (500, 1_000)] {
            for (not_executed, is_certified) in [(0, false), (1, true), (2, false)] {
                let until_ms = 1_000 + PATIENCE_MS;
                let expected = Wanted { count: wanted, until_ms };
                assert_eq!(pace(made).wanted(until_ms - 1, not_executed, is_certified), expected);
            }
        }
    }

    #[test]
    fn nobody_waits_for_long() {
        let until = 1_000 + PATIENCE_MS;
        assert_eq!(pace(500).wanted(until, 0, false), Wanted::ANY);
        // Beside blocks that others still have to write, as many as these hold.
        assert_eq!(pace(500).wanted(until, 1, false), Wanted { count: 500, until_ms: u64::MAX });
        let mut pace = pace(500);
        pace.executed(until);
        assert_eq!(count(&pace, until, 0, false), 1_000);
        assert_eq!(count(&pace, until + PATIENCE_MS, 0, false), 0);
    }

    /// A block of ten was certified, and so many came within so many milliseconds; the next, of as
    /// many, is certified 20 ms after it was made, while three wait.
    fn after(came: usize, after_ms: u64) -> Pace {
        let mut pace = pace(10);
        pace.certified(1_020, 0);
        (0..came).for_each(|_| pace.came(1_020 + after_ms));
        pace.proposed(1_040, 10);
        pace.certified(1_060, 3);
        pace
    }

    #[test]
    fn who_was_answered_is_waited_for_if_they_came_back_before() {
        let expected = Wanted { count: 13, until_ms: 1_060 + RETURN_MS };
        assert_eq!(after(5, RETURN_MS - 1).wanted(1_060, 0, true), expected);
        assert_eq!(after(10, 0).wanted(1_060 + RETURN_MS - 1, 0, true), expected);
        assert_eq!(after(10, 0).wanted(1_060 + RETURN_MS, 0, true), Wanted::ANY);
        for others in [after(4, 0), after(10, RETURN_MS), after(0, 0)] {
            assert_eq!(others.wanted(1_060, 0, true), Wanted::ANY);
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_a_block_takes() {
        let mut pace = after(10, 0);
        (0..10).for_each(|_| pace.came(1_061));
        pace.proposed(1_070, 13);
        pace.certified(1_072, 0);
        assert_eq!(pace.wanted(1_073, 0, true), Wanted { count: 13, until_ms: 1_074 });
        assert_eq!(pace.wanted(1_074, 0, true), Wanted::ANY);
    }

    #[test]
    fn a_block_of_nothing_answers_nobody() {
        let mut pace = pace(0);
        pace.certified(1_020, 0);
        pace.proposed(1_040, 10);
        pace.certified(1_060, 3);
        assert_eq!(pace.wanted(1_060, 0, true), Wanted::ANY);
    }
}
