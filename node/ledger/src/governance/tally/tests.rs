use super::*;
use proptest::prelude::*;

proptest! {
    /// Accepted exactly above the share, rejected exactly when the rest that has a say
    /// could not lift it above.
    #[test]
    fn the_verdict_is_exact(
        approving in 0u64..1_000, rejecting in 0u64..1_000, silent in 0u64..1_000, absent in 0u64..1_000,
        numerator in 1u32..20, more in 1u32..20,
    ) {
        let denominator = numerator + more;
        let total = approving + rejecting + silent + absent;
        let line = |stake| TallyLine { stake, ..TallyLine::default() };
        let lines = [approving, rejecting, silent].map(line).to_vec();
        let tally = pb::Tally { approving, rejecting, total, numerator, denominator, lines, ..pb::Tally::default() };
        let enough = |part: u64| part * u64::from(denominator) > total * u64::from(numerator);
        let expected = match (enough(approving), enough(approving + silent)) {
            (true, _) => Verdict::Accepted,
            (false, true) => Verdict::Undecided,
            (false, false) => Verdict::Rejected,
        };
        prop_assert_eq!(verdict(&tally), expected);
    }
}
