//! Members that come and go: what each change does to the rows, and when it is
//! refused because the network could not go on.

use bytes::Bytes;
use consilium_kit::identity_rules::{authority, list};
use consilium_kit::topics::{allot, ballot, propose, reinstate, remove, retire_action, rotate, suspend};
use consilium_kit::{Action, Identity, Ledger, delegate, reason, redelegate, seats};
use consilium_ledger::{Table, keys};
use consilium_proto::ids::Epoch;
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, BallotChoice, MemberStatus, NodeStatus, NotSeatedReason, Outcome, ProposalStatus};

const A: &str = "a.example";
const B: &str = "b.example";
const C: &str = "c.example";
const D: &str = "d.example";
const E: &str = "e.example";
const ALL: [u64; 4] = [1, 2, 3, 4];

/// Members with a node each and stakes of 100.
fn equal(members: &[&str]) -> Ledger {
    let members: Vec<_> = members.iter().map(|id| (*id, 100, 1)).collect();
    Ledger::new(&members, |_| ())
}

/// Against a quorum of more than two thirds.
fn power(part: u64, total: u64) -> pb::CertifyingPower {
    pb::CertifyingPower { part, total, numerator: 2, denominator: 3 }
}

fn four() -> Ledger {
    equal(&[A, B, C, D])
}

#[test]
fn a_member_is_admitted_with_its_nodes_and_its_stake_on_them() {
    let mut ledger = four();
    let topic = ledger.newcomer(E, 101, 2);
    let preview = ledger.preview(topic.clone());
    assert_eq!((&preview.refusal, &preview.joining[..]), (&None, &[5, 6][..]));
    assert_eq!((preview.leaving, preview.seats_lost, preview.seats_won), (vec![], vec![], vec![]));
    ledger.execute(&[A, B, C], topic);
    let member = ledger.member(E);
    assert_eq!((member.status(), member.stake), (MemberStatus::Active, 101));
    assert_eq!(ledger.delegations(E), [(5, 51), (6, 50)]);
    let roster = ledger.roster();
    assert_eq!((roster.members.last().map(String::as_str), roster.nodes), (Some(E), vec![1, 2, 3, 4, 5, 6]));
    let node = ledger.node(6);
    assert_eq!(
        (node.member.as_str(), node.name.as_str(), node.status(), node.replaces),
        (E, "n1", NodeStatus::Active, 0)
    );
    // It is a candidate like any other: seated once it was seen.
    ledger.add_admin(E);
    ledger.run(1, &[1, 2, 3, 4, 5]);
    let epoch = ledger.end_epoch_of(&[1, 2, 3, 4, 5]);
    assert_eq!(seats(&epoch), [1, 2, 3, 4, 5]);
    assert_eq!(reason(&epoch, 6), NotSeatedReason::NotCaughtUp);
    assert_eq!(ledger.submit(E, redelegate(6, 5, 50)), Outcome::Applied);
}

#[test]
fn an_id_a_key_or_a_name_is_not_admitted_twice() {
    let mut ledger = four();
    let with = |ledger: &mut Ledger, change: fn(&mut pb::GenesisMember, &Ledger)| {
        let Topic::AdmitMember(mut admit) = ledger.newcomer(E, 10, 2) else { unreachable!() };
        change(admit.member.as_mut().unwrap(), ledger);
        Topic::AdmitMember(admit)
    };
    let cases: [fn(&mut pb::GenesisMember, &Ledger); 5] = [
        |m, _| m.id = A.into(),
        |m, _| m.ca_bundle = vec![Bytes::from_static(b"of another")],
        |m, l| m.nodes[1].vote_key = l.node(2).vote_key,
        |m, _| m.nodes[1].vote_key = m.nodes[0].vote_key.clone(),
        |m, _| m.nodes[1].name = m.nodes[0].name.clone(),
    ];
    for case in cases {
        let topic = with(&mut ledger, case);
        ledger.proposal_refused(A, topic, Outcome::ProposalRefused);
    }
    ledger.execute(&[A, B, C], remove(D));
    ledger.run(2, &[1, 2, 3]);
    let topic = with(&mut ledger, |m, _| m.id = D.into());
    ledger.proposal_refused(A, topic, Outcome::ProposalRefused);
    let topic = with(&mut ledger, |m, l| m.nodes[0].vote_key = l.node(4).vote_key);
    ledger.proposal_refused(A, topic, Outcome::ProposalRefused);
}

