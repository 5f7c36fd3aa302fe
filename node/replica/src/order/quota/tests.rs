#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixture::{transaction, withdrawal};

/// One in a second, and three at once.
fn quotas() -> Quotas {
    Quotas::new(AccessQuota { per_minute: NonZeroU32::new(60).unwrap(), burst: NonZeroU32::new(3).unwrap() })
}

fn who(name: &str) -> SpiffeId {
    format!("spiffe://a.example/clinician/{name}").parse().unwrap()
}

#[test]
fn a_burst_is_taken_and_then_as_many_as_time_brings() {
    let (mut quotas, x) = (quotas(), who("x"));
    for _ in 0..3 {
        assert_eq!(quotas.take(&x, Count::Ordinary, 5_000), Ok(()));
    }
    assert_eq!(quotas.take(&x, Count::Ordinary, 5_000), Err(1_000));
    assert_eq!(quotas.take(&x, Count::Ordinary, 5_400), Err(600), "what was refused was not counted");
    assert_eq!(quotas.take(&x, Count::Ordinary, 6_000), Ok(()));
    assert_eq!(quotas.take(&x, Count::Ordinary, 6_000), Err(1_000));
    for _ in 0..3 {
        assert_eq!(quotas.take(&x, Count::Ordinary, 60_000), Ok(()), "no more is saved up than a burst");
    }
    assert_eq!(quotas.take(&x, Count::Ordinary, 60_000), Err(1_000));
}

#[test]
fn emergencies_and_others_have_their_own() {
    let (mut quotas, x) = (quotas(), who("x"));
    while quotas.take(&x, Count::Ordinary, 0).is_ok() {}
    assert_eq!(quotas.take(&x, Count::Emergency, 0), Ok(()));
    assert_eq!(quotas.take(&who("y"), Count::Ordinary, 0), Ok(()));
}

#[test]
fn who_has_not_asked_for_long_is_forgotten() {
    let mut quotas = quotas();
    for number in 0..SWEEP_AT {
        assert_eq!(quotas.take(&who(&format!("n{number}")), Count::Ordinary, 0), Ok(()));
    }
    assert_eq!(quotas.take(&who("x"), Count::Ordinary, 999), Ok(()));
    assert_eq!(quotas.used.len(), SWEEP_AT + 1, "nobody's time was over");
    for number in 0..SWEEP_AT {
        quotas.take(&who(&format!("m{number}")), Count::Ordinary, 9_000).unwrap();
    }
    assert!(quotas.used.len() <= SWEEP_AT + 1);
}

#[test]
fn only_requests_to_read_and_emergencies_are_counted() {
    assert_eq!(Count::of(&transaction(1, 10).transaction), None);
    assert_eq!(Count::of(&withdrawal(1, 10).transaction), None);
}
