#![allow(clippy::unwrap_used)]
use consilium_client::access_log::{AccessEvent, AccessLog, Change, Decision, DisclosedTo, SealedEntry};
use consilium_client::receipts::ReceiptReport;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{
    ConsentId, DisclosureId, EmergencyId, Epoch, HeaderHash, Height, LedgerId, NodeId, PatientPseudonym, RecordId,
    TimeMs,
};
use consilium_proto::pb::{AccessGround, AccessKind, DisclosureBasis, DisclosureRecipient, PurposeOfUse};
use consilium_proto::transaction::VersionRef;

use super::log::{LogView, SealedView};
use super::*;
use crate::json;
use crate::text::{Zone, time_ms};

pub(crate) fn event(sequence: u64, ground: AccessGround) -> AccessEvent {
    let consent = (ground == AccessGround::Consent).then_some((ConsentId([1; 16]), 2));
    let records = vec![VersionRef { record: RecordId([6; 16]), version: 1 }];
    AccessEvent {
        sequence,
        transaction_id: TransactionId::from_bytes([5; 32]),
        reader: "spiffe://b.example/clinician/c-4711".parse().unwrap(),
        unit: (ground == AccessGround::Consent).then(|| "W-07".parse().unwrap()),
        patient: PatientPseudonym([7; 16]),
        purpose: PurposeOfUse::Coc,
        kind: AccessKind::Read,
        decisions: vec![Decision { ground, consent, records }],
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
    }
}

fn receipt() -> ReceiptReport {
    ReceiptReport {
        ledger_id: "04".repeat(32),
        transaction_id: "05".repeat(32),
        author: Some("0d".repeat(32)),
        height: 3,
        outcome: "OUTCOME_APPLIED",
        by_time_ms: 2_000,
        certified_height: 9,
        signers: Vec::new(),
        signed_power: 20,
        total_power: 30,
    }
}

pub(super) fn view(names: bool) -> LogView {
    let events = [event(4, AccessGround::Consent), event(5, AccessGround::NoConsent)];
    LogView {
        patient: "07".repeat(16),
        ledger: "04".repeat(32),
        from: 4,
        count: 6,
        root: "0a".repeat(32),
        keep: format!("6:{}", "0a".repeat(32)),
        at_height: 9,
        at: time_ms(2_000),
        events: events.iter().map(|event| EventView::new(event, names)).collect(),
        sealed: vec![SealedView::new(&sealed(), Zone::default())],
        opened: vec![EventView::new(&disclosed(), names)],
        at_ms: 2_000,
        zone: Zone::default(),
        proof_file: None,
        petitions: Vec::new(),
    }
}

pub(super) fn sealed() -> SealedEntry {
    SealedEntry { sequence: 3, leaf: Hash::from_bytes([11; 32]), until: TimeMs(86_400_000) }
}

/// To a court, sealed until it was looked at.
fn disclosed() -> AccessEvent {
    let disclosed = DisclosedTo {
        id: DisclosureId([9; 16]),
        basis: DisclosureBasis::CourtOrder,
        recipient: DisclosureRecipient::Court,
        confirmed_by: "spiffe://b.example/auditor/privacy".parse().unwrap(),
    };
    let (kind, purpose) = (AccessKind::Disclosure, PurposeOfUse::Hlegal);
    let (disclosed, sealed_until) = (Some(disclosed), Some(TimeMs(1_500)));
    AccessEvent { kind, purpose, disclosed, sealed_until, ..event(2, AccessGround::Custodian) }
}

#[test]
fn what_is_sealed_is_said_and_what_was_is_shown() {
    let text = view(false).text(false);
    assert!(text.contains("entry 3 is sealed until 1970-01-02T00:00:00Z: it counts"), "{text}");
    assert!(text.contains("these were sealed, and are open now:"), "{text}");
    assert!(text.contains("handed to a court: an order of a court"), "{text}");
    let page = html::page(&view(false), false);
    assert!(page.contains("<p>entry 3 is sealed until 1970-01-02T00:00:00Z"), "{page}");
    assert!(page.contains("Sealed before, open now") && page.contains("handed to a court"), "{page}");
}