#[test]
fn a_suspension_cuts_off_in_one_block() {
    let mut ledger = four();
    let clerk = Identity::new(D, "service", "ehr");
    let enrollment = ledger.enrollment(&clerk);
    ledger.block(&[enrollment], &Observed::default());
    let preview = ledger.preview(suspend(D));
    assert_eq!(preview.refusal, None);
    let expected = pb::QuorumArithmetic {
        now: Some(power(400, 400)),
        after: Some(power(300, 400)),
        leaving: vec![4],
        next: Some(power(300_000, 300_000)),
        next_seats: 3,
    };
    assert_eq!(preview.arithmetic, Some(expected));
    assert_eq!((preview.leaving, preview.seats_lost), (vec![], vec![4]));
    let number = ledger.open(A, suspend(D));
    let accepts = ledger.by_admin(B, vec![ballot(number, BallotChoice::Approve)]);
    let own = ledger.by_admin(D, vec![delegate(1, 1)]);
    let executed = ledger.block(&[accepts, own], &Observed::default());
    // The next transaction of the same block is refused, and the epoch ends with it.
    assert_eq!(executed.leaves[1].1.outcome, Outcome::MemberNotActive);
    let changed = [ledger.member(D)];
    assert_eq!(executed.events.changed_members().collect::<Vec<_>>(), changed.iter().collect::<Vec<_>>());
    assert_eq!(seats(&ledger.epoch(1)), [1, 2, 3]);
    assert_eq!(reason(&ledger.epoch(1), 4), NotSeatedReason::MemberNotActive);
    assert_eq!((ledger.member(D).stake, ledger.delegations(D)), (100, vec![(4, 100)]));
    ledger.proposal_refused(A, suspend(D), Outcome::ProposalRefused);
    ledger.proposal_refused(A, suspend("x.example"), Outcome::ProposalRefused);
    ledger.execute(&[A, B, C], reinstate(D));
    assert_eq!(ledger.member(D).status(), MemberStatus::Active);
    assert_eq!(ledger.submit(D, delegate(1, 1)), Outcome::StakeNotAvailable);
    let epoch = ledger.end_epoch_of(&ALL);
    assert_eq!(seats(&epoch), [1, 2, 3, 4]);
}

#[test]
fn a_member_without_a_seat_is_suspended_without_an_end_of_the_epoch() {
    let mut ledger = four();
    let topic = ledger.newcomer(E, 50, 1);
    ledger.execute(&[A, B, C], topic);
    ledger.execute(&[A, B, C], suspend(E));
    assert_eq!((ledger.member(E).status(), ledger.tip.header.epoch), (MemberStatus::Suspended, Epoch(0)));
    let next: Option<pb::EpochState> = ledger.store.message(Table::State, &keys::epoch(Epoch(1)));
    assert_eq!(next, None);
}

#[test]
fn a_removal_takes_nodes_stake_and_delegations_with_it() {
    let mut ledger = Ledger::new(&[(A, 100, 1), (B, 100, 1), (C, 100, 1), (D, 100, 1), (E, 100, 2)], |p| {
        p.unbonding_epochs = 2;
    });
    assert_eq!(ledger.submit(A, redelegate(1, 5, 40)), Outcome::Applied);
    assert_eq!(ledger.submit(E, redelegate(5, 1, 10)), Outcome::Applied);
    ledger.end_epoch_soon();
    assert_eq!(ledger.submit(A, redelegate(1, 6, 5)), Outcome::Applied);
    let preview = ledger.preview(remove(E));
    let on_5 = pb::LeavingNode { raft_id: 5, seated: true, delegated: 40 };
    assert_eq!(preview.leaving[0], on_5, "what others delegated to it");
    let epoch = ledger.tip.header.epoch.0;
    let proposal = ledger.pass(&[A, B, C, D], remove(E));
    assert_eq!(proposal.status(), ProposalStatus::Executed);
    assert_eq!(proposal.ballots.len(), 3);
    let member = ledger.member(E);
    assert_eq!((member.status(), member.stake, ledger.stake(E)), (MemberStatus::Removed, 0, pb::StakeState::default()));
    assert_eq!((ledger.node(5).status(), ledger.node(6).status()), (NodeStatus::Retired, NodeStatus::Retired));
    let roster = ledger.roster();
    assert_eq!(
        (roster.members, roster.nodes, roster.last_raft_id),
        (vec![A, B, C, D].into_iter().map(String::from).collect(), vec![1, 2, 3, 4], 6)
    );
    // What A had on its nodes unbonds, and what was on the way there.
    assert_eq!(ledger.delegations(A), [(1, 55)]);
    assert_eq!(ledger.stake(A).unbonding, [pb::Unbonding { amount: 45, free_epoch: epoch + 1 + 2 }]);
    assert_eq!(ledger.tip.header.epoch.0, epoch);
    assert_eq!(seats(&ledger.epoch(epoch + 1)), [1, 2, 3, 4]);
    for topic in [remove(E), suspend(E), reinstate(E), allot(E, 5), rotate(E, &["ca", "ca2"], false)] {
        ledger.proposal_refused(A, topic, Outcome::ProposalRefused);
    }
    ledger.refused(E, delegate(1, 1), Outcome::MemberNotActive);
}

