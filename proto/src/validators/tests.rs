#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

#[test]
fn boundaries_of_two_thirds() {
    let q = Quorum::new(2, 3).unwrap();
    assert!(!q.reached(2, 3));
    assert!(q.reached(3, 3));
    assert!(!q.reached(6, 9));
    assert!(q.reached(7, 9));
    assert!(!q.reached(0, 0));
}

#[test]
fn quorum_below_half_is_refused() {
    assert!(Quorum::new(667, 1_000).is_ok() && Quorum::new(3, 4).is_ok());
    for (numerator, denominator) in [(666, 1_000), (1, 2), (3, 5), (1, 3)] {
        assert!(Quorum::new(numerator, denominator).is_err(), "{numerator}/{denominator}");
    }
    assert!(Quorum::new(3, 3).is_err());
    assert!(Quorum::new(0, 0).is_err());
}

proptest! {
    /// Two quorums of one set always share more than a third of the power.
    #[test]
    fn quorums_intersect(total in 1u128..=(1 << 60), a in 0u128..=1_000, b in 0u128..=1_000) {
        let q = Quorum::new(2, 3).unwrap();
        // Powers between two thirds and all of it.
        let power = |share: u128| (total * 2 + total * share / 1_000) / 3 + 1;
        let (a, b) = (power(a).min(total), power(b).min(total));
        prop_assert_eq!(q.reached(a, total), a * 3 > total * 2);
        if q.reached(a, total) && q.reached(b, total) {
            prop_assert!((a + b - total) * 3 > total);
        }
    }
}