/// As an auditor gets it: the last of three is kept from the patient beyond the header's time, and
/// the seal of the second is over.
fn with_seals() -> AccessLog {
    let (mut log, _, _) = log(7, &[1, 2, 3]);
    let now = log.header.time;
    for (place, until) in [(1, now), (2, TimeMs(now.0 + 1))] {
        log.events[place].sealed_until = Some(until);
        log.events[place].transaction_id = TransactionId::from_bytes([0x5e; 32]);
        log.seals.push(SealedEntry { sequence: place as u64, leaf: Hash::from_bytes([place as u8; 32]), until });
    }
    log
}

#[test]
fn what_the_patient_must_not_see_yet_is_marked_for_auditors() {
    let log = with_seals();
    let until = time_ms(log.header.time.0 + 1);
    let text = LogView::new(&log, "04".repeat(32), false, Zone::default()).text(false);
    assert!(text.contains(&format!("(kept from the patient until {until})")), "{text}");
    let linked =
        linked::LinkedView::new("04".repeat(32), &[(log, "07".repeat(16), Vec::new())], false, Zone::default());
    assert!(linked.text(false).contains(&format!("(kept from the patient until {until})")));
}

#[test]
fn a_page_says_of_what_is_sealed_only_until_when_and_what_to_keep_has_it() {
    let log = with_seals().without_sealed();
    assert_eq!((log.count, log.events.len()), (3, 2));
    let kept = log.kept_access();
    assert_eq!(
        kept.sealed.iter().map(|seal| (seal.sequence, seal.leaf)).collect::<Vec<_>>(),
        [(2, Hash::from_bytes([2; 32]))]
    );
    let until = time_ms(log.header.time.0 + 1);
    let page = html::page(&LogView::new(&log, "04".repeat(32), false, Zone::default()), false);
    assert!(page.contains(&format!("entry 2 is sealed until {until}")), "{page}");
    assert!(!page.contains("<td>2</td>"), "neither in the list nor among the numbers of requests: {page}");
    assert!(page.contains("<td>1</td>"), "its seal is over");
    let whole = html::page(&LogView::new(&with_seals(), "04".repeat(32), false, Zone::default()), false);
    assert!(whole.contains("<td>2</td>") && whole.contains("kept from the patient until"), "{whole}");
}

#[test]
fn scripts_get_accesses_with_names_only_where_asked_for() {
    json::snapshot::check("access-log", &view(false));
    let event = event(4, AccessGround::NotFound);
    let decided =
        DecidedView { unmatched: true, patient: "07".repeat(16), at_height: 9, event: EventView::new(&event, true) };
    json::snapshot::check("access-decision", &decided);
    assert!(decided.text().contains("a clinician c-4711 of b.example asked to read records"), "{}", decided.text());
    let receipt = ReceiptView { decision: decided, policy_sha256: Some("0c".repeat(32)), receipt: receipt() };
    json::snapshot::check("access-receipt", &receipt);
    let text = receipt.text();
    assert!(text.starts_with("verified\n") && text.contains("access policy 1, SHA-256 0c0c"), "{text}");
    let own = ReceiptView { policy_sha256: None, ..receipt }.text();
    assert!(own.contains("policy of the rules themselves") && own.contains("by 20 of 30 voting power"), "{own}");
}

#[test]
fn people_read_who_asked_what_for_and_what_was_decided() {
    let text = view(false).text(false);
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("NO  TIME (UTC)            HOSPITAL   ROLE"), "{text}");
    let first = lines.next().unwrap();
    assert!(first.contains("b.example  clinician  W-07  coordination of care  read records"), "{text}");
    assert!(first.ends_with("1 record permitted: a consent of the patient permits it"), "{text}");
    assert!(lines.next().unwrap().ends_with("1 record denied: no consent permits it"), "{text}");
    assert!(text.contains("The first 4 are those that you had kept."), "{text}");
    assert!(text.ends_with(&format!("--since 6:{}", "0a".repeat(32))), "{text}");
    assert!(!text.contains("c-4711") && view(true).text(true).contains("c-4711"));
}

#[test]
fn what_was_read_while_the_network_was_down_is_said_to_be_late() {
    let late = AccessEvent { late: Some(TimeMs(500)), ..event(1, AccessGround::Custodian) };
    let view = EventView::new(&late, false);
    assert!(view.line().contains("(entered LATE: read 1970-01-01T00:00:00"), "{}", view.line());
    assert!(view.cells(false).last().unwrap().contains("entered LATE"));
    assert!(view.late.is_some());
    // What is denied when it is entered may have been read before that was known.
    let late = AccessEvent { late: Some(TimeMs(500)), ..event(1, AccessGround::ConsentDenies) };
    assert!(EventView::new(&late, false).line().contains("when it may have been shown"));
}

