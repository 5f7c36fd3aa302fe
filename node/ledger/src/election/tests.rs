//! What an election promises, for arbitrary candidates and rules, and a few
//! elections worked out by hand.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use consilium_proto::limits::VOTING_POWER_MAX;
use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    max_validators: 7,
    max_seats_per_member: 2,
    min_self_delegation: 1,
    hysteresis_percent: 10,
    cap_numerator: 1,
    cap_denominator: 3,
};

fn candidate(id: u64, member: &str, stake: u64) -> Candidate {
    Candidate {
        id: NodeId(id),
        member: member.to_owned(),
        stake,
        self_delegation: stake,
        seated: false,
        jailed: false,
        caught_up: true,
        retiring: false,
        member_active: true,
    }
}

fn powers(election: &Election) -> Vec<(u64, u64)> {
    election.seats.iter().map(|s| (s.id.0, s.power.0)).collect()
}

fn reasons(election: &Election) -> Vec<(u64, Reason)> {
    election.not_seated.iter().map(|(id, reason)| (id.0, *reason)).collect()
}

#[test]
fn golden_power_follows_stake_below_the_cap() {
    let four = [("a", 30), ("b", 29), ("c", 21), ("d", 20)];
    let candidates: Vec<_> = (1..).zip(four).map(|(id, (member, stake))| candidate(id, member, stake)).collect();
    let election = elect(&candidates, &RULES);
    assert_eq!(powers(&election), [(1, 30_000), (2, 29_000), (3, 21_000), (4, 20_000)]);
    assert_eq!(election.seats[0].stake, 30);
    assert_eq!(election.not_seated, []);
}

#[test]
fn golden_a_large_member_is_cut_below_a_third() {
    let four = [("a", 1_000), ("b", 10), ("c", 10), ("d", 10)];
    let candidates: Vec<_> = (1..).zip(four).map(|(id, (member, stake))| candidate(id, member, stake)).collect();
    // 14,999 of 44,999 is below a third, 15,000 of 45,000 is not.
    let expected = [(1, 14_999), (2, 10_000), (3, 10_000), (4, 10_000)];
    assert_eq!(powers(&elect(&candidates, &RULES)), expected);
}

#[test]
fn golden_three_members_are_equal_and_seats_share() {
    let candidates = [candidate(1, "a", 900), candidate(2, "a", 100), candidate(3, "b", 20), candidate(4, "c", 10)];
    // a's 10,000: one for each seat, then 9,998 as 9 to 1.
    assert_eq!(powers(&elect(&candidates, &RULES)), [(1, 8_999), (2, 1_001), (3, 10_000), (4, 10_000)]);
    assert_eq!(powers(&elect(&candidates[..1], &RULES)), [(1, 900_000)]);
    assert_eq!(elect(&[], &RULES), Election::default());
}

#[test]
fn golden_two_seats_of_a_member_share_its_cap() {
    let mut candidates: Vec<_> = (2..=6).map(|id| candidate(id, &format!("m{id}"), 10)).collect();
    candidates.extend([candidate(7, "a", 300), candidate(1, "a", 100)]);
    // 24,999 of 74,999: one each, then 24,997 as 18,747.75 to 6,249.25.
    let expected = [(7, 18_749), (1, 6_250), (2, 10_000), (3, 10_000), (4, 10_000), (5, 10_000), (6, 10_000)];
    assert_eq!(powers(&elect(&candidates, &RULES)), expected);
}

#[test]
fn golden_every_reason_has_its_case() {
    let rules = Rules { max_validators: 3, ..RULES };
    let candidates = [
        Candidate { member_active: false, jailed: true, ..candidate(1, "a", 50) },
        Candidate { retiring: true, jailed: true, ..candidate(2, "b", 50) },
        Candidate { jailed: true, caught_up: false, ..candidate(3, "b", 50) },
        Candidate { caught_up: false, ..candidate(4, "b", 50) },
        Candidate { self_delegation: 0, ..candidate(5, "b", 50) },
        Candidate { self_delegation: 1, ..candidate(6, "b", 0) },
        candidate(7, "c", 40),
        candidate(8, "c", 30),
        candidate(9, "c", 20),
        Candidate { seated: true, ..candidate(10, "d", 10) },
        candidate(11, "e", 11),
        candidate(12, "f", 1),
        Candidate { seated: true, ..candidate(13, "f", 9) },
    ];
    let election = elect(&candidates, &rules);
    assert_eq!(election.seats.iter().map(|s| s.id.0).collect::<Vec<_>>(), [7, 8, 10]);
    let expected = [
        (1, Reason::MemberNotActive),
        (2, Reason::Retiring),
        (3, Reason::Jailed),
        (4, Reason::NotCaughtUp),
        (5, Reason::BelowMinSelfDelegation),
        (6, Reason::NoStake),
        (9, Reason::MemberHasAllItsSeats),
        (11, Reason::Outranked { needed_stake: 12 }),
        (12, Reason::Outranked { needed_stake: 12 }),
        (13, Reason::Outranked { needed_stake: 11 }),
    ];
    assert_eq!(reasons(&election), expected);
}

