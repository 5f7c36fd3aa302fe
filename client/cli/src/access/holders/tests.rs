#![allow(clippy::unwrap_used)]
use consilium_client::access_log::{AccessLog, KeptLog};
use consilium_client::record_lists::{RecordEntry, RecordList, RecordLists};
use consilium_client::records::AddedWrap;
use consilium_proto::ids::{KeyId, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::pb::{AccessGround, AccessKind, Confidentiality};
use consilium_proto::transaction::VersionRef;

use super::*;
use crate::access::tests::{event, header, log, sealed};
use crate::json;

#[test]
fn holders_are_told_by_name_with_deputies_and_keys_that_were_replaced() {
    let key = |n: u8| KeyId::from_bytes([n; 32]);
    let owner = |identity: &str, keeps, replaced| Some(Owner { identity: identity.parse().unwrap(), keeps, replaced });
    let known = Keys(std::collections::BTreeMap::from([
        (key(1), owner("spiffe://a.example/service/custodian", true, false)),
        (key(2), None),
        (key(3), owner("spiffe://b.example/clinician/c-1", false, true)),
        (key(4), owner("spiffe://b.example/service/custodian", true, false)),
    ]));
    let wraps = [1u8, 2].map(|n| consilium_client::pb::KeyWrapRef {
        recipient_key_id: vec![n; 32].into(),
        wrap_sha256: vec![0; 32].into(),
    });
    let version = consilium_client::pb::RecordVersion {
        record_id: vec![6; 16].into(),
        version: 1,
        kind: "Observation".into(),
        author: "spiffe://a.example/service/ehr".into(),
        wraps: wraps.to_vec(),
        ..Default::default()
    };
    let added = |version, n| AddedWrap { version, key: key(n) };
    let wraps = Wraps::of(&version, &[added(1, 3), added(1, 1), added(1, 4), added(2, 9)]).unwrap();
    let shown = VersionView::new(&version, &wraps, &known).unwrap();
    let view = HoldersView { patient: "07".repeat(16), versions: vec![shown] };
    json::snapshot::check("access-holders", &view);
    let text = view.text();
    let line = |who: &str, how: &str| text.lines().any(|line| line.contains(who) && line.ends_with(how));
    assert!(line("a.example/service/custodian", "custodian") && text.contains("unknown: key 02020202"), "{text}");
    assert!(line("clinician/c-1", "added by the custodian; a key that was replaced since"), "{text}");
    assert!(line("b.example/service/custodian", "custodian of another member"), "{text}");
    assert_eq!(text.lines().count(), 5, "what was written is not told again as added, nor another version's: {text}");
}

fn lists() -> RecordLists {
    let entry = |n: u8| RecordEntry { record: RecordId([n; 16]), version: 1, sequence: n.into(), time: TimeMs(1_000) };
    let list = RecordList {
        kind: "Observation".to_owned(),
        confidentiality: Confidentiality::Normal,
        from: 0,
        entries: [6, 8, 9].map(entry).into(),
        log: KeptLog::nothing(),
    };
    RecordLists { patient: PatientPseudonym([7; 16]), lists: vec![list], header: header() }
}

#[test]
fn patients_are_told_who_may_hold_a_key_and_persons_only_on_request() {
    let read = |sequence, reader: &str, (record, version), ground| {
        let mut event = event(sequence, ground);
        event.reader = reader.parse().unwrap();
        (event.unit, event.time) = (None, TimeMs(1_000 * sequence));
        event.decisions[0].records = vec![VersionRef { record: RecordId([record; 16]), version }];
        event
    };
    let (c1, c2, own) =
        ("spiffe://b.example/clinician/c-1", "spiffe://b.example/clinician/c-2", "spiffe://a.example/service/ehr");
    let mut query = read(5, own, (6, 1), AccessGround::Consent);
    query.kind = AccessKind::Query;
    let mut with_unit = read(6, c1, (6, 1), AccessGround::Emergency);
    with_unit.unit = Some("W-07".parse().unwrap());
    let events = vec![
        read(1, c1, (6, 2), AccessGround::Consent),
        read(2, c2, (6, 1), AccessGround::Consent),
        read(3, own, (8, 1), AccessGround::Author),
        read(4, own, (6, 1), AccessGround::NoConsent),
        query,
        with_unit,
    ];
    let log = AccessLog { events, sealed: vec![sealed()], ..log(7, &[]).0 };
    let view = |names| of_patient::PatientHoldersView::new(&lists(), &log, names);
    json::snapshot::check("access-holders-patient", &view(false));
    let text = view(false).text();
    let lines = |text: &str, what: &str| text.lines().filter(|line| line.contains(what)).count();
    assert_eq!((lines(&text, "0606"), lines(&text, "0808"), lines(&text, "0909")), (2, 1, 0), "{text}");
    assert!(
        text.contains(" 2        2 ") && !text.contains("c-1") && text.contains("1 entry is kept from you"),
        "{text}"
    );
    let named = view(true).text();
    assert!(lines(&named, "clinician c-1") == 2 && lines(&named, "clinician c-2") == 1, "{named}");
}
