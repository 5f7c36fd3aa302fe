//! Double signing: what proves it, what it costs, and that one incident is
//! punished once.

use consilium_kit::topics::replace_action;
use consilium_kit::{Action, Identity, Ledger, MemberSpec, approve, propose, reason, redelegate, release, seats};
use consilium_ledger::{Table, keys};
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{LedgerId, NodeId, TimeMs};
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, JailReason, NotSeatedReason, Outcome, PenaltyState, RosterState};
use consilium_proto::vote::{Contradiction, Equivocation, Vote, signing_bytes};

const ALL: [u64; 5] = [1, 2, 3, 4, 5];
const FIVE: [MemberSpec<'static>; 5] =
    [("a.example", 100, 1), ("b.example", 100, 1), ("c.example", 100, 1), ("d.example", 100, 1), ("e.example", 100, 1)];

fn five() -> Ledger {
    Ledger::new(&FIVE, |p| p.equivocation_cut_percent = 20)
}

/// Another header of the same height.
fn fork(header: &Header) -> Header {
    Header { time: TimeMs(header.time.0 + 1), ..header.clone() }
}

fn lie(ledger: &Ledger, node: u64, header: &Header) -> Equivocation {
    Equivocation::new(ledger.vote(node, header), ledger.vote(node, &fork(header))).unwrap()
}

fn submit(evidence: &Equivocation) -> Action {
    Action::SubmitEvidence(pb::SubmitEvidence { evidence: Some(evidence.into()) })
}

fn penalty(ledger: &Ledger, number: u64) -> Option<PenaltyState> {
    ledger.store.message(Table::State, &keys::penalty(number))
}

#[test]
fn double_signing_costs_stake_and_the_seat_at_once() {
    let mut ledger = five();
    ledger.run(2, &ALL);
    // Half of e's stake is delegated to another member's node: that is not cut.
    ledger.submit("e.example", redelegate(5, 1, 50));
    let evidence = lie(&ledger, 5, &ledger.headers[2].clone());
    let auditor = Identity::new("b.example", "auditor", "x");
    let enrollment = ledger.enrollment(&auditor);
    ledger.block(&[enrollment], &Observed::default());
    let transaction = ledger.sign(&auditor, vec![submit(&evidence)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);

    // The block ends the epoch; from the next height on the liar has no seat.
    let next: Vec<u64> = executed.events.next_set().unwrap().seats().iter().map(|s| s.id.0).collect();
    assert_eq!(next, [1, 2, 3, 4]);
    let epoch = ledger.epoch(1);
    assert_eq!((epoch.first_height, reason(&epoch, 5)), (ledger.tip.header.height.0 + 1, NotSeatedReason::Jailed));
    assert!(executed.events.changed_members().map(|m| m.id.as_str()).eq(["e.example"]));
    assert!(executed.events.changed_nodes());
    let found = penalty(&ledger, 1).unwrap();
    let expected = PenaltyState {
        number: 1,
        node: 5,
        member: "e.example".into(),
        evidence_height: 2,
        evidence: Some((&evidence).into()),
        cut: 20,
        height: ledger.tip.header.height.0,
        lifted_height: 0,
    };
    assert_eq!(found, expected);
    assert_eq!(ledger.member("e.example").stake, 80);
    assert_eq!(ledger.delegations("e.example"), [(1, 50), (5, 30)]);
    assert_eq!(ledger.standing(5).jailed(), JailReason::Equivocation);
    let roster: RosterState = ledger.store.message(Table::State, &keys::roster()).unwrap();
    assert_eq!(roster.last_penalty, 1);
}

#[test]
fn what_a_leader_reports_counts_the_same() {
    let mut ledger = five();
    ledger.run(2, &ALL);
    let header = ledger.headers[2].clone();
    let forged = Equivocation {
        first: Vote { signature: [1; 64], ..lie(&ledger, 4, &header).first },
        ..lie(&ledger, 4, &header)
    };
    let evidence = vec![forged, lie(&ledger, 5, &header), lie(&ledger, 5, &header)];
    let executed = ledger.block(&[], &Observed { evidence, ..Observed::default() });
    assert_eq!(executed.events.next_set().unwrap().seats().len(), 4);
    assert_eq!((penalty(&ledger, 1).unwrap().node, penalty(&ledger, 2)), (5, None));
    assert_eq!(ledger.standing(4).jailed(), JailReason::Unspecified);
    assert_eq!(ledger.member("e.example").stake, 80);
}

/// A vote for a root that is not in its header costs as much as one for another header:
/// by that header alone, by the vote for the right root, from anyone and from the leader.
#[test]
fn false_root() {
    let submitted: fn(&mut Ledger, Equivocation) = |ledger, evidence| {
        assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::Applied);
        assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::EvidenceKnown);
    };
    let observed: fn(&mut Ledger, Equivocation) = |ledger, evidence| {
        ledger.block(&[], &Observed { evidence: vec![evidence], ..Observed::default() });
    };
    for punish in [submitted, observed] {
        for with_header in [true, false] {
            let mut ledger = five();
            ledger.run(2, &ALL);
            let header = ledger.headers[2].clone();
            let good = ledger.vote(5, &header);
            let bad = false_vote(5, &good);
            let evidence = match with_header {
                true => Equivocation::of_header(bad.clone(), header.clone()).unwrap(),
                false => Equivocation::new(bad.clone(), good).unwrap(),
            };
            punish(&mut ledger, evidence.clone());
            let penalty = penalty(&ledger, 1).unwrap();
            assert_eq!((penalty.node, penalty.evidence_height, penalty.cut), (5, 2, 20));
            assert_eq!(penalty.evidence, Some((&evidence).into()));
            assert_eq!(ledger.standing(5).jailed(), JailReason::Equivocation);
        }
    }
    let mut ledger = five();
    ledger.run(2, &ALL);
    let header = ledger.headers[2].clone();
    let bad = false_vote(5, &ledger.vote(5, &header));
    let forged = Equivocation::of_header(Vote { signature: [1; 64], ..bad.clone() }, header.clone()).unwrap();
    assert_eq!(ledger.submit("a.example", submit(&forged)), Outcome::EvidenceRefused);
    let blamed = Equivocation::of_header(Vote { validator: NodeId(4), ..bad }, header.clone()).unwrap();
    assert_eq!(ledger.submit("a.example", submit(&blamed)), Outcome::EvidenceRefused);
    let elsewhere = Header { ledger_id: LedgerId::from_bytes([9; 32]), ..header };
    let foreign = ledger.vote(5, &elsewhere);
    let foreign = Equivocation::of_header(false_vote(5, &foreign), elsewhere).unwrap();
    assert_eq!(ledger.submit("a.example", submit(&foreign)), Outcome::EvidenceRefused);
}

