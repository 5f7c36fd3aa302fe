//! Nodes that come and go, and that a raft id and a vote key are given once.

use std::collections::{BTreeMap, BTreeSet};

use consilium_kit::topics::{register_action, remove, replace_action, retire_action, suspend};
use consilium_kit::{Identity, Ledger, redelegate, seats};
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, NodeStatus, Outcome};
use proptest::prelude::*;

const A: &str = "a.example";
const B: &str = "b.example";
const C: &str = "c.example";
const D: &str = "d.example";
const E: &str = "e.example";

/// Members with a node each and stakes of 100.
fn equal(members: &[&str]) -> Ledger {
    let members: Vec<_> = members.iter().map(|id| (*id, 100, 1)).collect();
    Ledger::new(&members, |_| ())
}

#[test]
fn members_add_replace_and_retire_their_own_nodes() {
    let mut ledger = equal(&[A, B, C, D]);
    let node = ledger.new_node("n2");
    ledger.refused(B, register_action(A, node.clone()), Outcome::NotOwner);
    assert_eq!(ledger.submit(A, register_action(A, node.clone())), Outcome::Applied);
    assert_eq!((ledger.node(5).name.as_str(), ledger.roster().last_raft_id), ("n2", 5));
    let again = ledger.new_node("n2");
    ledger.refused(A, register_action(A, again), Outcome::NodeExists);
    ledger.refused(
        A,
        register_action(A, pb::NodeDescription { name: "n3".into(), ..node.clone() }),
        Outcome::NodeExists,
    );
    let third = ledger.new_node("n3");
    assert_eq!(ledger.submit(A, register_action(A, third)), Outcome::Applied);
    let fourth = ledger.new_node("n4");
    ledger.refused(A, register_action(A, fourth), Outcome::TooManyNodes);
    // A proposal is not bound by the members' own limit.
    let fourth = ledger.new_node("n4");
    ledger.execute(&[A, B, C], Topic::AddNode(pb::RegisterNode { member: A.into(), node: Some(fourth) }));
    assert_eq!(ledger.node(7).name, "n4");
    ledger.refused(B, retire_action(5), Outcome::NotOwner);
    ledger.refused(A, retire_action(99), Outcome::NodeNotFound);
    // Without a seat a node leaves at once.
    assert_eq!(ledger.submit(A, retire_action(5)), Outcome::Applied);
    assert_eq!((ledger.node(5).status(), ledger.roster().nodes), (NodeStatus::Retired, vec![1, 2, 3, 4, 6, 7]));
    ledger.refused(A, retire_action(5), Outcome::NodeNotFound);
    // Its name is free again, its key is not.
    ledger.refused(A, replace_action(6, node), Outcome::NodeExists);
    let service = Identity::new(A, "service", "ehr");
    let enrollment = ledger.enrollment(&service);
    ledger.block(&[enrollment], &Observed::default());
    let transaction = ledger.sign(&service, vec![retire_action(6)]);
    assert_eq!(ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome, Outcome::RoleNotAllowed);
}

#[test]
fn a_replacement_takes_the_place_and_all_stake_of_the_lost_node() {
    let mut ledger = equal(&[A, B, C, D, E]);
    assert_eq!(ledger.submit(A, redelegate(1, 5, 40)), Outcome::Applied);
    ledger.end_epoch_soon();
    assert_eq!(ledger.submit(B, redelegate(2, 5, 7)), Outcome::Applied);
    let node = ledger.new_node("n1");
    let topic = Topic::ReplaceNode(pb::ReplaceNode { raft_id: 5, node: Some(node.clone()) });
    let preview = ledger.preview(topic);
    let leaving = pb::LeavingNode { raft_id: 5, seated: true, delegated: 140 };
    assert_eq!((preview.joining, preview.leaving), (vec![6], vec![leaving]));
    ledger.refused(A, replace_action(5, node.clone()), Outcome::NotOwner);
    assert_eq!(ledger.submit(E, replace_action(5, node)), Outcome::Applied);
    assert_eq!((ledger.node(5).status(), ledger.node(6).status()), (NodeStatus::Retiring, NodeStatus::Active));
    assert_eq!((ledger.node(6).replaces, ledger.roster().nodes), (5, vec![1, 2, 3, 4, 5, 6]));
    assert_eq!((ledger.delegations(A), ledger.delegations(E)), (vec![(1, 60), (6, 40)], vec![(6, 100)]));
    assert_eq!(ledger.stake(B).pending, [pb::DelegationChange { from: 2, to: 6, amount: 7 }]);
    let other = ledger.new_node("n1");
    ledger.refused(E, replace_action(5, other), Outcome::NodeNotFound);
    let epoch = ledger.end_epoch_of(&[1, 2, 3, 4, 6]);
    assert_eq!(seats(&epoch), [1, 2, 3, 4, 6]);
    assert_eq!((ledger.node(5).status(), ledger.roster().nodes), (NodeStatus::Retired, vec![1, 2, 3, 4, 6]));
    assert_eq!(ledger.delegations(B), [(2, 93), (6, 7)]);
}

