#![allow(clippy::unwrap_used)]
use clap::Parser;
use consilium_client::access_log::{AccessEvent, Decision};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{ConsentId, Height, TransactionId};
use consilium_proto::pb::{AccessGround, PurposeOfUse};
use consilium_proto::transaction::VersionRef;

use super::*;
use crate::access::tests::header;
use crate::json;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: AccountingArgs,
}

fn args(more: &[&str]) -> AccountingArgs {
    let patient = "07".repeat(16);
    Line::parse_from(["accounting", &patient].iter().chain(more)).args
}

fn event(sequence: u64, reader: &str, purpose: PurposeOfUse, records: &[u8]) -> AccessEvent {
    let records: Vec<_> = records.iter().map(|n| VersionRef { record: RecordId([*n; 16]), version: 1 }).collect();
    let kind = if records.is_empty() { AccessKind::Query } else { AccessKind::Read };
    AccessEvent {
        sequence,
        transaction_id: TransactionId::from_bytes([5; 32]),
        reader: reader.parse().unwrap(),
        unit: (sequence < 2).then(|| "R-2".parse().unwrap()),
        patient: PatientPseudonym([7; 16]),
        purpose,
        kind,
        decisions: vec![Decision { ground: AccessGround::Consent, consent: Some((ConsentId([1; 16]), 2)), records }],
        emergency: None,
        acting: None,
        query: None,
        project: None,
        policy_version: 1,
        time: TimeMs(1_000 * sequence),
        height: Height(3),
        disclosed: None,
        sealed_until: None,
        change: None,
        late: None,
    }
}

/// Records 1 and 2 are of the member that gives the account, 3 is of another.
fn view(more: &[&str]) -> AccountingView {
    let foreign = "spiffe://lakeside.example/researcher/r-1";
    let events = vec![
        event(0, foreign, PurposeOfUse::Hresch, &[1, 2, 3]),
        event(1, foreign, PurposeOfUse::Hresch, &[3]),
        event(2, foreign, PurposeOfUse::Hresch, &[]),
        event(3, "spiffe://lakeside.example/clinician/c-1", PurposeOfUse::Treat, &[1]),
        event(4, "spiffe://st-mary.example/service/ehr", PurposeOfUse::Hresch, &[1]),
    ];
    let root = Hash::from_bytes([10; 32]);
    let (patient, sealed, opened) = (PatientPseudonym([7; 16]), Vec::new(), Vec::new());
    let log =
        AccessLog { patient, from: 0, count: 5, events, sealed, seals: Vec::new(), opened, root, header: header() };
    let state = |member: &str, kind: &str| pb::RecordState {
        member: member.into(),
        kind: kind.into(),
        ..pb::RecordState::default()
    };
    let known = Known::from([
        (RecordId([1; 16]), state("st-mary.example", "Observation")),
        (RecordId([2; 16]), state("st-mary.example", "Observation")),
        (RecordId([3; 16]), state("hillview.example", "Condition")),
    ]);
    let member: MemberId = "st-mary.example".parse().unwrap();
    let all: Vec<_> = disclosures(&log.events, &member, TimeMs(0), TimeMs(9_001)).collect();
    AccountingView::new(&args(more), &log, (&member, 0, 9_001), &all, &known)
}

#[test]
fn scripts_get_what_must_be_told_and_how_much_need_not() {
    json::snapshot::check("access-accounting", &view(&[]));
}

#[test]
fn people_read_the_date_who_received_what_and_why() {
    let text = view(&["--utc-offset", "+01:00"]).text();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("NO  DATE (UTC+01:00)"), "{text}");
    let first = lines.next().unwrap();
    let consent = "01".repeat(16);
    assert!(first.contains("1970-01-01T01:00:00+01:00  lakeside.example (researcher, unit R-2)"), "{text}");
    // Of record 3 its own hospital gives account.
    assert!(first.contains(&format!("2 Observation, by consent {consent} ")) && first.ends_with(" research"), "{text}");
    assert!(lines.next().unwrap().contains("a list of records"), "{text}");
    assert!(text.contains("1 for treatment, payment and operations, 1 by own staff, 0 to the patient"), "{text}");
}

#[test]
fn what_the_law_leaves_out_is_shown_on_request_with_its_reason() {
    let text = view(&["--all"]).text();
    assert!(text.contains("treatment (left out: treatment, payment or operations)"), "{text}");
    assert!(text.contains("research (left out: own staff)"), "{text}");
    let view = view(&["--all"]);
    assert_eq!((view.entries.len(), view.left_out.operations), (4, 1));
}

#[test]
fn the_page_is_escaped_and_says_what_it_was_made_from() {
    let mut view = view(&[]);
    view.entries[0].description = "<script>alert(1)</script>".into();
    let page = view.page();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    assert!(page.contains("(5 entries), proven to be whole") && page.contains(&"0a".repeat(32)), "{page}");
}
