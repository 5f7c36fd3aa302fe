#![allow(clippy::unwrap_used)]

use consilium_proto::ids::VotingPower;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use consilium_proto::validators::Validator;

use super::*;

/// Seats 1 to `n` of power 100, each of a member of its own.
fn set(ids: &[u64]) -> ValidatorSet {
    let key = SigningKey::generate(SignatureAlgorithm::Es256).unwrap().verifying_key();
    let seat = |id: &u64| Validator { id: NodeId(*id), power: VotingPower(100), key: key.clone() };
    ValidatorSet::new(ids.iter().map(seat).collect(), Quorum::new(2, 3).unwrap()).unwrap()
}

fn state(seats: u64, serving: &[u64], seen: &[u64]) -> Measure {
    let all: Vec<u64> = (1..=seats).collect();
    let elected: Vec<u64> = serving.iter().copied().filter(|id| seen.contains(id)).collect();
    Measure {
        current: set(&all),
        members: all.iter().map(|id| (NodeId(*id), format!("m{id}.example"))).collect(),
        serving: serving.iter().map(|id| NodeId(*id)).collect(),
        seen: seen.iter().map(|id| NodeId(*id)).collect(),
        next: EpochState { kept_previous: elected.is_empty(), ..EpochState::default() },
        next_set: set(if elected.is_empty() { &all } else { &elected }),
    }
}

fn without(seats: u64, seen: &[u64], leaving: &[u64]) -> Arithmetic {
    let all: Vec<u64> = (1..=seats).collect();
    let rest: Vec<u64> = all.iter().copied().filter(|id| !leaving.contains(id)).collect();
    Arithmetic::between(state(seats, &all, seen), state(seats, &rest, seen))
}

#[test]
fn the_table_of_equal_members() {
    // (seats, seen, leaving, strands)
    let table: [(u64, &[u64], &[u64], bool); 9] = [
        (1, &[1], &[1], true),
        (3, &[1, 2, 3], &[3], true),
        (4, &[1, 2, 3, 4], &[4], false),
        (4, &[1, 2, 3, 4], &[3, 4], true),
        // One is down: the one that is down may leave, no other.
        (4, &[1, 2, 3], &[4], false),
        (4, &[1, 2, 3], &[1], true),
        (5, &[1, 2, 3, 4], &[5], false),
        (5, &[1, 2, 3, 4], &[1], true),
        // Nobody is there.
        (4, &[], &[4], true),
    ];
    for (seats, seen, leaving, strands) in table {
        let arithmetic = without(seats, seen, leaving);
        assert_eq!(arithmetic.strands(), strands, "{seats} {seen:?} {leaving:?}: {arithmetic}");
    }
}

#[test]
fn the_words_hold_the_numbers() {
    assert_eq!(
        without(4, &[1, 2, 3, 4], &[3]).to_string(),
        "certifies now: 400 of 400, needs more than 266; without m3.example: 300 of 400, needs more than 266; \
         next epoch, with 3 seats: 300 of 300, needs more than 200"
    );
    assert_eq!(
        without(1, &[1], &[1]).to_string(),
        "certifies now: 100 of 100, needs more than 66; without m1.example: 0 of 100, needs more than 66; \
         next epoch: nobody could be seated"
    );
}

#[test]
fn a_change_that_takes_nobody_out_is_judged_by_the_next_set_alone() {
    let down = without(3, &[1, 2], &[]);
    assert!(!down.now.certifies() && !down.strands());
    let all = [1, 2, 3];
    let nobody = Measure { next: EpochState { kept_previous: true, ..EpochState::default() }, ..state(3, &all, &all) };
    let unseats_all = Arithmetic::between(state(3, &all, &all), nobody.clone());
    assert!(unseats_all.strands());
    assert!(!Arithmetic::between(nobody.clone(), nobody).strands());
}