#[test]
fn a_seated_node_retires_with_the_end_of_its_epoch() {
    let mut ledger = equal(&[A, B, C, D, E]);
    assert_eq!(ledger.submit(E, retire_action(5)), Outcome::Applied);
    assert_eq!((ledger.node(5).status(), ledger.roster().nodes.len()), (NodeStatus::Retiring, 5));
    assert_eq!(ledger.delegations(E), [(5, 100)]);
    ledger.refused(E, retire_action(5), Outcome::NodeNotFound);
    let epoch = ledger.end_epoch_of(&[1, 2, 3, 4, 5]);
    assert_eq!((seats(&epoch), ledger.node(5).status()), (vec![1, 2, 3, 4], NodeStatus::Retired));
    assert_eq!((ledger.delegations(E), ledger.stake(E).unbonding.len()), (vec![], 1));
}

#[test]
fn nodes_do_not_leave_a_set_that_needs_them() {
    let mut ledger = equal(&[A, B, C]);
    ledger.refused(A, retire_action(1), Outcome::WouldStrandNetwork);
    let node = ledger.new_node("n1");
    ledger.refused(A, replace_action(1, node), Outcome::WouldStrandNetwork);
    let mut ledger = equal(&[A, B, C, D]);
    assert_eq!(ledger.submit(A, retire_action(1)), Outcome::Applied);
    ledger.refused(B, retire_action(2), Outcome::WouldStrandNetwork);
    ledger.proposal_refused(A, suspend(B), Outcome::WouldStrandNetwork);
}

/// A step of a random history; numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Register(usize),
    Replace(usize),
    Retire(usize),
    Admit(usize),
    Remove(usize),
    EndEpoch,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..8).prop_map(Step::Register),
        4 => (0usize..16).prop_map(Step::Replace),
        3 => (0usize..16).prop_map(Step::Retire),
        2 => (1usize..3).prop_map(Step::Admit),
        1 => (0usize..8).prop_map(Step::Remove),
        2 => Just(Step::EndEpoch),
    ]
}

/// All nodes that ever were, by raft id.
type Known = BTreeMap<u64, pb::NodeState>;

fn take(ledger: &mut Ledger, step: &Step, joined: &mut usize) -> Outcome {
    let roster = ledger.roster();
    match step {
        Step::Register(i) => {
            let member = roster.members[i % roster.members.len()].clone();
            let node = ledger.new_node(&format!("x{i}"));
            ledger.submit(&member, register_action(&member, node))
        }
        Step::Replace(i) => {
            let lost = ledger.node(roster.nodes[i % roster.nodes.len()]);
            let node = ledger.new_node(&lost.name);
            ledger.submit(&lost.member, replace_action(lost.raft_id, node))
        }
        Step::Retire(i) => {
            let node = ledger.node(roster.nodes[i % roster.nodes.len()]);
            ledger.submit(&node.member, retire_action(node.raft_id))
        }
        Step::Admit(nodes) => {
            *joined += 1;
            let id = format!("m{joined}.example");
            let topic = ledger.newcomer(&id, 10, *nodes);
            let outcome = ledger.propose(A, topic);
            if outcome == Outcome::Applied {
                ledger.add_admin(&id);
            }
            outcome
        }
        Step::Remove(i) => {
            let target = &roster.members[i % roster.members.len()];
            if target == A { Outcome::Unspecified } else { ledger.propose(A, remove(target)) }
        }
        Step::EndEpoch => {
            ledger.end_epoch_of(&roster.nodes);
            Outcome::Applied
        }
    }
}

/// Ids grow by one for each node that joins, and what a raft id stands for
/// never changes.
fn check_ids(ledger: &Ledger, known: &mut Known, before: u64) {
    let roster = ledger.roster();
    let last = roster.last_raft_id;
    assert!(last >= before);
    for id in before + 1..=last {
        assert!(known.insert(id, ledger.node(id)).is_none());
    }
    for (id, first) in known.iter() {
        let now = ledger.node(*id);
        assert_eq!(pb::NodeState { status: first.status, ..now.clone() }, *first);
        assert_eq!(now.status() == NodeStatus::Retired, roster.nodes.binary_search(id).is_err());
    }
    let keys: BTreeSet<_> = known.values().map(|n| n.vote_key.clone()).collect();
    assert_eq!(keys.len(), known.len());
    assert!(roster.nodes.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(roster.members.windows(2).all(|pair| pair[0] < pair[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A's stake decides alone here, so that only the rules about nodes speak.
    #[test]
    fn raft_ids_and_vote_keys_are_never_given_again(steps in prop::collection::vec(any_step(), 1..24)) {
        let mut ledger = Ledger::new(&[(A, 100_000, 2), (B, 10, 1), (C, 10, 1), (D, 10, 1)], |p| p.epoch_ms = 600_000);
        ledger.end_epoch_of(&[1, 2, 3, 4, 5]);
        let mut known: Known = (1..=5).map(|id| (id, ledger.node(id))).collect();
        let mut joined = 0;
        for step in &steps {
            let before = ledger.roster().last_raft_id;
            let root = ledger.tip.header.state_root;
            let height = ledger.tip.header.height;
            let outcome = take(&mut ledger, step, &mut joined);
            if outcome != Outcome::Applied && ledger.tip.header.height == height.next() {
                prop_assert_eq!(ledger.tip.header.state_root, root);
            }
            check_ids(&ledger, &mut known, before);
            let seated = seats(&ledger.epoch(ledger.tip.header.epoch.0));
            prop_assert!(!seated.is_empty());
        }
    }
}