/// The same vote, for another root.
fn false_vote(node: u64, vote: &Vote) -> Vote {
    let (key, tree_root) = (consilium_kit::keys::vote(node), Hash::from_bytes([9; 32]));
    let signed = signing_bytes(&key.verifying_key(), &vote.ledger_id, vote.height, &vote.header_hash, &tree_root);
    Vote { tree_root, signature: key.sign(&signed).unwrap(), ..vote.clone() }
}

/// A twin that ran for many blocks has lied once.
#[test]
fn one_incident_is_punished_once() {
    let mut ledger = five();
    ledger.run(4, &ALL);
    for (height, outcome) in [(2, Outcome::Applied), (2, Outcome::EvidenceKnown), (3, Outcome::EvidenceKnown)] {
        let evidence = lie(&ledger, 5, &ledger.headers[height].clone());
        assert_eq!(ledger.submit("a.example", submit(&evidence)), outcome, "height {height}");
    }
    assert_eq!(ledger.member("e.example").stake, 80);
    assert_eq!(penalty(&ledger, 2), None);
}

#[test]
fn evidence_must_prove() {
    let mut ledger = five();
    ledger.run(2, &ALL);
    let root = ledger.tip.header.state_root;
    let header = ledger.headers[2].clone();
    let good = lie(&ledger, 5, &header);
    let second = |e: &Equivocation| match &e.second {
        Contradiction::Vote(vote) => vote.clone(),
        Contradiction::Header(_) => panic!("it is of two votes"),
    };
    let contradicts = |vote| Contradiction::Vote(vote);
    let forged = Equivocation { second: contradicts(Vote { signature: [1; 64], ..second(&good) }), ..good.clone() };
    assert_eq!(ledger.submit("a.example", submit(&forged)), Outcome::EvidenceRefused);
    let blame = |vote: &Vote| Vote { validator: NodeId(4), ..vote.clone() };
    let blamed = Equivocation { first: blame(&good.first), second: contradicts(blame(&second(&good))) };
    assert_eq!(ledger.submit("a.example", submit(&blamed)), Outcome::EvidenceRefused);
    let elsewhere = Header { ledger_id: LedgerId::from_bytes([9; 32]), ..header.clone() };
    let elsewhere = lie(&ledger, 5, &elsewhere);
    assert_eq!(ledger.submit("a.example", submit(&elsewhere)), Outcome::EvidenceRefused);
    let nobody = |vote: &Vote| Vote { validator: NodeId(44), ..vote.clone() };
    let nobody = Equivocation { first: nobody(&good.first), second: contradicts(nobody(&second(&good))) };
    assert_eq!(ledger.submit("a.example", submit(&nobody)), Outcome::NodeNotFound);
    assert_eq!(ledger.tip.header.state_root, root);
}