#[test]
fn a_suspended_member_can_be_removed() {
    let mut ledger = equal(&[A, B, C, D, E]);
    ledger.execute(&[A, B], suspend(E));
    ledger.run(1, &ALL);
    ledger.execute(&[A, B, C], remove(E));
    assert_eq!(ledger.member(E).status(), MemberStatus::Removed);
    assert_eq!(ledger.roster().nodes, ALL);
}

#[test]
fn a_bundle_rotates_with_overlap() {
    let mut ledger = four();
    let list = Action::PublishRevocations(pb::PublishRevocations { crl: list("ca", 1, [[0; 8]]) });
    assert_eq!(ledger.submit(D, list), Outcome::Applied);
    ledger.proposal_refused(A, rotate(D, &["ca"], false), Outcome::ProposalRefused);
    ledger.proposal_refused(A, rotate(D, &["ca2"], false), Outcome::ProposalRefused);
    ledger.proposal_refused(A, rotate(D, &["ca", "of another"], false), Outcome::ProposalRefused);
    ledger.execute(&[A, B, C], rotate(D, &["ca", "ca2"], false));
    assert_eq!((ledger.member(D).crls.len(), ledger.member(D).withdrawn), (1, vec![]));
    // The CA of the list leaves, and the list with it.
    ledger.execute(&[A, B, C], rotate(D, &["ca2"], false));
    let member = ledger.member(D);
    assert_eq!((member.ca_bundle, member.crls), (vec![Bytes::from_static(b"ca2")], vec![]));
    assert_eq!(member.withdrawn, [authority(b"ca").to_bytes()]);
}

#[test]
fn after_a_rotation_without_overlap_every_identity_enrols_again() {
    let mut ledger = four();
    ledger.execute(&[A, B, C], rotate(D, &["ca9"], true));
    ledger.refused(D, delegate(1, 1), Outcome::AuthorRevoked);
    assert_eq!(ledger.submit(A, delegate(1, 1)), Outcome::StakeNotAvailable);
    ledger.add_admin_under("ca9", D);
    assert_eq!(ledger.submit(D, delegate(1, 1)), Outcome::StakeNotAvailable);
}

#[test]
fn an_allotment_changes_what_counts() {
    let mut ledger = four();
    ledger.proposal_refused(A, allot(D, 100), Outcome::ProposalRefused);
    ledger.execute(&[A, B, C], allot(D, 130));
    assert_eq!((ledger.member(D).stake, ledger.delegations(D)), (130, vec![(4, 100)]));
    let preview = ledger.preview(allot(D, 20));
    assert_eq!(preview.bound_stake_taken, 80, "30 are free");
    ledger.execute(&[A, B, C], allot(D, 20));
    assert_eq!((ledger.member(D).stake, ledger.delegations(D)), (20, vec![(4, 20)]));
    let topic = allot(D, 0);
    let preview = ledger.preview(topic.clone());
    assert_eq!((preview.seats_lost, preview.bound_stake_taken), (vec![4], 20));
    ledger.execute(&[A, B, C], topic);
    assert_eq!((ledger.member(D).stake, ledger.stake(D)), (0, pb::StakeState::default()));
}

/// Members of equal stake, of whom the last `down` were not seen in this epoch
/// nor in the one before. They still have their seats: only now is it known.
fn with_down(members: &[&str], down: usize) -> Ledger {
    let mut ledger = equal(members);
    let voters: Vec<u64> = (1..=(members.len() - down) as u64).collect();
    ledger.end_epoch_of(&voters);
    ledger.run(1, &voters);
    ledger
}

