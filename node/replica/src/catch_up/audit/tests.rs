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
fn blocks_are_looked_at_one_by_one_no_faster_than_allowed_and_again_later() {
    let mut audit = Audit::default();
    assert_eq!(asked(&mut audit, 0, 0), None);
    assert_eq!((asked(&mut audit, 2, 10), asked(&mut audit, 2, 20)), (Some(1), None));
    answered(&mut audit, 1, 100 * BYTES_PER_MS, 30);
    assert_eq!((asked(&mut audit, 2, 129), asked(&mut audit, 2, 130)), (None, Some(2)));
    answered(&mut audit, 2, 0, 140);
    assert_eq!((asked(&mut audit, 2, 140), asked(&mut audit, 3, 150)), (None, Some(3)));
    answered(&mut audit, 3, 0, 160);
    assert_eq!(asked(&mut audit, 3, WALK_MS), None);
    assert_eq!((asked(&mut audit, 3, WALK_MS + 1), asked(&mut audit, 3, WALK_MS + 2)), (None, Some(1)));
}