#[test]
fn people_are_told_under_which_numbers_they_ask_about_an_entry() {
    let request = "05".repeat(32);
    let plain = LogView { opened: Vec::new(), ..view(false) };
    let text = plain.text(false);
    assert!(text.contains(&format!("numbers of the requests:\nNO  REQUEST\n4   {request}\n5   {request}\n")), "{text}");
    let page = html::page(&plain, false);
    assert!(page.contains(&format!("<tr><td>4</td><td>{request}</td></tr>")), "{page}");
    let declared = AccessEvent { emergency: Some(EmergencyId([14; 16])), ..event(4, AccessGround::Emergency) };
    let view = LogView { events: vec![EventView::new(&declared, false)], ..plain };
    let text = view.text(false);
    assert!(text.contains(&format!("4   {request}  {}\n", "0e".repeat(16))), "{text}");
    let page = html::page(&view, false);
    assert!(page.contains("<th scope=\"col\">Emergency</th>") && page.contains(&"0e".repeat(16)), "{page}");
    assert!(!LogView { events: Vec::new(), ..view }.text(false).contains("numbers of the requests"));
}

#[test]
fn a_list_that_was_asked_for_is_neither_permitted_nor_denied() {
    let mut asked = event(4, AccessGround::Each);
    (asked.kind, asked.decisions[0].records) = (AccessKind::Query, Vec::new());
    let view = LogView { events: vec![EventView::new(&asked, false)], opened: Vec::new(), ..view(false) };
    for shown in [view.text(false), html::page(&view, false), view.events[0].line()] {
        assert!(shown.contains("a list was asked for: it shows only what may be read, perhaps nothing"), "{shown}");
        assert!(!shown.contains("permitted: ") && !shown.contains("denied: "), "{shown}");
    }
    assert!(html::page(&view, false).contains("<tr class=\"listed\">"));
    assert!(view.events[0].permitted, "scripts are told that it was answered");
}

