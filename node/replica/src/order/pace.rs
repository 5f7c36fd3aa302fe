//! How many transactions are worth a block of their own: each block costs every node two syncs, a
//! signature and the votes of the others, however small it is. Under load a block waits for the
//! certificate of the one before: who waited for that is back with what it does next, and all of
//! it goes into one block. Where certificates take long, nobody waits for them.

/// Transactions that a block costs as much as, whatever it holds.
const BLOCK_WORTH: usize = 32;
/// So long fewer wait for the block before theirs: on nodes that are near each other it is certified
/// by then. Nodes that are far from each other, or fewer than a certificate needs, order on.
const PATIENCE_MS: u64 = 25;

/// What is known of the blocks under way.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Transactions of the newest block.
    count: usize,
    /// When it was made, or one was executed: whichever was later.
    moved_ms: u64,
}

impl Pace {
    /// A block was made.
    pub(crate) fn proposed(&mut self, monotonic_ms: u64, count: usize) {
        *self = Self { count, moved_ms: monotonic_ms };
    }

    /// A block was executed.
    pub(crate) fn executed(&mut self, monotonic_ms: u64) {
        self.moved_ms = monotonic_ms;
    }

    /// So many are worth a block, while others are not executed, or the newest that is executed is
    /// not certified.
    pub(crate) fn wanted(&self, monotonic_ms: u64, not_executed: u64, is_certified: bool) -> usize {
        let lately = monotonic_ms.saturating_sub(self.moved_ms) < PATIENCE_MS;
        match (not_executed, is_certified) {
            (0, true) => 0,
            _ if lately => BLOCK_WORTH.max(self.count.saturating_mul(2)),
            (0, false) => 0,
            _ => self.count,
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

    #[test]
    fn nobody_waits_where_nothing_is_under_way() {
        assert_eq!(pace(500).wanted(1_000, 0, true), 0);
        assert_eq!(Pace::default().wanted(0, 0, true), 0);
    }

    #[test]
    fn few_wait_for_the_block_before() {
        for (count, wanted) in [(0, BLOCK_WORTH), (1, BLOCK_WORTH), (16, BLOCK_WORTH), (17, 34), (500, 1_000)] {
            for (not_executed, is_certified) in [(0, false), (1, true), (2, false)] {
                assert_eq!(pace(count).wanted(1_000 + PATIENCE_MS - 1, not_executed, is_certified), wanted);
            }
        }
    }

    #[test]
    fn nobody_waits_for_long() {
        let until = 1_000 + PATIENCE_MS;
        assert_eq!(pace(500).wanted(until, 0, false), 0);
        // Beside blocks that others still have to write, as many as these hold.
        assert_eq!(pace(500).wanted(until, 1, false), 500);
        let mut pace = pace(500);
        pace.executed(until);
        assert_eq!(pace.wanted(until, 0, false), 1_000);
        assert_eq!(pace.wanted(until + PATIENCE_MS, 0, false), 0);
    }
}
