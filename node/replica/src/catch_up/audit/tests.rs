use super::*;

const WALK_MS: u64 = 60_000;

fn asked(audit: &mut Audit, certified: u64, now_ms: u64) -> Option<u64> {
    let mut out = Vec::new();
    audit.tick(Height(certified), (now_ms, WALK_MS), &mut out);
    out.into_iter()
        .map(|output| match output {
            Output::Audit(height) => height.0,
            other => panic!("{other:?}"),
        })
        .next()
}

fn answered(audit: &mut Audit, height: u64, bytes: u64, now_ms: u64) {
    audit.audited(Height(height), bytes, now_ms);
}

#[test]
fn a_block_of_which_something_was_missed_is_looked_at_next() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 5, 0), Some(1));
    audit.want(Height(4));
    answered(&mut audit, 1, 1_000 * BYTES_PER_MS, 1);
    assert_eq!(asked(&mut audit, 5, 2), Some(4));
    answered(&mut audit, 4, 0, 3);
    assert_eq!((asked(&mut audit, 5, 3), asked(&mut audit, 5, 4)), (Some(2), None));
    answered(&mut audit, 2, 0, 5);
    audit.want(Height(9));
    assert_eq!(asked(&mut audit, 5, 6), Some(3), "there is no such block");
}

#[test]
fn blocks_are_looked_at_one_by_one_no_faster_than_allowed_and_again_later() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 0, 0), None);
    assert_eq!((asked(&mut audit, 2, 10), asked(&mut audit, 2, 20)), (Some(1), None));
    answered(&mut audit, 1, 100 * BYTES_PER_MS, 30);
    assert_eq!((asked(&mut audit, 2, 129), asked(&mut audit, 2, 130)), (None, Some(2)));
    answered(&mut audit, 2, 0, 140);
    assert_eq!((asked(&mut audit, 3, 140), asked(&mut audit, 3, 9 + WALK_MS)), (None, None));
    assert_eq!(asked(&mut audit, 3, 10 + WALK_MS), Some(1));
}

/// A block is added at each look, and more are than are looked at.
#[test]
fn a_ledger_that_grows_faster_than_the_walk_does_not_keep_it_from_beginning_again() {
    let mut audit = Audit::default();
    let looked: Vec<u64> = (0..9)
        .filter_map(|turn| {
            let now_ms = turn * WALK_MS / 3;
            let height = asked(&mut audit, 4 + 2 * turn, now_ms)?;
            answered(&mut audit, height, 0, now_ms);
            Some(height)
        })
        .collect();
    assert_eq!(looked, [1, 2, 3, 4, 1, 2, 3, 4, 5]);
}

/// It is no block of the walk, which goes on where it stood.
#[test]
fn what_was_missed_between_two_walks_is_looked_at_and_ends_none() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 1, 0), Some(1));
    answered(&mut audit, 1, 0, 1);
    audit.want(Height(2));
    assert_eq!(asked(&mut audit, 3, 2), Some(2));
    answered(&mut audit, 2, 0, 3);
    assert_eq!(asked(&mut audit, 3, WALK_MS), Some(1));
    answered(&mut audit, 1, 0, WALK_MS);
    assert_eq!(asked(&mut audit, 3, WALK_MS), Some(2));
}
