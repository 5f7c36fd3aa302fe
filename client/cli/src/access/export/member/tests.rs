#![allow(clippy::unwrap_used)]

use consilium_client::access_log::{AccessEvent, Decision};
use consilium_proto::ids::{LedgerId, PatientPseudonym, RecordId, TimeMs, TransactionId};
use consilium_proto::pb::{AccessGround, AccessKind, PurposeOfUse};
use consilium_proto::transaction::VersionRef;

use super::*;
use crate::access::tests::header;
use crate::json;

const NOW: TimeMs = TimeMs(2_000);
const STYLE: AuditStyle = AuditStyle { ledger: LedgerId::from_bytes([4; 32]), names: false };

/// A read of two records.
fn access(n: u8) -> ProvenDecision {
    let records = (1..=2).map(|record| VersionRef { record: RecordId([record; 16]), version: 1 }).collect();
    let event = AccessEvent {
        sequence: 0,
        transaction_id: TransactionId::from_bytes([n; 32]),
        reader: "spiffe://st-mary.example/clinician/c-1".parse().unwrap(),
        unit: None,
        patient: PatientPseudonym([n; 16]),
        purpose: PurposeOfUse::Treat,
        kind: AccessKind::Read,
        decisions: vec![Decision { ground: AccessGround::Custodian, consent: None, records }],
        emergency: None,
        acting: None,
        query: None,
        project: None,
        policy_version: 1,
        time: TimeMs(1_000),
        height: Height(3),
        disclosed: None,
        sealed_until: None,
        change: None,
        late: None,
    };
    ProvenDecision { event, unmatched: false, header: header() }
}

fn mark(after: u64) -> Mark {
    let (ledger, member) = (STYLE.ledger.to_string(), "st-mary.example".to_owned());
    Mark {
        ledger,
        member,
        names: false,
        with_sealed: false,
        after,
        up_to: after,
        bytes: 0,
        events: 0,
        resources: 0,
        sealed: 0,
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_was_interrupted_goes_on_where_it_was_marked_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, path) = (folder.path().join("whole"), folder.path().join("audit.ndjson"));
    let mut out = MarkedFile::open(&whole, mark(2)).unwrap();
    for height in 3..=2_500 {
        let found: Vec<_> = (height % 500 == 0).then(|| access((height / 500) as u8)).into_iter().collect();
        out.block(Height(height), &found, (STYLE, NOW)).unwrap();
    }
    let done = out.finish().unwrap();
    assert_eq!((done.up_to, done.events, done.resources, lines(&whole).len()), (2_500, 5, 10, 10));
    assert!(!mark_path(&whole).exists());

    // Interrupted in block 1,600: what was written behind block 1,002 is written again.
    let mut out = MarkedFile::open(&path, mark(2)).unwrap();
    for height in 3..=1_600 {
        let found: Vec<_> = (height % 500 == 0).then(|| access((height / 500) as u8)).into_iter().collect();
        out.block(Height(height), &found, (STYLE, NOW)).unwrap();
    }
    out.out.write_all(b"{\"half a li").unwrap();
    drop(out);
    let mut out = MarkedFile::open(&path, mark(2)).unwrap();
    assert_eq!((out.mark.up_to, out.mark.events), (1_002, 2));
    for height in 1_003..=2_500 {
        let found: Vec<_> = (height % 500 == 0).then(|| access((height / 500) as u8)).into_iter().collect();
        out.block(Height(height), &found, (STYLE, NOW)).unwrap();
    }
    assert_eq!(out.finish().unwrap(), done);
    assert_eq!(lines(&path), lines(&whole));
}

#[test]
fn what_is_kept_from_a_patient_is_left_out_and_counted_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = |n, until| {
        let decision = access(n);
        let event = AccessEvent { sealed_until: Some(TimeMs(until)), ..decision.event };
        ProvenDecision { event, ..decision }
    };
    let decisions = [access(1), sealed(0x5e, NOW.0 + 1), sealed(3, NOW.0)];
    let written = |name: &str, with_sealed| {
        let mut out = MarkedFile::open(&folder.path().join(name), Mark { with_sealed, ..mark(0) }).unwrap();
        out.block(Height(3), &decisions, (STYLE, NOW)).unwrap();
        let done = out.finish().unwrap();
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        (done.events, done.sealed, text.contains(&"5e".repeat(16)))
    };
    assert_eq!(written("patients", false), (2, 1, false));
    assert_eq!(written("own", true), (3, 0, true));
}

#[test]
fn an_existing_file_and_one_that_was_begun_otherwise_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ndjson");
    drop(MarkedFile::open(&path, mark(0)).unwrap());
    assert!(MarkedFile::open(&path, mark(5)).is_err());
    assert!(MarkedFile::open(&path, Mark { names: true, ..mark(0) }).is_err());
    assert!(MarkedFile::open(&path, Mark { with_sealed: true, ..mark(0) }).is_err());
    assert!(MarkedFile::open(&path, Mark { member: "lakeside.example".into(), ..mark(0) }).is_err());
    MarkedFile::open(&path, mark(0)).unwrap().finish().unwrap();
    assert!(MarkedFile::open(&path, mark(0)).is_err(), "it is whole");
}

#[test]
fn scripts_get_what_was_written_and_where_to_go_on() {
    let view = MemberExportView {
        file: "audit.ndjson".into(),
        member: "st-mary.example".into(),
        after: 2,
        up_to: 40,
        events: 3,
        resources: 5,
        sealed: 1,
    };
    json::snapshot::check("access-export-member", &view);
    let text = view.text();
    assert!(text.contains("5 AuditEvents of 3 accesses by people of st-mary.example in the blocks 3 to 40"), "{text}");
    assert!(text.ends_with("--after 40"), "{text}");
}
