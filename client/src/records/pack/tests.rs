// A list of one range is what is meant.
#![allow(clippy::single_range_in_vec_init)]
use super::*;
use consilium_proto::parameters::recommended_parameters;
use proptest::prelude::*;

const LIMITS: PackLimits = PackLimits { actions_max: 3, body_bytes_max: 100, bytes_max: 1_000 };

fn size(body: usize, total: usize) -> Size {
    Size { body, total }
}

#[test]
fn each_limit_cuts_exactly() {
    assert!(pack(&[], &LIMITS).is_empty());
    assert_eq!(pack(&[size(1, 1); 7], &LIMITS), [0..3, 3..6, 6..7]);
    assert_eq!(pack(&[size(50, 50), size(50, 50), size(1, 1)], &LIMITS), [0..2, 2..3]);
    assert_eq!(pack(&[size(50, 50), size(51, 51)], &LIMITS), [0..1, 1..2]);
    assert_eq!(pack(&[size(1, 500), size(1, 500)], &LIMITS), [0..2]);
    assert_eq!(pack(&[size(1, 500), size(1, 501)], &LIMITS), [0..1, 1..2]);
    assert_eq!(pack(&[size(1, 1), size(1, 5_000), size(1, 1)], &LIMITS), [0..1, 1..2, 2..3]);
}

#[test]
fn a_small_block_lowers_the_limit() {
    let recommended = Parameters::try_from(&recommended_parameters()).expect("they are within bounds");
    let parameters = |block_bytes_max| Parameters { block_bytes_max, ..recommended };
    assert_eq!(PackLimits::of(&parameters(64 * 1024)).bytes_max, 60 * 1024);
    assert_eq!(PackLimits::of(&parameters(16 * 1024 * 1024)).bytes_max, 1020 * 1024);
}

proptest! {
    #[test]
    fn ranges_cover_in_order_fit_and_are_maximal(items in prop::collection::vec((0usize..60, 0usize..600), 0..40)) {
        let sizes: Vec<Size> = items.iter().map(|(b, t)| size(*b, *t)).collect();
        let ranges = pack(&sizes, &LIMITS);
        let sum = |r: &Range<usize>| sizes[r.clone()].iter().fold(Size::default(), |a, s| size(a.body + s.body, a.total + s.total));
        let covered: Vec<usize> = ranges.iter().cloned().flatten().collect();
        prop_assert_eq!(covered, (0..sizes.len()).collect::<Vec<_>>());
        for range in &ranges {
            prop_assert!(LIMITS.fits(range.len(), sum(range)));
            if range.end < sizes.len() {
                let longer = range.start..range.end + 1;
                prop_assert!(!LIMITS.fits(longer.len(), sum(&longer)));
            }
        }
    }
}