#[test]
fn golden_huge_stakes_are_divided_down() {
    let candidates: Vec<_> = (1..=4).map(|id| candidate(id, &format!("m{id}"), u64::MAX / id)).collect();
    let election = elect(&candidates, &RULES);
    // 2^48 for the largest member, the others in proportion, then the cap:
    // 1/2 + 1/3 + 1/4 of 2^48 are above two thirds of it.
    let total: u128 = election.seats.iter().map(|s| u128::from(s.power.0)).sum();
    assert_eq!(election.seats[1].power.0, VOTING_POWER_MAX / 2 - 1);
    assert!(election.seats[0].power.0 > VOTING_POWER_MAX / 2);
    assert!(u128::from(election.seats[0].power.0) * 3 < total);
}

fn any_stake() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 6 => 1u64..30, 3 => 1u64..=VOTING_POWER_MAX, 1 => any::<u64>()]
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let mostly = || prop::bool::weighted(0.9);
    (0u8..8, any_stake(), any_stake(), any::<bool>(), (mostly(), mostly(), mostly(), mostly())).prop_map(
        |(member, stake, own, seated, (free, caught_up, staying, active))| Candidate {
            self_delegation: own.min(stake),
            seated,
            jailed: !free,
            caught_up,
            retiring: !staying,
            member_active: active,
            ..candidate(0, &format!("m{member}"), stake)
        },
    )
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(any_candidate(), 0..24).prop_map(|mut candidates| {
        (1..).zip(&mut candidates).for_each(|(id, c)| c.id = NodeId(id));
        candidates
    })
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let cap = prop_oneof![4 => Just((1, 3)), 1 => (1u32..4).prop_flat_map(|n| (Just(n), n + 1..12))];
    (0u32..12, 1u32..4, 0u64..5, 0u32..30, cap).prop_map(|(validators, seats, own, hysteresis, cap)| Rules {
        max_validators: validators,
        max_seats_per_member: seats,
        min_self_delegation: own,
        hysteresis_percent: hysteresis,
        cap_numerator: cap.0,
        cap_denominator: cap.1,
    })
}

fn by_member(candidates: &[Candidate], election: &Election) -> BTreeMap<String, Vec<Seat>> {
    let member = |id: NodeId| candidates.iter().find(|c| c.id == id).unwrap().member.clone();
    let mut members: BTreeMap<_, Vec<_>> = BTreeMap::new();
    election.seats.iter().for_each(|seat| members.entry(member(seat.id)).or_default().push(*seat));
    members
}

fn sum(seats: &[Seat]) -> u128 {
    seats.iter().map(|s| u128::from(s.power.0)).sum()
}

fn place(election: &Election, id: NodeId) -> Option<usize> {
    election.seats.iter().position(|s| s.id == id)
}