#[test]
fn the_page_is_whole_in_itself_and_nothing_in_it_is_obeyed() {
    let mut view = view(true);
    view.events[0].member = "<script>alert(1)</script>".into();
    view.events[1].name = Some("a\"b' & <i>\u{202e}".into());
    let page = html::page(&view, true);
    for forbidden in ["<script", "<i>", "http://", "https://", "src=", "href=", "url(", "@import", "\u{202e}"] {
        assert!(!page.contains(forbidden), "{forbidden}: {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("a&quot;b&#39; &amp; &lt;i&gt;\\u{202e}"), "{page}");
    assert!(!page.contains("What was asked about it"));
    view.petitions = vec![["1970".into(), "a.example: who was it?".into(), "<b>".into(), "OVERDUE".into()]];
    let page_with_petitions = html::page(&view, true);
    assert!(page_with_petitions.contains("<h2>What was asked about it</h2>\n<table>"));
    assert!(page_with_petitions.contains("<td>&lt;b&gt;</td><td>OVERDUE</td>") && !page_with_petitions.contains("<b>"));
    assert!(page.starts_with("<!DOCTYPE html>\n") && page.ends_with("</html>\n"));
    assert!(page.contains("<th scope=\"col\">Asked to</th>") && page.contains(&view.keep));
    assert_eq!(html::text("<&>\"'"), "&lt;&amp;&gt;&quot;&#39;");
}

#[test]
fn a_page_shows_no_names_unless_asked_for() {
    assert!(!html::page(&view(false), false).contains("c-4711"));
    assert!(html::page(&view(true), true).contains("<td>c-4711</td>"));
    let empty = LogView { events: Vec::new(), sealed: Vec::new(), opened: Vec::new(), from: 0, ..view(false) };
    assert!(html::page(&empty, false).contains("Nobody has asked."));
}

#[test]
fn several_records_are_counted_by_what_was_decided() {
    let mut event = event(0, AccessGround::Emergency);
    event.decisions[0].records.push(VersionRef { record: RecordId([8; 16]), version: 1 });
    event.decisions.push(Decision { ground: AccessGround::Restricted, consent: None, records: Vec::new() });
    let cells = EventView::new(&event, false).cells(false);
    assert_eq!(
        cells.last().unwrap(),
        "2 records permitted: in a declared emergency; denied: the record is restricted or erased"
    );
}

#[test]
fn times_are_shown_in_the_zone_that_was_asked_for_and_scripts_get_utc() {
    let zone: Zone = "+01:00".parse().unwrap();
    let events = view(false).events.into_iter().map(|event| event.shown_in(zone)).collect();
    let view = LogView { events, zone, ..view(false) };
    let (text, page) = (view.text(false), html::page(&view, false));
    assert!(text.starts_with("NO  TIME (UTC+01:00)") && text.contains("1970-01-01T01:00:01+01:00"), "{text}");
    assert!(page.contains("Times are in UTC+01:00.") && page.contains("<th scope=\"col\">Time (UTC+01:00)</th>"));
    json::snapshot::check("access-log", &LogView { ..view });
}

#[test]
fn a_phone_reads_off_the_page_what_it_can_hold_against_another_list() {
    let page = html::page(&view(false), false);
    let content = format!("CONSILIUM-LOG:1:{}:6:{}:9", "04".repeat(32), "0a".repeat(32));
    assert!(page.contains(&content) && page.contains("<svg viewBox="), "{page}");
    let drawn = qr::svg("CONSILIUM").unwrap();
    // 21 modules and a margin of 4; the dark ones begin with the corner of a finder.
    assert!(
        drawn.starts_with("<svg viewBox=\"0 0 29 29\"") && drawn.contains("<path d=\"M4 4h1v1h-1zM5 4h1v1h-1z"),
        "{drawn}"
    );
    assert_eq!(qr::svg(&"x".repeat(5_000)), None);
}

pub(super) fn log(patient: u8, heights: &[u64]) -> (AccessLog, String, Vec<String>) {
    let at = |(place, height): (usize, &u64)| AccessEvent {
        height: Height(*height),
        ..event(place as u64, AccessGround::Custodian)
    };
    let events: Vec<_> = heights.iter().enumerate().map(at).collect();
    let root = Hash::from_bytes([patient; 32]);
    let (id, sealed, seals, opened) = (PatientPseudonym([patient; 16]), Vec::new(), Vec::new(), Vec::new());
    let count = events.len() as u64;
    let log = AccessLog { patient: id, from: 0, count, events, sealed, seals, opened, root, header: header() };
    (log, format!("{patient:02x}").repeat(16), if patient == 7 { Vec::new() } else { vec!["a.example".into()] })
}

pub(super) fn header() -> Header {
    let hash = Hash::from_bytes([3; 32]);
    Header {
        ledger_id: LedgerId::from_bytes([4; 32]),
        height: Height(20),
        previous_hash: HeaderHash::from_bytes([3; 32]),
        time: TimeMs(9_000),
        epoch: Epoch(0),
        tree_size: 5,
        tree_root: hash,
        state_root: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        proposer: NodeId(1),
        log_hash: hash,
    }
}

#[test]
fn linked_lists_are_read_as_one_in_the_order_of_their_blocks() {
    let logs = [log(7, &[3, 9]), log(8, &[4])];
    let view = linked::LinkedView::new("04".repeat(32), &logs, false, Zone::default());
    json::snapshot::check("access-linked", &view);
    let text = view.text(false);
    let lists: Vec<_> = text.lines().skip(1).take(3).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lists, ["07070707", "08080808", "07070707"], "{text}");
    assert!(
        text.contains(
            "08080808 is the list of 08080808080808080808080808080808, linked by a.example: 1 entry (0 sealed)"
        )
    );
}

#[test]
fn scripts_get_what_was_exported_and_what_to_keep() {
    let view = export::ExportView {
        file: "audit.ndjson".into(),
        from: 4,
        events: 2,
        sealed: 1,
        resources: 3,
        keep: format!("6:{}", "0a".repeat(32)),
        at_height: 9,
    };
    json::snapshot::check("access-export", &view);
    assert!(
        view.text()
            .starts_with("3 AuditEvents of 2 entries, from number 4, written to audit.ndjson\n1 entry is left out")
    );
}

fn former_readers(retracted: bool, all: bool) -> readers::ReadersView {
    let at = |sequence, reader: &str, version, ground| {
        let mut event = event(sequence, ground);
        event.reader = reader.parse().unwrap();
        event.time = TimeMs(1_000 * sequence);
        event.decisions[0].records[0].version = version;
        event
    };
    let (old, new, denied) =
        ("spiffe://b.example/clinician/c-1", "spiffe://b.example/clinician/c-2", "spiffe://b.example/clinician/c-3");
    let mut by_system = at(1, old, 1, AccessGround::Consent);
    by_system.acting = Some(Hash::from_bytes([9; 32]));
    let mut query = at(5, denied, 1, AccessGround::Consent);
    query.kind = AccessKind::Query;
    let mut other = at(6, denied, 1, AccessGround::Consent);
    other.decisions[0].records[0].record = RecordId([8; 16]);
    let events = [
        by_system,
        at(2, new, 1, AccessGround::Consent),
        at(3, new, 2, AccessGround::Consent),
        at(4, denied, 2, AccessGround::NoConsent),
        query,
        other,
    ];
    let state = consilium_client::pb::RecordState {
        kind: "Observation".into(),
        version: if retracted { 3 } else { 2 },
        retracted,
        ..Default::default()
    };
    let args = readers::FormerReadersArgs { record: RecordId([6; 16]), all };
    readers::ReadersView::new(&args, PatientPseudonym([7; 16]), &state, &events, 9)
}

#[test]
fn former_readers_are_those_who_have_read_what_does_not_count_any_more() {
    json::snapshot::check("access-former-readers", &former_readers(false, false));
    let text = former_readers(false, true).text();
    let told: Vec<_> = text.lines().filter(|line| line.contains("to be told")).collect();
    assert!(told.len() == 1 && told[0].starts_with("spiffe://b.example/clinician/c-1"), "{text}");
    assert!(text.contains("c-2  2 ") && text.contains("has the newest") && !text.contains("c-3"), "{text}");
}

#[test]
fn all_who_have_read_a_record_that_was_entered_in_error_are_told() {
    let text = former_readers(true, false).text();
    assert!(text.starts_with("Observation 06060606060606060606060606060606: newest version 3, entered in error\n"));
    assert_eq!(text.matches("to be told").count(), 2, "{text}");
}

#[test]
fn what_was_said_of_the_patient_is_told_in_words_and_is_no_denial() {
    let identity = format!("spiffe://b.example/patient/{}", "0b".repeat(16));
    let accepted = Change::Accepted {
        identity: identity.parse().unwrap(),
        relation: consilium_proto::pb::PatientRelation::Guardian,
        may_read: true,
        may_consent: false,
        to: Some(TimeMs(3_000)),
        scope: None,
    };
    let said = |change| AccessEvent {
        kind: AccessKind::Change,
        purpose: PurposeOfUse::Patadmin,
        decisions: Vec::new(),
        change: Some(change),
        ..event(4, AccessGround::Consent)
    };
    let view =
        |change| LogView { events: vec![EventView::new(&said(change), false)], opened: Vec::new(), ..view(false) };
    json::snapshot::check("access-log-said", &view(accepted.clone()));
    let text = view(accepted.clone()).text(false);
    let words = "is guardian, and may read until 1970-01-01T00:00:03Z, for this hospital's records";
    assert!(text.contains(&format!("have it entered  {identity} {words}")), "{text}");
    assert!(!text.contains("numbers of the requests"), "{text}");
    let page = html::page(&view(Change::Died), false);
    assert!(page.contains("<tr class=\"said\">") && page.contains("the patient has died"), "{page}");
    let line = EventView::new(&said(Change::Linked(PatientPseudonym([8; 16]))), false).line();
    assert!(line.contains("a clinician of b.example (unit W-07) had it entered: the pseudonym 0808"), "{line}");
}

#[test]
fn the_unit_of_a_reader_stands_wherever_an_access_is_shown() {
    let (with, without) = (event(4, AccessGround::Consent), event(5, AccessGround::NoConsent));
    let text = view(true).text(true);
    let [_, first, second] = text.lines().take(3).collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(first.contains("b.example  clinician  W-07  c-4711  coordination of care"), "{text}");
    assert!(second.contains("b.example  clinician        c-4711  coordination of care"), "{text}");
    let page = html::page(&view(false), false);
    assert!(page.contains("<th scope=\"col\">Unit</th>") && page.contains("<td>W-07</td>"), "{page}");
    let line = |event: &AccessEvent| EventView::new(event, false).line();
    assert!(line(&with).contains("a clinician of b.example (unit W-07) asked to"), "{}", line(&with));
    assert!(line(&without).contains("a clinician of b.example asked to"), "{}", line(&without));
}