/// Its votes count for nobody, but they are signed: a lie is a lie.
#[test]
fn a_node_without_a_seat_is_punished_without_a_new_epoch() {
    let mut ledger = Ledger::new(&FIVE, |p| {
        p.max_validators = 4;
        p.epoch_blocks = 5;
    });
    assert_eq!(seats(&ledger.end_epoch(&ALL)), [1, 2, 3, 4]);
    let evidence = lie(&ledger, 5, &ledger.tip.header.clone());
    let transaction = ledger.by_admin("a.example", vec![submit(&evidence)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!((executed.leaves[0].1.outcome, executed.events.next_set()), (Outcome::Applied, None));
    assert_eq!(ledger.standing(5).jailed(), JailReason::Equivocation);
    assert_eq!(ledger.member("e.example").stake, 80);
    assert_eq!(reason(&ledger.end_epoch(&ALL), 5), NotSeatedReason::Jailed);
}

#[test]
fn a_liar_is_not_released_by_its_member() {
    let mut ledger = Ledger::new(&FIVE, |p| p.epoch_blocks = 5);
    let evidence = lie(&ledger, 5, &ledger.tip.header.clone());
    assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::Applied);
    for _ in 0..3 {
        assert_eq!(reason(&ledger.end_epoch(&ALL), 5), NotSeatedReason::Jailed);
        assert_eq!(ledger.submit("e.example", release(5)), Outcome::NotJailed);
    }
}

/// What is about to leave the node when it lies is cut as well; the rest moves.
#[test]
fn moving_stake_away_does_not_save_it() {
    let mut ledger = Ledger::new(&FIVE, |p| p.epoch_blocks = 8);
    assert_eq!(ledger.submit("e.example", redelegate(5, 1, 100)), Outcome::Applied);
    let evidence = lie(&ledger, 5, &ledger.tip.header.clone());
    assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::Applied);
    // The evidence ended the epoch, and the change settled with it.
    assert_eq!(ledger.delegations("e.example"), [(1, 80)]);
    assert_eq!(ledger.member("e.example").stake, 80);
}

fn lift(ledger: &mut Ledger, number: u64) {
    let topic = Topic::LiftPenalty(pb::LiftPenalty { penalty: number });
    assert_eq!(ledger.submit("a.example", propose(ledger, topic)), Outcome::Applied);
    let roster: RosterState = ledger.store.message(Table::State, &keys::roster()).unwrap();
    for member in ["b.example", "c.example", "d.example"] {
        assert_eq!(ledger.submit(member, approve(roster.last_proposal)), Outcome::Applied);
    }
    assert!(penalty(ledger, number).unwrap().lifted_height > 0);
}

/// Governance forgives: stake and candidacy come back, and what was forgiven
/// cannot be punished again; what comes after can.
#[test]
fn a_lifted_penalty_is_settled() {
    let mut ledger = five();
    ledger.run(4, &ALL);
    let (evidence, same_incident) =
        (lie(&ledger, 5, &ledger.headers[2].clone()), lie(&ledger, 5, &ledger.headers[3].clone()));
    assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::Applied);
    lift(&mut ledger, 1);
    assert_eq!((ledger.member("e.example").stake, ledger.delegations("e.example")), (100, vec![(5, 100)]));
    assert_eq!(ledger.standing(5).jailed(), JailReason::Unspecified);
    assert_eq!(ledger.submit("a.example", submit(&evidence)), Outcome::EvidenceKnown);
    assert_eq!(ledger.submit("a.example", submit(&same_incident)), Outcome::EvidenceKnown);
    let again = lie(&ledger, 5, &ledger.tip.header.clone());
    assert_eq!(ledger.submit("a.example", submit(&again)), Outcome::Applied);
    assert_eq!((penalty(&ledger, 2).unwrap().cut, ledger.member("e.example").stake), (20, 80));
}

/// A node that was replaced before it was found out has left its stake to the
/// one in its place, which answers for it.
#[test]
fn a_replacement_answers_for_the_liar() {
    let mut ledger = Ledger::new(&FIVE, |p| p.epoch_blocks = 10);
    let evidence = lie(&ledger, 5, &ledger.tip.header.clone());
    let replace = replace_action(5, ledger.new_node("n2"));
    assert_eq!(ledger.submit("e.example", replace), Outcome::Applied);
    let epoch = ledger.end_epoch(&[1, 2, 3, 4, 6]);
    assert_eq!(seats(&epoch), [1, 2, 3, 4, 6]);
    assert_eq!(epoch.candidates[4].reason(), NotSeatedReason::Retiring);
    assert_eq!(ledger.delegations("e.example"), [(6, 100)]);
    let transaction = ledger.by_admin("a.example", vec![submit(&evidence)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    assert_eq!(executed.events.next_set().unwrap().seats().len(), 4);
    assert_eq!(ledger.delegations("e.example"), [(6, 80)]);
    assert_eq!((penalty(&ledger, 1).unwrap().node, ledger.standing(6).jailed()), (5, JailReason::Equivocation));
    lift(&mut ledger, 1);
    assert_eq!((ledger.standing(5).jailed(), ledger.standing(6).jailed()), Default::default());
    assert_eq!(ledger.delegations("e.example"), [(6, 100)]);
}
