//! Proposals: who may open them, how ballots decide, what becomes of them, and
//! that a decision takes effect exactly once.

use consilium_kit::topics::{
    activate, allot, ballot, cancel, lift, policy, policy_text, propose, reinstate, remove, suspend,
};
use consilium_kit::{Action, Identity, Ledger, Rules, seats};
use consilium_ledger::{BlockInput, ExecutionError, Table, execute, keys};
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::limits::{PROPOSAL_LIFE_MAX_MS, PROPOSAL_LIFE_MIN_MS, PROPOSALS_OPEN_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{self, BallotChoice, JailReason, MemberStatus, Outcome, ProposalStatus};
use consilium_proto::vote::{Equivocation, Vote};
use proptest::prelude::*;

const A: &str = "a.example";
const B: &str = "b.example";
const C: &str = "c.example";
const D: &str = "d.example";
const ALL: [u64; 4] = [1, 2, 3, 4];

/// Four members with a node each and stakes of 100.
fn four() -> Ledger {
    Ledger::new(&[(A, 100, 1), (B, 100, 1), (C, 100, 1), (D, 100, 1)], |_| ())
}

#[test]
fn only_administrators_govern() {
    let mut ledger = four();
    let service = Identity::new(A, "service", "ehr");
    let enrollment = ledger.enrollment(&service);
    ledger.block(&[enrollment], &Observed::default());
    let number = ledger.open(A, allot(B, 50));
    let expires = ledger.next_ms() + 3_600_000;
    for action in [propose(allot(B, 60), expires), ballot(number, BallotChoice::Approve), cancel(number)] {
        let transaction = ledger.sign(&service, vec![action]);
        let executed = ledger.block(&[transaction], &Observed::default());
        assert_eq!(executed.leaves[0].1.outcome, Outcome::RoleNotAllowed);
    }
}

#[test]
fn a_proposal_holds_what_was_proposed_and_its_first_ballot() {
    let mut ledger = four();
    let number = ledger.open(A, allot(B, 50));
    let proposal = ledger.proposal(number);
    assert_eq!((number, proposal.number, proposal.status()), (1, 1, ProposalStatus::Open));
    assert_eq!((proposal.member.as_str(), proposal.proposer.as_str()), (A, "spiffe://a.example/admin/root"));
    assert_eq!(proposal.topic.unwrap().topic, Some(allot(B, 50)));
    assert_eq!((proposal.opened_height, proposal.opened_ms), (2, ledger.tip.header.time.0));
    assert_eq!(proposal.ballots.len(), 1);
    assert_eq!((proposal.ballots[0].member.as_str(), proposal.ballots[0].choice()), (A, BallotChoice::Approve));
    assert_eq!(ledger.roster().open_proposals, [1]);
    let tally = ledger.tally(number);
    assert_eq!((tally.approving, tally.rejecting, tally.total, tally.needed), (100, 0, 400, 267));
    assert_eq!(
        tally.lines.iter().map(|l| l.choice()).collect::<Vec<_>>()[..2],
        [BallotChoice::Approve, BallotChoice::Unspecified]
    );
}

#[test]
fn the_ballot_that_reaches_the_threshold_executes_in_its_block_once() {
    let mut ledger = four();
    let number = ledger.open(A, allot(D, 50));
    assert_eq!(ledger.approve(B, number), Outcome::Applied);
    assert_eq!((ledger.proposal(number).status(), ledger.member(D).stake), (ProposalStatus::Open, 100));
    // Two ballots in one block: the first decides, the second finds it closed.
    let ballots = [
        ledger.by_admin(C, vec![ballot(number, BallotChoice::Approve)]),
        ledger.by_admin(D, vec![ballot(number, BallotChoice::Approve)]),
    ];
    let executed = ledger.block(&ballots, &Observed::default());
    let outcomes: Vec<_> = executed.leaves.iter().map(|(_, leaf)| leaf.outcome).collect();
    assert_eq!(outcomes, [Outcome::Applied, Outcome::ProposalClosed]);
    let proposal = ledger.proposal(number);
    assert_eq!((proposal.status(), proposal.closed_height), (ProposalStatus::Executed, ledger.tip.header.height.0));
    assert_eq!((ledger.member(D).stake, ledger.roster().open_proposals), (50, vec![]));
    ledger.refused(D, ballot(number, BallotChoice::Approve), Outcome::ProposalClosed);
    ledger.refused(A, cancel(number), Outcome::ProposalClosed);
}

#[test]
fn a_later_ballot_replaces_an_earlier_one() {
    let mut ledger = four();
    let number = ledger.open(A, allot(D, 50));
    ledger.reject(B, number);
    assert_eq!((ledger.tally(number).approving, ledger.tally(number).rejecting), (100, 100));
    ledger.approve(B, number);
    ledger.reject(A, number);
    assert_eq!((ledger.tally(number).approving, ledger.tally(number).rejecting), (100, 100));
    assert_eq!(ledger.proposal(number).ballots.len(), 2);
    ledger.approve(A, number);
    ledger.approve(C, number);
    assert_eq!(ledger.proposal(number).status(), ProposalStatus::Executed);
}

#[test]
fn a_proposal_that_cannot_be_accepted_any_more_is_rejected() {
    let mut ledger = four();
    let number = ledger.open(A, allot(D, 50));
    ledger.reject(B, number);
    assert_eq!(ledger.proposal(number).status(), ProposalStatus::Open);
    ledger.reject(C, number);
    let proposal = ledger.proposal(number);
    assert_eq!((proposal.status(), proposal.closed_height), (ProposalStatus::Rejected, ledger.tip.header.height.0));
    assert_eq!((ledger.member(D).stake, ledger.roster().open_proposals), (100, vec![]));
    ledger.refused(C, ballot(number, BallotChoice::Approve), Outcome::ProposalClosed);
}

#[test]
fn only_the_proposing_member_withdraws() {
    let mut ledger = four();
    let number = ledger.open(A, allot(D, 50));
    ledger.refused(B, cancel(number), Outcome::NotOwner);
    ledger.refused(A, cancel(9), Outcome::ProposalNotFound);
    assert_eq!(ledger.submit(A, cancel(number)), Outcome::Applied);
    assert_eq!(ledger.proposal(number).status(), ProposalStatus::Cancelled);
    assert!(ledger.roster().open_proposals.is_empty());
    ledger.refused(B, ballot(number, BallotChoice::Approve), Outcome::ProposalClosed);
    ledger.refused(B, ballot(9, BallotChoice::Approve), Outcome::ProposalNotFound);
}

#[test]
fn a_life_has_bounds_and_ends_with_its_last_millisecond() {
    let mut ledger = four();
    for (life, outcome) in [
        (PROPOSAL_LIFE_MIN_MS - 1, Outcome::ProposalRefused),
        (PROPOSAL_LIFE_MIN_MS, Outcome::Applied),
        (PROPOSAL_LIFE_MAX_MS, Outcome::Applied),
        (PROPOSAL_LIFE_MAX_MS + 1, Outcome::ProposalRefused),
    ] {
        let expires = ledger.next_ms() + life;
        assert_eq!(ledger.submit(A, propose(allot(D, 50), expires)), outcome, "{life}");
    }
    ledger.refused(A, propose(allot(D, 50), 0), Outcome::ProposalRefused);
    let expires = ledger.proposal(1).expires_ms;
    let (first, second) = (ballot(1, BallotChoice::Approve), ballot(1, BallotChoice::Approve));
    let (first, second) = (ledger.by_admin(B, vec![first]), ledger.by_admin(C, vec![second]));
    let outcome = |e: consilium_ledger::Executed| e.leaves[0].1.outcome;
    assert_eq!(outcome(ledger.block_at(expires, &[first], &Observed::default())), Outcome::Applied);
    assert_eq!(outcome(ledger.block_at(expires + 1, &[second], &Observed::default())), Outcome::ProposalClosed);
    assert_eq!(ledger.proposal(1).status(), ProposalStatus::Open);
    // The next one that is opened forgets it.
    assert_eq!(ledger.roster().open_proposals, [1, 2]);
    let expires = ledger.tip.header.time.0 + PROPOSAL_LIFE_MIN_MS;
    let third = ledger.by_admin(A, vec![propose(allot(D, 50), expires)]);
    let now = ledger.tip.header.time.0;
    assert_eq!(outcome(ledger.block_at(now, &[third], &Observed::default())), Outcome::Applied);
    assert_eq!(ledger.roster().open_proposals, [2, 3]);
}

#[test]
fn open_proposals_are_bounded() {
    let mut ledger = four();
    let expires = ledger.next_ms() + PROPOSAL_LIFE_MAX_MS;
    let open = |n: usize| (0..n).map(|i| propose(policy(&format!("p{i}")), expires)).collect();
    let all = ledger.by_admin(A, open(PROPOSALS_OPEN_MAX));
    let executed = ledger.block(&[all], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    ledger.refused(A, propose(policy("one more"), expires), Outcome::TooManyProposals);
    assert_eq!(ledger.submit(A, cancel(7)), Outcome::Applied);
    assert_eq!(ledger.submit(A, propose(policy("one more"), expires)), Outcome::Applied);
}

#[test]
fn a_change_that_no_longer_fits_fails_and_leaves_only_its_ballots() {
    let mut ledger = four();
    let (first, second) = (ledger.open(A, policy("permit")), 2);
    assert_eq!(ledger.open(A, suspend(D)), second);
    // One third of the others' 300 is exceeded by two of them.
    ledger.approve(B, second);
    assert_eq!(ledger.proposal(second).status(), ProposalStatus::Executed);
    let third = ledger.open(A, reinstate(D));
    let fourth = ledger.open(A, reinstate(D));
    for number in [third, fourth] {
        ledger.approve(B, number);
        let transaction = ledger.by_admin(C, vec![ballot(number, BallotChoice::Approve)]);
        let executed = ledger.block(&[transaction], &Observed::default());
        assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    }
    assert_eq!(ledger.proposal(third).status(), ProposalStatus::Executed);
    let failed = ledger.proposal(fourth);
    assert_eq!((failed.status(), failed.failure.as_str()), (ProposalStatus::Failed, "d.example is not suspended"));
    assert_eq!(failed.ballots.len(), 3);
    assert_eq!(ledger.member(D).status(), MemberStatus::Active);
    assert_eq!(ledger.roster().open_proposals, [first]);
}

#[test]
fn stake_counts_as_it_is_at_the_tally_and_only_of_active_members() {
    let mut ledger = four();
    let waiting = ledger.open(D, policy("permit"));
    ledger.approve(C, waiting);
    assert_eq!((ledger.tally(waiting).approving, ledger.tally(waiting).total), (200, 400));
    ledger.execute(&[A, B], suspend(D));
    let tally = ledger.tally(waiting);
    assert_eq!((tally.approving, tally.total, tally.needed), (100, 300, 201));
    assert!(tally.lines.iter().all(|l| l.member != D));
    let number = ledger.open(A, allot(B, 700));
    ledger.refused(D, ballot(number, BallotChoice::Approve), Outcome::MemberNotActive);
    ledger.approve(B, number);
    ledger.approve(C, number);
    // B alone has 700 of 900.
    ledger.execute(&[B], policy("forbid"));
}

#[test]
fn the_target_of_a_suspension_has_no_say() {
    let mut ledger = four();
    let number = ledger.open(A, suspend(D));
    let tally = ledger.tally(number);
    assert_eq!((tally.approving, tally.total, tally.needed), (100, 300, 101));
    assert_eq!(ledger.reject(D, number), Outcome::Applied);
    assert_eq!((ledger.tally(number).rejecting, ledger.tally(number).total), (0, 300));
    ledger.approve(B, number);
    assert_eq!(ledger.member(D).status(), MemberStatus::Suspended);
}

/// Those with half of the stake once cut off the others one after the other, and were
/// alone: each suspension made their share larger.
#[test]
fn members_are_not_cut_off_one_by_one() {
    const E: &str = "e.example";
    const F: &str = "f.example";
    let mut ledger = Ledger::new(&[A, B, C, D, E, F].map(|member| (member, 100, 1)), |_| ());
    ledger.execute(&[A, B], suspend(F));
    // Not more than two thirds of all stake would be left: as much is needed as for any
    // other change, and F, which has no say, goes on counting.
    let number = ledger.open(A, suspend(E));
    ledger.approve(B, number);
    ledger.approve(C, number);
    let tally = ledger.tally(number);
    assert_eq!((tally.approving, tally.total, tally.needed), (300, 500, 334));
    assert_eq!(
        (ledger.proposal(number).status(), ledger.member(E).status()),
        (ProposalStatus::Open, MemberStatus::Active)
    );
    // Nor do they remove it, or F, among themselves.
    for gone in [E, F] {
        let number = ledger.open(A, remove(gone));
        assert_eq!((ledger.tally(number).total, ledger.tally(number).needed), (500, 334), "{gone}");
    }
    // What cuts nobody off is decided by those who are there.
    let number = ledger.open(A, reinstate(F));
    assert_eq!((ledger.tally(number).total, ledger.tally(number).needed), (500, 334));
    for member in [B, C, D] {
        ledger.approve(member, number);
    }
    assert_eq!(ledger.member(F).status(), MemberStatus::Active);
}

#[test]
fn nobody_acts_on_in_a_transaction_that_cut_it_off() {
    let mut ledger = four();
    let number = ledger.open(A, suspend(D));
    ledger.execute(&[A, B, C], allot(A, 700));
    // A alone is enough by now; the next ballot of whoever it may be decides.
    let expires = ledger.next_ms() + 3_600_000;
    let actions = vec![ballot(number, BallotChoice::Reject), propose(policy("x"), expires)];
    let transaction = ledger.by_admin(D, actions);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::MemberNotActive);
    assert_eq!((ledger.member(D).status(), executed.events.next_set()), (MemberStatus::Active, None));
    let transaction = ledger.by_admin(D, vec![ballot(number, BallotChoice::Reject)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    assert_eq!(ledger.member(D).status(), MemberStatus::Suspended);
    assert!(executed.events.next_set().is_some());
}

#[test]
fn parameters_change_from_the_next_block_on_and_unchanged_ones_are_refused() {
    let mut ledger = four();
    let present: pb::Parameters = ledger.store.message(Table::State, &keys::parameters()).unwrap();
    ledger.proposal_refused(A, Topic::ChangeParameters(present), Outcome::ProposalRefused);
    let changed = pb::Parameters { epoch_blocks: 4, ..present };
    assert_eq!(ledger.preview(Topic::ChangeParameters(changed)).refusal, None);
    ledger.execute(&[A, B, C], Topic::ChangeParameters(changed));
    assert_eq!(ledger.tip.header.epoch, Epoch(0));
    // The epoch has more than four blocks: the next one ends it.
    let observed = ledger.seen(&ALL);
    assert!(ledger.block(&[], &observed).events.next_set().is_some());
}

#[test]
fn parameters_under_which_nobody_could_be_elected_are_refused() {
    let mut ledger = four();
    let present: pb::Parameters = ledger.store.message(Table::State, &keys::parameters()).unwrap();
    let strict = Topic::ChangeParameters(pb::Parameters { min_self_delegation: 101, ..present });
    ledger.proposal_refused(A, strict.clone(), Outcome::WouldStrandNetwork);
    let preview = ledger.preview(strict);
    let refusal = preview.refusal.unwrap();
    assert_eq!(refusal.outcome(), Outcome::WouldStrandNetwork);
    assert_eq!(refusal.fact, "certifies now: 400 of 400, needs more than 266; next epoch: nobody could be seated");
    assert_eq!(preview.arithmetic.unwrap().next, None);
}

#[test]
fn access_policies_are_numbered() {
    let mut ledger = four();
    ledger.execute(&[A, B, C], policy("permit"));
    ledger.execute(&[A, B, C], policy("forbid"));
    assert_eq!(ledger.roster().last_policy, 2);
    let stored: pb::AccessPolicyState = ledger.store.message(Table::State, &keys::access_policy(2)).unwrap();
    assert_eq!((stored.version, stored.text.contains("\"forbid\""), stored.proposal), (2, true, 2));
    assert_eq!(stored.height, ledger.tip.header.height.0 + 1);
    let first: pb::AccessPolicyState = ledger.store.message(Table::State, &keys::access_policy(1)).unwrap();
    assert!(first.text.contains("\"permit\""), "{}", first.text);
}

#[test]
fn what_is_no_access_policy_is_refused() {
    let mut ledger = four();
    let expires = ledger.tip.header.time.0 + 600_000;
    for text in [
        "permit",
        "permit (principal, action, resource);",
        "@id(\"x\") permit (principal, action, resource) when { 1 };",
    ] {
        ledger.refused(A, propose(policy_text(text), expires), Outcome::ProposalRefused);
    }
    assert_eq!(ledger.roster().last_policy, 0);
}

#[test]
fn a_protocol_version_follows_the_present_one_at_its_height() {
    let mut ledger = four();
    let protocol = |l: &Ledger| l.store.message::<pb::ProtocolState>(Table::State, &keys::protocol()).unwrap();
    ledger.proposal_refused(A, activate(1, 100), Outcome::ProposalRefused);
    ledger.proposal_refused(A, activate(3, 100), Outcome::ProposalRefused);
    let next = ledger.tip.header.height.0 + 1;
    ledger.proposal_refused(A, activate(2, next), Outcome::ProposalRefused);
    let height = ledger.tip.header.height.0 + 6;
    ledger.execute(&[A, B, C], activate(2, height));
    let waiting = pb::ProtocolState { version: 1, next_version: 2, next_height: height };
    assert_eq!(protocol(&ledger), waiting);
    while ledger.tip.header.height.0 + 1 < height {
        ledger.run(1, &ALL);
        assert_eq!(protocol(&ledger), waiting);
    }
    // From there on only a build that knows the version goes on.
    let input = BlockInput {
        time: TimeMs(ledger.next_ms()),
        proposer: NodeId(1),
        transactions: &[],
        observed: &Observed::default(),
        log_hash: consilium_proto::hash::Hash::from_bytes([0; 32]),
    };
    let error = execute(&ledger.store, &Rules, &ledger.tip, &input).unwrap_err();
    assert_eq!(error, ExecutionError::UnknownProtocol { version: 2, height: Height(height) });
}

/// Two headers of one height by one node, as anyone may report them.
fn evidence(ledger: &Ledger, node: u64) -> Action {
    let mut other = ledger.tip.header.clone();
    other.time = TimeMs(other.time.0 + 1);
    let lie = Vote::sign(NodeId(node), &other, &ledger.vote_keys[&node]).unwrap();
    let evidence = Equivocation::new(ledger.vote(node, &ledger.tip.header), lie).unwrap();
    Action::SubmitEvidence(pb::SubmitEvidence { evidence: Some((&evidence).into()) })
}

#[test]
fn a_penalty_is_lifted_once_and_gives_back_what_it_took() {
    let mut ledger = four();
    ledger.proposal_refused(A, lift(1), Outcome::ProposalRefused);
    let action = evidence(&ledger, 4);
    assert_eq!(ledger.submit(A, action), Outcome::Applied);
    assert_eq!((ledger.member(D).stake, ledger.standing(4).jailed()), (80, JailReason::Equivocation));
    assert_eq!(seats(&ledger.epoch(1)), [1, 2, 3]);
    ledger.execute(&[A, B, C], lift(1));
    assert_eq!((ledger.member(D).stake, ledger.standing(4).jailed()), (100, JailReason::Unspecified));
    ledger.proposal_refused(A, lift(1), Outcome::ProposalRefused);
    let epoch = ledger.end_epoch_soon();
    assert_eq!(seats(&epoch), [1, 2, 3, 4]);
}

#[test]
fn a_replacement_takes_over_the_jailing_and_is_freed_with_it() {
    let mut ledger = four();
    let action = evidence(&ledger, 4);
    assert_eq!(ledger.submit(A, action), Outcome::Applied);
    let node = ledger.new_node("n1");
    assert_eq!(ledger.submit(D, consilium_kit::topics::replace_action(4, node)), Outcome::Applied);
    assert_eq!(ledger.standing(5).jailed(), JailReason::Equivocation);
    let node = ledger.new_node("n1");
    assert_eq!(ledger.submit(D, consilium_kit::topics::replace_action(5, node)), Outcome::Applied);
    assert_eq!(ledger.standing(6).jailed(), JailReason::Equivocation);
    ledger.execute(&[A, B, C], lift(1));
    assert_eq!(ledger.standing(6).jailed(), JailReason::Unspecified);
    assert_eq!(ledger.member(D).stake, 100);
}

#[test]
fn a_preview_says_what_a_malformed_or_unfit_topic_lacks() {
    let ledger = four();
    let malformed = ledger.preview(suspend("not a member")).refusal.unwrap();
    assert!(malformed.fact.contains("suspend_member"), "{malformed:?}");
    let preview = ledger.preview(reinstate(A));
    let refusal = preview.refusal.unwrap();
    assert_eq!((refusal.outcome(), refusal.fact.as_str()), (Outcome::ProposalRefused, "a.example is not suspended"));
    let power = |part, total| Some(pb::CertifyingPower { part, total, numerator: 2, denominator: 3 });
    let unchanged = pb::QuorumArithmetic {
        now: power(400, 400),
        after: power(400, 400),
        leaving: vec![],
        next: power(400_000, 400_000),
        next_seats: 4,
    };
    assert_eq!(preview.arithmetic, Some(unchanged));
}

fn decide(stakes: &[u64], ballots: &[(usize, bool)], quorum: (u32, u32)) -> (Ledger, ProposalStatus) {
    let ids: Vec<String> = (0..stakes.len()).map(|i| format!("m{i}.example")).collect();
    let members: Vec<_> = ids.iter().zip(stakes).map(|(id, stake)| (id.as_str(), *stake, 1)).collect();
    let mut ledger = Ledger::new(&members, |p| (p.governance_numerator, p.governance_denominator) = quorum);
    let number = ledger.open(&ids[0], policy("permit"));
    for (member, approves) in ballots {
        let choice = if *approves { BallotChoice::Approve } else { BallotChoice::Reject };
        let outcome = ledger.submit(&ids[member % ids.len()], ballot(number, choice));
        assert!(matches!(outcome, Outcome::Applied | Outcome::ProposalClosed));
    }
    let status = ledger.proposal(number).status();
    (ledger, status)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The first ballot after which the approving stake exceeds the share
    /// executes; the first after which it cannot, rejects; whatever comes later
    /// changes nothing.
    #[test]
    fn thresholds_are_exact(
        stakes in prop::collection::vec(1u64..50, 1..6),
        ballots in prop::collection::vec((0usize..6, any::<bool>()), 0..8),
        quorum in prop::sample::select(vec![(1u32, 2u32), (2, 3), (3, 4), (999, 1_000)]),
    ) {
        let total: u64 = stakes.iter().sum();
        let exceeds = |part: u64| part * u64::from(quorum.1) > total * u64::from(quorum.0);
        let mut choices = vec![None; stakes.len()];
        let mut expected = ProposalStatus::Open;
        for (member, approves) in std::iter::once(&(0, true)).chain(&ballots) {
            if expected != ProposalStatus::Open {
                break;
            }
            choices[member % stakes.len()] = Some(*approves);
            let sum = |counts: fn(Option<bool>) -> bool| -> u64 {
                stakes.iter().zip(&choices).filter(|(_, c)| counts(**c)).map(|(s, _)| s).sum()
            };
            if exceeds(sum(|c| c == Some(true))) {
                expected = ProposalStatus::Executed;
            } else if !exceeds(sum(|c| c != Some(false))) {
                expected = ProposalStatus::Rejected;
            }
        }
        let (ledger, status) = decide(&stakes, &ballots, quorum);
        prop_assert_eq!(status, expected);
        prop_assert_eq!(ledger.roster().last_policy, u32::from(expected == ProposalStatus::Executed));
        prop_assert_eq!(ledger.roster().open_proposals.is_empty(), expected != ProposalStatus::Open);
    }
}
