//! Epochs: when they end, what the block that ends one commits to, and what the
//! ledger keeps of each election.

use std::collections::BTreeMap;

use consilium_kit::{
    Ledger, MemberSpec, Rules, START, approve, powers, propose, reason, redelegate, seats, undelegate,
};
use consilium_ledger::{BlockInput, ExecutionError, PROTOCOL_VERSION, execute};
use consilium_proto::ids::{Epoch, Height, NodeId};
use consilium_proto::light_client::{SetChange, TrustedSet};
use consilium_proto::observed::Observed;
use consilium_proto::pb::proposal_topic::Topic;
use consilium_proto::pb::{ActivateProtocol, NotSeatedReason, Outcome, SuspendMember};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::CertifiedHeader;
use proptest::prelude::*;

const ALL: [u64; 4] = [1, 2, 3, 4];
const FOUR: [MemberSpec<'static>; 4] =
    [("a.example", 100, 1), ("b.example", 100, 1), ("c.example", 100, 1), ("d.example", 100, 1)];

#[test]
fn an_epoch_ends_when_its_time_has_come() {
    let mut ledger = Ledger::new(&FOUR, |p| p.epoch_ms = 10_000);
    assert_eq!(ledger.epoch(0).start_ms, START);
    let executed = ledger.block_at(START + 9_999, &[], &Observed::default());
    assert_eq!((executed.events.next_set(), ledger.tip.header.epoch), (None, Epoch(0)));
    let executed = ledger.block_at(START + 10_000, &[], &Observed::default());
    assert!(executed.events.next_set().is_some() && executed.events.changed_nodes());
    // The block that ends an epoch belongs to it; the next one begins the other.
    assert_eq!(ledger.tip.header.epoch, Epoch(0));
    let epoch = ledger.epoch(1);
    assert_eq!((epoch.epoch, epoch.first_height, epoch.start_ms), (1, 4, START + 10_000));
    let executed = ledger.block_at(START + 10_001, &[], &Observed::default());
    assert_eq!(
        (executed.events.next_set(), executed.events.changed_nodes(), ledger.tip.header.epoch),
        (None, false, Epoch(1))
    );
    ledger.block_at(START + 20_000, &[], &Observed::default());
    assert_eq!(ledger.epoch(2).first_height, 6);
}

#[test]
fn an_epoch_ends_with_its_last_block() {
    let mut ledger = Ledger::new(&FOUR, |p| p.epoch_blocks = 4);
    for _ in 0..3 {
        let epoch = ledger.end_epoch(&ALL);
        assert_eq!(epoch.first_height, 4 * epoch.epoch + 1);
    }
    let epochs: Vec<u64> = ledger.headers.iter().map(|h| h.epoch.0).collect();
    assert_eq!(epochs, [0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
}

/// Header by header, each names the set of its epoch, which hashes to what the
/// state keeps, and a light client follows from the genesis document.
#[test]
fn a_light_client_follows_the_epochs() {
    let members = [("a.example", 100, 1), ("b.example", 90, 1), ("c.example", 80, 1), ("d.example", 70, 1)];
    let mut ledger = Ledger::new(&members, |p| {
        p.epoch_blocks = 5;
        p.max_validators = 3;
        p.hysteresis_percent = 0;
    });
    let mut trusted = TrustedSet::genesis(&ledger.genesis).unwrap();
    let mut sets = Vec::new();
    for change in [None, Some(redelegate(1, 4, 60)), None, Some(redelegate(4, 1, 60)), None] {
        if let Some(action) = change {
            assert_eq!(ledger.submit("a.example", action), Outcome::Applied);
        }
        let epoch = ledger.end_epoch(&ALL);
        let set = ValidatorSet::try_from(epoch.validators.as_ref().unwrap()).unwrap();
        let boundary = ledger.tip.header.clone();
        let signers = seats(&ledger.epoch(boundary.epoch.0));
        assert_eq!(boundary.next_validators_hash, set.hash());
        let certificate = ledger.seen_at(&boundary, &signers).certificate.unwrap();
        if boundary.next_validators_hash != boundary.validators_hash {
            let boundary = CertifiedHeader { header: boundary, certificate };
            trusted.follow(&SetChange { boundary, next: set.clone() }).unwrap();
        }
        assert_eq!(trusted.hash(), set.hash());
        sets.push(seats(&epoch));
    }
    assert_eq!(sets, [[1, 2, 3], [2, 3, 4], [2, 3, 4], [1, 2, 3], [1, 2, 3]]);
    for header in &ledger.headers[1..] {
        let set = ledger.epoch(header.epoch.0).validators.unwrap();
        assert_eq!(header.validators_hash, ValidatorSet::try_from(&set).unwrap().hash());
    }
}

#[test]
fn every_candidate_is_recorded_with_its_reason() {
    let members =
        [("a.example", 300, 3), ("b.example", 90, 1), ("c.example", 80, 1), ("d.example", 70, 1), ("e.example", 5, 1)];
    let mut ledger = Ledger::new(&members, |p| {
        p.epoch_blocks = 8;
        p.max_validators = 5;
        p.max_seats_per_member = 2;
        p.min_self_delegation = 50;
        p.hysteresis_percent = 0;
    });
    assert_eq!(ledger.submit("b.example", redelegate(4, 7, 60)), Outcome::Applied);
    assert_eq!(ledger.submit("d.example", undelegate(6, 70)), Outcome::Applied);
    let epoch = ledger.end_epoch(&[1, 2, 3, 4, 5, 6, 7]);
    let found: Vec<_> = epoch.candidates.iter().map(|c| (c.node, c.stake, c.self_delegation, c.reason())).collect();
    use NotSeatedReason::{BelowMinSelfDelegation, MemberHasAllItsSeats, Unspecified};
    let expected = [
        (1, 100, 100, Unspecified),
        (2, 100, 100, Unspecified),
        (3, 100, 100, MemberHasAllItsSeats),
        (4, 30, 30, BelowMinSelfDelegation),
        (5, 80, 80, Unspecified),
        (6, 0, 0, BelowMinSelfDelegation),
        (7, 65, 5, BelowMinSelfDelegation),
    ];
    assert_eq!(found, expected);
    // Two members: no cap can hold, so they are equal.
    assert_eq!(powers(&epoch), [(1, 40_000), (2, 40_000), (5, 80_000)]);
    assert!(!epoch.kept_previous);
}

#[test]
fn a_large_members_power_stays_below_a_third() {
    let members = [("a.example", 1_000, 2), ("b.example", 10, 1), ("c.example", 10, 1), ("d.example", 10, 1)];
    let mut ledger = Ledger::new(&members, |p| p.epoch_blocks = 4);
    // The founders' powers are what the document says; the first election caps.
    assert_eq!(powers(&ledger.epoch(0)), [(1, 500), (2, 500), (3, 10), (4, 10), (5, 10)]);
    let epoch = ledger.end_epoch(&[1, 2, 3, 4, 5]);
    assert_eq!(powers(&epoch), [(1, 7_500), (2, 7_499), (3, 10_000), (4, 10_000), (5, 10_000)]);
}

/// Nobody has stake on a node of its own any more: nobody is eligible.
#[test]
fn the_set_stays_when_nobody_is_eligible() {
    let mut ledger = Ledger::new(&FOUR, |p| p.epoch_blocks = 6);
    let first = ledger.end_epoch(&ALL);
    for (member, node) in [("a.example", 1), ("b.example", 2), ("c.example", 3), ("d.example", 4)] {
        assert_eq!(ledger.submit(member, undelegate(node, 100)), Outcome::Applied);
    }
    let second = ledger.end_epoch(&ALL);
    assert!(second.kept_previous && !first.kept_previous);
    assert_eq!(second.validators, first.validators);
    assert_eq!(reason(&second, 1), NotSeatedReason::BelowMinSelfDelegation);
    assert!(second.candidates.iter().all(|c| c.power == 100_000));
}

/// A leader that reports nobody but itself for epochs unseats nobody: absence
/// is believed only while a quorum is present.
#[test]
fn a_leader_that_conceals_votes_unseats_nobody() {
    let mut ledger = Ledger::new(&FOUR, |p| {
        p.epoch_blocks = 12;
        p.miss_window_blocks = 4;
        p.jail_missed_percent = 1;
    });
    for present in [&[1][..], &[1], &[1, 2], &[1, 2], &[]] {
        let epoch = ledger.end_epoch(present);
        assert_eq!((seats(&epoch), epoch.kept_previous), (ALL.to_vec(), false));
    }
}

/// A seat is kept for one epoch without a vote, and lost after two.
#[test]
fn a_node_that_is_gone_loses_its_seat() {
    let mut ledger = Ledger::new(&FOUR, |p| p.epoch_blocks = 4);
    ledger.end_epoch(&ALL);
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), ALL);
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!((seats(&epoch), reason(&epoch, 4)), (vec![1, 2, 3], NotSeatedReason::NotCaughtUp));
    // Back without a seat: it must be seen in the epoch before the election.
    assert_eq!(seats(&ledger.end_epoch(&ALL)), ALL);
}

/// The block that suspends a seated member is the last one it may certify.
#[test]
fn a_suspension_ends_the_epoch_at_once() {
    let mut ledger = Ledger::new(&FOUR, |_| ());
    ledger.run(2, &ALL);
    let topic = Topic::SuspendMember(SuspendMember { member: "d.example".into() });
    assert_eq!(ledger.submit("a.example", propose(&ledger, topic)), Outcome::Applied);
    assert_eq!(ledger.tip.header.epoch, Epoch(0));
    let transaction = ledger.by_admin("b.example", vec![approve(1)]);
    let executed = ledger.block(&[transaction], &Observed::default());
    assert_eq!(executed.leaves[0].1.outcome, Outcome::Applied);
    let epoch = ledger.epoch(1);
    assert_eq!(executed.events.next_set().unwrap().seats().len(), 3);
    assert_eq!((seats(&epoch), reason(&epoch, 4)), (vec![1, 2, 3], NotSeatedReason::MemberNotActive));
    assert!(executed.events.changed_members().map(|m| m.id.as_str()).eq(["d.example"]));
    // What it delegated does not count any more.
    assert_eq!(epoch.candidates[3].stake, 0);
}

/// A build that does not know the rules in force stops before it would fork.
#[test]
fn a_build_stops_where_newer_rules_begin() {
    let mut ledger = Ledger::new(&FOUR, |_| ());
    let topic = Topic::ActivateProtocol(ActivateProtocol { version: PROTOCOL_VERSION + 1, height: 8 });
    assert_eq!(ledger.submit("a.example", propose(&ledger, topic)), Outcome::Applied);
    assert_eq!(ledger.submit("b.example", approve(1)), Outcome::Applied);
    assert_eq!(ledger.submit("c.example", approve(1)), Outcome::Applied);
    ledger.run(3, &ALL);
    let observed = Observed::default();
    let input = BlockInput {
        time: ledger.tip.header.time,
        proposer: NodeId(1),
        transactions: &[],
        observed: &observed,
        log_hash: consilium_proto::hash::Hash::from_bytes([0; 32]),
    };
    let stopped = execute(&ledger.store, &Rules, &ledger.tip, &input).unwrap_err();
    assert_eq!(stopped, ExecutionError::UnknownProtocol { version: PROTOCOL_VERSION + 1, height: Height(8) });
}

#[test]
fn a_challenger_needs_more_than_the_bonus() {
    let members = [("a.example", 200, 1), ("b.example", 100, 1), ("c.example", 101, 1)];
    let mut ledger = Ledger::new(&members, |p| {
        p.epoch_blocks = 5;
        p.max_validators = 2;
        p.hysteresis_percent = 10;
        p.min_self_delegation = 0;
    });
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), [1, 3]);
    // Node 2 needs more than 111.1.
    assert_eq!(ledger.submit("a.example", redelegate(1, 2, 11)), Outcome::Applied);
    let epoch = ledger.end_epoch(&[1, 2, 3]);
    assert_eq!((seats(&epoch), epoch.candidates[1].stake_needed), (vec![1, 3], 112));
    assert_eq!(ledger.submit("a.example", redelegate(1, 2, 1)), Outcome::Applied);
    assert_eq!(seats(&ledger.end_epoch(&[1, 2, 3])), [1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// With any stakes and any presence: every epoch's row answers who was
    /// seated and why each other node was not, and no member of four or more
    /// that are seated can halt the rest.
    #[test]
    fn every_epoch_is_answered_for(
        stakes in prop::collection::vec((1u64..1_000, 1usize..3), 4..8),
        presence in prop::collection::vec(prop::collection::btree_set(1u64..14, 0..14), 4..12),
        validators in 1u32..9,
    ) {
        let names: Vec<String> = (0..stakes.len()).map(|i| format!("m{i}.example")).collect();
        let members: Vec<MemberSpec<'_>> =
            names.iter().zip(&stakes).map(|(name, (stake, nodes))| (name.as_str(), stake + 10, *nodes)).collect();
        let mut ledger = Ledger::new(&members, |p| {
            p.epoch_blocks = 4;
            p.max_validators = validators;
        });
        let nodes: Vec<u64> = ledger.vote_keys.keys().copied().collect();
        for seen in presence {
            let voters: Vec<u64> = nodes.iter().copied().filter(|n| seen.contains(n)).collect();
            let epoch = ledger.end_epoch(&voters);
            let listed: Vec<u64> = epoch.candidates.iter().map(|c| c.node).collect();
            prop_assert_eq!(&listed, &nodes);
            let set = ValidatorSet::try_from(epoch.validators.as_ref().unwrap()).unwrap();
            let mut by_member: BTreeMap<&str, u128> = BTreeMap::new();
            for c in &epoch.candidates {
                let seated = set.seat(NodeId(c.node));
                prop_assert_eq!(c.power, seated.map_or(0, |s| s.power.0));
                if !epoch.kept_previous {
                    prop_assert_eq!(seated.is_some(), c.reason() == NotSeatedReason::Unspecified);
                }
                if seated.is_some() {
                    *by_member.entry(&c.member).or_default() += u128::from(c.power);
                }
            }
            if by_member.len() >= 4 && epoch.epoch > 0 {
                prop_assert!(by_member.values().all(|power| set.is_quorum(set.total_power() - power)));
            }
        }
    }
}
