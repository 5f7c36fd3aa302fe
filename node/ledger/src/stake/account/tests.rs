#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn account(allotment: u64, delegations: &[(u64, u64)]) -> Account {
    Account {
        allotment,
        delegations: delegations.iter().copied().collect(),
        pending: Vec::new(),
        unbonding: BTreeMap::new(),
    }
}

fn refused(result: Result<(), Refusal>) -> bool {
    matches!(result, Err(Refusal::Rejected(Outcome::StakeNotAvailable)))
}

#[test]
fn changes_wait_for_the_epochs_end() {
    let mut a = account(100, &[(1, 60)]);
    a.delegate(NodeId(2), 30).unwrap();
    assert!(refused(a.delegate(NodeId(2), 11)));
    a.redelegate(NodeId(1), NodeId(2), 50).unwrap();
    assert!(refused(a.undelegate(NodeId(1), 11)));
    a.undelegate(NodeId(1), 10).unwrap();
    assert_eq!((a.delegated_to(NodeId(1)), a.free()), (60, 10));
    a.settle(Epoch(5), 3, &[1, 2]);
    assert_eq!((a.delegated_to(NodeId(1)), a.delegated_to(NodeId(2)), a.free()), (0, 80, 10));
    a.settle(Epoch(7), 3, &[1, 2]);
    assert_eq!(a.free(), 10);
    a.settle(Epoch(8), 3, &[1, 2]);
    assert_eq!(a.free(), 20);
}

#[test]
fn stake_for_a_node_that_left_stays_free_or_unbonds() {
    let mut a = account(100, &[(1, 60)]);
    a.delegate(NodeId(9), 30).unwrap();
    a.redelegate(NodeId(1), NodeId(9), 20).unwrap();
    a.settle(Epoch(2), 1, &[1]);
    assert_eq!((a.delegated_to(NodeId(1)), a.delegated_to(NodeId(9)), a.free()), (40, 0, 40));
    a.settle(Epoch(3), 1, &[1]);
    assert_eq!(a.free(), 60);
}

#[test]
fn a_lower_allotment_takes_in_order() {
    let mut a = account(100, &[(1, 30), (2, 20)]);
    a.undelegate(NodeId(1), 10).unwrap();
    a.settle(Epoch(1), 9, &[1, 2]);
    a.delegate(NodeId(1), 30).unwrap();
    // 20 are free, 30 wait, 10 unbond, 20 are on each node.
    for (allotment, expected) in
        [(80, (30, 20, 20)), (55, (5, 20, 20)), (45, (0, 20, 20)), (30, (0, 20, 10)), (5, (0, 5, 0))]
    {
        a.allot(allotment);
        let found = (a.pending_from(FREE), a.delegated_to(NodeId(1)), a.delegated_to(NodeId(2)));
        assert_eq!(found, expected, "allotment {allotment}");
    }
    assert_eq!(a.unbonding.len(), 0);
}

#[test]
fn a_replaced_node_takes_delegations_and_changes_with_it() {
    let mut a = account(100, &[(1, 30), (2, 20)]);
    a.delegate(NodeId(1), 5).unwrap();
    a.redelegate(NodeId(1), NodeId(2), 10).unwrap();
    a.rename(NodeId(1), NodeId(3));
    a.settle(Epoch(1), 9, &[2, 3]);
    assert_eq!(a.delegations().collect::<Vec<_>>(), [(NodeId(2), 30), (NodeId(3), 25)]);
}

#[derive(Debug, Clone)]
enum Step {
    Delegate(u64, u64),
    Redelegate(u64, u64, u64),
    Undelegate(u64, u64),
    Settle,
    Allot(u64),
    Cut(u64, u64),
    GiveBack(u64, u64),
    Rename(u64),
    Leave(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = || 1u64..5;
    let amount = || 1u64..60;
    prop_oneof![
        3 => (node(), amount()).prop_map(|(n, a)| Step::Delegate(n, a)),
        3 => (node(), node(), amount()).prop_filter("two nodes", |(f, t, _)| f != t)
            .prop_map(|(f, t, a)| Step::Redelegate(f, t, a)),
        3 => (node(), amount()).prop_map(|(n, a)| Step::Undelegate(n, a)),
        3 => Just(Step::Settle),
        1 => (0u64..200).prop_map(Step::Allot),
        1 => (node(), amount()).prop_map(|(n, a)| Step::Cut(n, a)),
        1 => (node(), amount()).prop_map(|(n, a)| Step::GiveBack(n, a)),
        1 => node().prop_map(Step::Rename),
        1 => node().prop_map(Step::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever happens, nothing is in two places, nothing bound exceeds
    /// the allotment, and only allotments, cuts and returns change it.
    #[test]
    fn stake_is_never_made_nor_lost(steps in prop::collection::vec(any_step(), 0..40)) {
        let mut a = account(100, &[(1, 40)]);
        let mut next = 1;
        let mut allotment = 100;
        for step in steps {
            match step {
                Step::Delegate(n, x) => prop_assert_eq!(a.free() >= x, a.delegate(NodeId(n), x).is_ok()),
                Step::Redelegate(f, t, x) => drop(a.redelegate(NodeId(f), NodeId(t), x)),
                Step::Undelegate(n, x) => drop(a.undelegate(NodeId(n), x)),
                Step::Settle => {
                    next += 1;
                    a.settle(Epoch(next), 2, &[1, 2, 3]);
                    prop_assert!(a.pending.is_empty());
                }
                Step::Allot(x) => {
                    a.allot(x);
                    allotment = x;
                }
                Step::Cut(n, x) => {
                    let had = a.delegated_to(NodeId(n));
                    a.cut(NodeId(n), x);
                    prop_assert_eq!(had - a.delegated_to(NodeId(n)), had.min(x));
                    allotment -= had.min(x);
                }
                Step::GiveBack(n, x) => {
                    a.give_back(Some(NodeId(n)), x);
                    allotment += x;
                }
                Step::Rename(n) => a.rename(NodeId(n), NodeId(n + 10)),
                Step::Leave(n) => a.unbond(NodeId(n), u64::MAX, Epoch(next), 2),
            }
            prop_assert_eq!(a.allotment(), allotment);
            let delegated: u64 = a.delegations.values().sum();
            let unbonding: u64 = a.unbonding.values().sum();
            prop_assert_eq!(delegated + unbonding + a.pending_from(FREE) + a.free(), allotment);
            prop_assert!(a.delegations.values().chain(a.unbonding.values()).all(|x| *x > 0));
            let state = a.clone().into_state();
            prop_assert_eq!(Account::new(allotment, state), a.clone());
        }
    }
}
