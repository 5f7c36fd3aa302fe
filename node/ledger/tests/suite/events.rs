//! What a block tells others of: exactly what its rules did, in the order in
//! which they did it, and nothing of what was taken back.

use consilium_ledger::{Event, Events, Table, genesis_block, keys};
use consilium_proto::ids::NodeId;
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, BallotChoice, MemberStatus, Outcome};
use consilium_proto::validators::ValidatorSet;

use consilium_kit::topics::{ballot, suspend};
use consilium_kit::{Action, Ledger, Rows, delegate};

const A: &str = "a.example";
const B: &str = "b.example";
const C: &str = "c.example";
const D: &str = "d.example";

fn four() -> Ledger {
    Ledger::new(&[A, B, C, D].map(|id| (id, 100, 1)), |_| ())
}

fn events<const N: usize>(events: [Event; N]) -> Events {
    events.into_iter().collect()
}

fn maintenance(ledger: &Ledger, node: u64) -> Action {
    let from_ms = ledger.tip.header.time.0 + 60_000;
    Action::AnnounceMaintenance(pb::AnnounceMaintenance { node, from_ms, until_ms: from_ms + 60_000 })
}

fn all_unseen() -> Event {
    Event::Unseen([1, 2, 3, 4].map(NodeId).into())
}

#[test]
fn the_genesis_tells_of_everything_that_it_founds() {
    let ledger = four();
    let executed = genesis_block(&Rows::default(), &ledger.genesis).unwrap();
    let mut expected: Vec<Event> = [A, B, C, D].map(|id| Event::MemberChanged(ledger.member(id))).into();
    expected.extend([Event::NodesChanged, Event::ParametersChanged, all_unseen()]);
    assert_eq!(executed.events, expected.into_iter().collect());
}

#[test]
fn an_idle_block_tells_of_nothing() {
    let mut ledger = four();
    assert_eq!(ledger.block(&[], &Observed::default()).events, Events::default());
}

#[test]
fn a_suspension_tells_of_the_member_and_of_the_end_of_the_epoch() {
    let mut ledger = four();
    // Opening tries the change out, and takes it back.
    let transaction = {
        let expires_ms = ledger.tip.header.time.0 + 3_600_000;
        ledger.by_admin(A, vec![consilium_kit::topics::propose(suspend(D), expires_ms)])
    };
    assert_eq!(ledger.block(&[transaction], &Observed::default()).events, Events::default());
    let accepts = ledger.by_admin(B, vec![ballot(1, BallotChoice::Approve)]);
    let executed = ledger.block(&[accepts], &Observed::default());
    let member = ledger.member(D);
    assert_eq!(member.status(), MemberStatus::Suspended);
    let next_set = ValidatorSet::try_from(&ledger.epoch(1).validators.unwrap()).unwrap();
    let expected = [Event::MemberChanged(member), Event::EpochEnded { next_set }, all_unseen()];
    assert_eq!(executed.events, events(expected));
}

#[test]
fn a_refused_transaction_leaves_no_event() {
    let mut ledger = four();
    // The first action is good; the second takes it back.
    let refused = vec![maintenance(&ledger, 1), delegate(1, 1_000)];
    let refused = ledger.by_admin(A, refused);
    let executed = ledger.block(&[refused], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::StakeNotAvailable);
    assert_eq!(executed.events, Events::default());
}

/// Two transactions of a block change the same, and a third comes too late.
#[test]
fn what_is_changed_twice_is_told_once_and_late_transactions_come_last() {
    let mut ledger = four();
    let first = maintenance(&ledger, 1);
    let first = ledger.by_admin(A, vec![first]);
    let second = maintenance(&ledger, 2);
    let second = ledger.by_admin(B, vec![second]);
    let mut late = ledger.by_admin(C, vec![delegate(3, 1)]);
    late.transaction.head.valid_until.0 = 1;
    let executed = ledger.block(&[late.clone(), first, second], &Observed::default());
    assert!(executed.leaves.iter().all(|(_, leaf)| leaf.outcome == Outcome::Applied));
    assert_eq!(executed.events, events([Event::NodesChanged, all_unseen(), Event::Expired(late.transaction.id)]));
}

#[test]
fn parameters_tell_of_themselves() {
    let mut ledger = four();
    let present: pb::Parameters = ledger.store.message(Table::State, &keys::parameters()).unwrap();
    let changed = pb::Parameters { miss_window_blocks: present.miss_window_blocks + 1, ..present };
    let number = ledger.open(A, Topic::ChangeParameters(changed));
    let approvals = [B, C].map(|member| ledger.by_admin(member, vec![ballot(number, BallotChoice::Approve)]));
    let executed = ledger.block(&approvals, &Observed::default());
    assert_eq!(executed.events, events([Event::ParametersChanged, all_unseen()]));
}