#[test]
fn a_network_is_not_stranded() {
    // (members, how many are down, who leaves, whether it is refused)
    let table: [(&[&str], usize, &str, bool); 7] = [
        (&[A, B, C], 0, C, true),
        (&[A, B, C, D], 0, D, false),
        (&[A, B, C, D, E], 0, E, false),
        // The one that is down may leave, and no other: 300 of 500 do not certify.
        (&[A, B, C, D, E], 1, E, false),
        (&[A, B, C, D, E], 1, A, true),
        (&[A, B, C, D], 1, D, false),
        (&[A, B, C, D], 1, A, true),
    ];
    for (members, down, target, refused) in table {
        let proposer = if target == A { B } else { A };
        for topic in [suspend(target), remove(target)] {
            let mut ledger = with_down(members, down);
            let preview = ledger.preview(topic.clone());
            assert_eq!(preview.refusal.is_some(), refused, "{members:?} {down} {target}: {:?}", preview.arithmetic);
            if refused {
                ledger.proposal_refused(proposer, topic, Outcome::WouldStrandNetwork);
            } else {
                assert_eq!(ledger.propose(proposer, topic), Outcome::Applied);
            }
        }
    }
}

#[test]
fn once_the_one_that_is_down_has_lost_its_seat_another_may_leave() {
    let mut ledger = with_down(&[A, B, C, D, E], 1);
    assert!(ledger.preview(suspend(A)).refusal.is_some());
    assert_eq!(seats(&ledger.end_epoch_of(&ALL)), ALL);
    ledger.execute(&[B, C], suspend(A));
    assert_eq!(seats(&ledger.epoch(ledger.tip.header.epoch.0 + 1)), [2, 3, 4]);
}

#[test]
fn a_leader_that_leaves_out_votes_does_not_prevent_a_suspension() {
    let mut ledger = four();
    ledger.end_epoch_of(&[4]);
    ledger.end_epoch_of(&[4]);
    let preview = ledger.preview(suspend(D));
    assert_eq!(preview.arithmetic.unwrap().after, Some(power(300_000, 400_000)));
    ledger.execute(&[A, B], suspend(D));
    assert_eq!(seats(&ledger.epoch(ledger.tip.header.epoch.0 + 1)), [1, 2, 3]);
}

#[test]
fn those_who_leave_in_one_block_are_counted_together() {
    let mut ledger = equal(&[A, B, C, D, E]);
    let (first, second) = (ledger.open(A, suspend(D)), ledger.open(A, suspend(E)));
    let ballots = [
        ledger.by_admin(B, vec![ballot(first, BallotChoice::Approve)]),
        ledger.by_admin(B, vec![ballot(second, BallotChoice::Approve)]),
        ledger.by_admin(C, vec![ballot(second, BallotChoice::Approve)]),
    ];
    let executed = ledger.block(&ballots, &Observed::default());
    assert!(executed.events.next_set().is_some());
    assert_eq!(ledger.proposal(first).status(), ProposalStatus::Executed);
    // 300 of 500 could not certify the block that ends the epoch.
    let failed = ledger.proposal(second);
    assert_eq!(failed.status(), ProposalStatus::Failed);
    assert!(failed.failure.contains("without e.example: 300 of 500, needs more than 333"), "{}", failed.failure);
    assert_eq!(ledger.member(E).status(), MemberStatus::Active);
    assert_eq!(seats(&ledger.epoch(1)), [1, 2, 3, 5]);
}

#[test]
fn a_failed_suspension_does_not_end_the_epoch() {
    let mut ledger = four();
    let number = ledger.open(A, suspend(D));
    assert_eq!(ledger.submit(C, retire_action(3)), Outcome::Applied);
    let transaction = ledger.by_admin(B, vec![ballot(number, BallotChoice::Approve)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!((executed.leaves[0].1.outcome, executed.events.next_set()), (Outcome::Applied, None));
    assert_eq!(ledger.proposal(number).status(), ProposalStatus::Failed);
    assert_eq!(ledger.member(D).status(), MemberStatus::Active);
}

#[test]
fn a_transaction_of_two_proposals_opens_both_or_none() {
    let mut ledger = four();
    let expires = ledger.next_ms() + 3_600_000;
    let actions = vec![propose(suspend(D), expires), propose(suspend("x.example"), expires)];
    let root = ledger.tip.header.state_root;
    let transaction = ledger.by_admin(A, actions);
    assert_eq!(ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome, Outcome::ProposalRefused);
    assert_eq!((ledger.tip.header.state_root, ledger.roster().last_proposal), (root, 0));
}
