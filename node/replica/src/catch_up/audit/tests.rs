use super::*;

const WALK_MS: u64 = 60_000;

/// The run that is asked for.
fn asked(audit: &mut Audit, certified: u64, now_ms: u64) -> Option<(u64, u64)> {
    let mut out = Vec::new();
    audit.tick(Height(certified), (now_ms, WALK_MS), &mut out);
    out.into_iter()
        .map(|output| match output {
            Output::Audit(run) => (run.first.0, run.last.0),
            other => panic!("{other:?}"),
        })
        .next()
}

/// A run was looked at up to a block.
fn answered(audit: &mut Audit, (first, upto): (u64, u64), bytes: u64, now_ms: u64) {
    audit.audited(Run { first: Height(first), last: Height(upto) }, (Height(upto), bytes), now_ms);
}

#[test]
fn a_block_of_which_something_was_missed_is_looked_at_next() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 5, 0), Some((1, 5)));
    audit.want(Height(4));
    answered(&mut audit, (1, 1), 1_000 * BYTES_PER_MS, 1);
    assert_eq!(asked(&mut audit, 5, 2), Some((4, 4)));
    answered(&mut audit, (4, 4), 0, 3);
    assert_eq!((asked(&mut audit, 5, 3), asked(&mut audit, 5, 1_000)), (None, Some((2, 5))));
    answered(&mut audit, (2, 2), 0, 1_001);
    audit.want(Height(9));
    assert_eq!(asked(&mut audit, 5, 1_002), Some((3, 5)), "there is no such block");
}

#[test]
fn runs_are_bounded_and_looked_at_one_by_one_no_faster_than_allowed_and_again_later() {
    let mut audit = Audit::default();
    let end = RUN_BLOCKS + 2;
    assert_eq!(asked(&mut audit, 0, 0), None);
    assert_eq!((asked(&mut audit, end, 10), asked(&mut audit, end, 20)), (Some((1, RUN_BLOCKS)), None));
    answered(&mut audit, (1, RUN_BLOCKS), 300 * BYTES_PER_MS, 30);
    assert_eq!((asked(&mut audit, end, 299), asked(&mut audit, end, 300)), (None, Some((RUN_BLOCKS + 1, end))));
    answered(&mut audit, (RUN_BLOCKS + 1, end), 0, 340);
    assert_eq!((asked(&mut audit, end + 1, 340), asked(&mut audit, end + 1, 9 + WALK_MS)), (None, None));
    assert_eq!(asked(&mut audit, end + 1, 10 + WALK_MS), Some((1, RUN_BLOCKS)));
}

/// Two blocks are added at each look, at one.
#[test]
fn a_ledger_that_grows_faster_than_the_walk_does_not_keep_it_from_beginning_again() {
    let mut audit = Audit::default();
    let looked: Vec<u64> = (0..9)
        .filter_map(|turn| {
            let now_ms = turn * WALK_MS / 3;
            let (first, _) = asked(&mut audit, 4 + 2 * turn, now_ms)?;
            answered(&mut audit, (first, first), 0, now_ms);
            Some(first)
        })
        .collect();
    assert_eq!(looked, [1, 2, 3, 4, 1, 2, 3, 4, 5]);
}

/// It is no block of the walk, which goes on where it stood.
#[test]
fn what_was_missed_between_two_walks_is_looked_at_and_ends_none() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 1, 0), Some((1, 1)));
    answered(&mut audit, (1, 1), 0, 1);
    audit.want(Height(2));
    assert_eq!(asked(&mut audit, 3, 2), Some((2, 2)));
    answered(&mut audit, (2, 2), 0, 3);
    assert_eq!(asked(&mut audit, 3, WALK_MS), Some((1, 3)));
    answered(&mut audit, (1, 1), 0, WALK_MS);
    assert_eq!(asked(&mut audit, 3, WALK_MS), Some((2, 3)));
}

/// What a walk over blocks of one size takes, at a tick every 50 ms, in seconds for each million.
#[test]
fn a_walk_takes_no_longer_than_is_said() {
    let seconds = |bytes: u64| {
        let (mut audit, mut now_ms) = (Audit::default(), 0);
        let blocks = 100_000;
        while let Some((first, last)) = asked(&mut audit, blocks, now_ms) {
            let upto = last.min(first + RUN_BYTES.div_ceil(bytes) - 1);
            answered(&mut audit, (first, upto), (upto - first + 1) * bytes, now_ms);
            if upto == blocks {
                break;
            }
            while now_ms < audit.resume_ms {
                now_ms += 50;
            }
        }
        assert_eq!(audit.done, Height(blocks));
        now_ms * 1_000_000 / blocks / 1_000
    };
    // A hundred million in fourteen hours; a million of a MiB, a terabyte, in three days.
    assert!((400..=504).contains(&seconds(BLOCK_BYTES)), "{}", seconds(BLOCK_BYTES));
    assert!(seconds(1_024 * 1_024) <= 3 * 24 * 3_600, "{}", seconds(1_024 * 1_024));
}
