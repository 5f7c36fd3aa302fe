#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixture::{number, transaction};

fn ids(block: &[Queued]) -> Vec<u16> {
    block.iter().map(|queued| number(&queued.checked.transaction.id)).collect()
}

fn push(pool: &mut Mempool, number: u16, bytes: usize) -> bool {
    pool.push(Queued { checked: transaction(number, bytes), right_of: None }).is_ok()
}

fn push_right(pool: &mut Mempool, number: u16, bytes: usize, member: &str) -> bool {
    let right_of = Some(Share::Administrators(member.parse().unwrap()));
    pool.push(Queued { checked: transaction(number, bytes), right_of }).is_ok()
}

#[test]
fn limits_hold_and_repeats_are_taken_once() {
    let mut pool = Mempool::new(2, 10_000);
    assert!(push(&mut pool, 1, 10) && push(&mut pool, 1, 10) && push(&mut pool, 2, 10));
    assert!(!push(&mut pool, 3, 10));
    assert_eq!(pool.len(), 2);
    assert_eq!(ids(&pool.cut(10, 10_000)), [1, 2]);
    assert!(push(&mut pool, 1, 10), "what was cut may come again");
    pool.clear();
    assert!(pool.is_empty());
    assert!(!push(&mut pool, 4, 20_000), "too large for the whole queue");
}

#[test]
fn a_block_is_cut_by_count_and_bytes_and_is_never_empty() {
    let mut pool = Mempool::new(10, 1 << 20);
    (1..=4).for_each(|id| assert!(push(&mut pool, id, 1_000)));
    assert_eq!(ids(&pool.cut(1, 1 << 20)), [1]);
    assert_eq!(ids(&pool.cut(10, 1)), [2]);
    assert_eq!(ids(&pool.cut(10, 1 << 20)), [3, 4]);
    assert!(pool.cut(10, 1 << 20).is_empty());
}

#[test]
fn rights_go_first_and_take_half_of_a_block_while_others_wait() {
    let mut pool = Mempool::new(10, 1 << 20);
    (1..=4).for_each(|id| assert!(push(&mut pool, id, 10)));
    (11..=14).for_each(|id| assert!(push_right(&mut pool, id, 10, "a.example")));
    assert_eq!(ids(&pool.cut(4, 1 << 20)), [11, 12, 1, 2]);
    assert_eq!(ids(&pool.cut(1, 1 << 20)), [13]);
    assert_eq!(ids(&pool.cut(10, 1 << 20)), [14, 3, 4]);
    assert!(pool.is_empty());
    (11..=14).for_each(|id| assert!(push_right(&mut pool, id, 1_000, "a.example")));
    assert_eq!(ids(&pool.cut(4, 1 << 20)), [11, 12, 13, 14], "all of it if nothing else waits");
    (11..=12).for_each(|id| assert!(push_right(&mut pool, id, 1_000, "a.example")));
    assert!(push(&mut pool, 1, 10));
    assert_eq!(ids(&pool.cut(10, 1_000)), [11], "one at least, and never more bytes than fit");
}

#[test]
fn no_load_keeps_rights_out_and_each_member_has_its_own_places() {
    let mut pool = Mempool::new(1, 1 << 20);
    assert!(push(&mut pool, 1, 10));
    for place in 0..LANE.administrators.count as u16 {
        assert!(push_right(&mut pool, 100 + place, 10, "a.example"));
    }
    assert!(!push_right(&mut pool, 200, 10, "a.example"), "it stands with all the others, of which there are too many");
    assert!(push_right(&mut pool, 201, 10, "b.example"));
    assert!(!push_right(&mut pool, 202, LANE.administrators.bytes, "b.example"));
    pool.cut(100, 1 << 20);
    assert!(push_right(&mut pool, 200, 10, "a.example"), "the places are free again");
    assert!(push_right(&mut pool, 202, LANE.administrators.bytes, "b.example"));
}

/// Emergencies of one identity fill its own places and stand with the others beyond them.
#[test]
fn a_flood_of_one_identity_leaves_room_for_another_of_its_member_and_for_its_administrators() {
    let mut pool = Mempool::new(1, 1 << 20);
    let of = |name: &str| Share::Identity(format!("spiffe://a.example/clinician/{name}").parse().unwrap());
    let mut push =
        |number, share| pool.push(Queued { checked: transaction(number, 10), right_of: Some(share) }).is_ok();
    for place in 0..LANE.identity.count as u16 {
        assert!(push(place, of("x")));
    }
    assert!(push(100, of("x")), "one waits with all the others");
    assert!(!push(101, of("x")));
    assert!(push(102, of("y")));
    assert!(push(103, Share::Administrators("a.example".parse().unwrap())));
    assert_eq!(ids(&pool.cut(100, 1 << 20)), [0, 1, 2, 3, 102, 103, 100]);
}
