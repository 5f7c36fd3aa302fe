use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn an_even_split_loses_nothing(stake in 0u64..1_000, nodes in 1usize..17) {
        let ids: Vec<NodeId> = (1..=nodes as u64).map(NodeId).collect();
        let split = evenly(stake, &ids);
        prop_assert_eq!(split.iter().map(|d| d.amount).sum::<u64>(), stake);
        prop_assert!(split.iter().skip(1).all(|d| d.amount == stake / nodes as u64));
        prop_assert!(split.windows(2).all(|p| p[0].node < p[1].node && p[0].amount >= p[1].amount));
    }
}