fn with_stake(candidates: &[Candidate], index: usize, stake: u64) -> Vec<Candidate> {
    let mut changed = candidates.to_vec();
    changed[index].stake = stake;
    changed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_power_is_positive_and_within_bounds(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        for seat in &election.seats {
            prop_assert!((1..=VOTING_POWER_MAX).contains(&seat.power.0));
        }
        let eligible = candidates.iter().any(|c| ineligible(c, &rules).is_none());
        prop_assert_eq!(sum(&election.seats) > 0, eligible && rules.max_validators > 0);
    }

    #[test]
    fn no_member_reaches_the_cap_where_that_is_feasible(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        let members = by_member(&candidates, &election);
        let total = sum(&election.seats);
        let (numerator, denominator) = (u128::from(rules.cap_numerator), u128::from(rules.cap_denominator));
        let feasible = members.len() as u128 * numerator > denominator;
        for seats in members.values() {
            if feasible {
                prop_assert!(sum(seats) * denominator < numerator * total);
            } else {
                prop_assert_eq!(sum(seats) * members.len() as u128, total);
            }
        }
    }

    /// The level is the highest: nobody is cut who need not be.
    #[test]
    fn powers_are_cut_no_further_than_the_cap_demands(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        let members = by_member(&candidates, &election);
        let (numerator, denominator) = (u128::from(rules.cap_numerator), u128::from(rules.cap_denominator));
        let stakes: Vec<u128> =
            members.values().map(|seats| seats.iter().map(|s| u128::from(s.stake) * 1_000).sum()).collect();
        let powers: Vec<u128> = members.values().map(|seats| sum(seats)).collect();
        let fits = stakes.iter().all(|s| *s <= u128::from(VOTING_POWER_MAX));
        let level = powers.iter().max().copied().unwrap_or(0);
        if fits && members.len() as u128 * numerator > denominator {
            prop_assert!(powers.iter().zip(&stakes).all(|(p, s)| *p == level.min(*s)));
            let higher: u128 = stakes.iter().map(|s| *s.min(&(level + 1))).sum();
            let uncut = powers == stakes;
            prop_assert!(uncut || (level + 1) * denominator >= numerator * higher);
        }
    }

    #[test]
    fn no_member_can_halt_alone_once_four_are_seated(candidates in any_candidates(), rules in any_rules()) {
        let rules = Rules { cap_numerator: 1, cap_denominator: 3, ..rules };
        let election = elect(&candidates, &rules);
        let members = by_member(&candidates, &election);
        if members.len() >= 4 {
            let quorum = consilium_proto::validators::Quorum::new(2, 3).unwrap();
            let total = sum(&election.seats);
            for seats in members.values() {
                prop_assert!(quorum.reached(total - sum(seats), total));
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (candidates, shuffled) in any_candidates().prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
        rules in any_rules(),
    ) {
        prop_assert_eq!(elect(&candidates, &rules), elect(&shuffled, &rules));
    }

    #[test]
    fn ties_go_to_the_lower_id(stake in 1u64..1_000, seats in 1u32..6, seated in any::<bool>()) {
        let tied = |id| Candidate { seated, ..candidate(id, &format!("m{id}"), stake) };
        let candidates: Vec<_> = (1..=6).rev().map(tied).collect();
        let election = elect(&candidates, &Rules { max_validators: seats, ..RULES });
        let ids: Vec<u64> = election.seats.iter().map(|s| s.id.0).collect();
        prop_assert_eq!(ids, (1..=u64::from(seats)).collect::<Vec<_>>());
    }

    #[test]
    fn more_stake_never_loses_a_seat_nor_a_rank(
        candidates in any_candidates(), rules in any_rules(), which in any::<prop::sample::Index>(), more in any_stake(),
    ) {
        prop_assume!(!candidates.is_empty());
        let index = which.index(candidates.len());
        let before = elect(&candidates, &rules);
        let raised = with_stake(&candidates, index, candidates[index].stake.saturating_add(more));
        let after = elect(&raised, &rules);
        if let Some(rank) = place(&before, candidates[index].id) {
            let now = place(&after, candidates[index].id);
            prop_assert!(now.is_some_and(|now| now <= rank), "rank {} became {:?}", rank, now);
        }
    }

    /// The stake that an outranked node is told is exactly what it lacks.
    #[test]
    fn the_needed_stake_is_exact(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        for (id, reason) in &election.not_seated {
            let Reason::Outranked { needed_stake } = *reason else { continue };
            let index = candidates.iter().position(|c| c.id == *id).unwrap();
            if needed_stake == u64::MAX {
                continue; // No stake would do.
            }
            prop_assert!(needed_stake > candidates[index].stake);
            prop_assert!(place(&elect(&with_stake(&candidates, index, needed_stake), &rules), *id).is_some());
            prop_assert!(place(&elect(&with_stake(&candidates, index, needed_stake - 1), &rules), *id).is_none());
        }
    }

    #[test]
    fn a_challenger_must_exceed_by_the_hysteresis(
        stake in 1u64..100_000, challenge in 1u64..130_000, percent in 0u32..50,
    ) {
        let rules = Rules { max_validators: 1, hysteresis_percent: percent, ..RULES };
        let holder = Candidate { seated: true, ..candidate(1, "a", stake) };
        let election = elect(&[holder, candidate(2, "b", challenge)], &rules);
        let exceeds = u128::from(challenge) * 100 > u128::from(stake) * u128::from(100 + percent);
        prop_assert_eq!(election.seats[0].id.0, if exceeds { 2 } else { 1 });
    }

    #[test]
    fn no_member_has_more_than_its_seats(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        prop_assert!(election.seats.len() <= rules.max_validators as usize);
        for seats in by_member(&candidates, &election).values() {
            prop_assert!(seats.len() <= rules.max_seats_per_member as usize);
        }
    }

    #[test]
    fn every_candidate_is_seated_or_has_a_reason(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        let seated = election.seats.iter().map(|s| s.id);
        let named: Vec<NodeId> = seated.chain(election.not_seated.iter().map(|(id, _)| *id)).collect();
        prop_assert_eq!(named.len(), candidates.len());
        let distinct: BTreeSet<_> = named.into_iter().collect();
        prop_assert_eq!(distinct, candidates.iter().map(|c| c.id).collect());
    }

    #[test]
    fn the_ineligible_are_never_seated(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        for seat in &election.seats {
            let c = candidates.iter().find(|c| c.id == seat.id).unwrap();
            prop_assert!(c.member_active && !c.retiring && !c.jailed && c.caught_up);
            prop_assert!(c.stake > 0 && c.self_delegation >= rules.min_self_delegation);
        }
    }

    /// Within a member, more stake is at least as much power.
    #[test]
    fn power_within_a_member_follows_stake(candidates in any_candidates(), rules in any_rules()) {
        let election = elect(&candidates, &rules);
        for seats in by_member(&candidates, &election).values_mut() {
            seats.sort_by_key(|s| (s.stake, s.power));
            prop_assert!(seats.windows(2).all(|pair| pair[0].power <= pair[1].power));
        }
    }
}
