//! Logs of access and lists of records: what their rows commit to, and what blocks say.

mod consents;

use consilium_proto::ids::PatientPseudonym;
use consilium_proto::log::row_of;
use consilium_proto::merkle::leaf_hash;
use consilium_proto::state::{ListName, keys};
use pb::{AccessGround as Ground, PurposeOfUse as Purpose};

use super::*;

const PATIENT: PatientPseudonym = PatientPseudonym([2; 16]);
const NOBODY: PatientPseudonym = PatientPseudonym([9; 16]);
const READER: &str = "spiffe://a.example/service/ehr";
/// Height of the block with the requests.
const HEIGHT: u64 = 4;

fn request(patient: PatientPseudonym) -> pb::Action {
    let request = pb::RequestAccess {
        patient: patient.0.to_vec().into(),
        purpose: Purpose::Treat.into(),
        kind: pb::AccessKind::Read.into(),
        records: vec![pb::VersionRef { record_id: RECORD_ID.to_vec().into(), version: 0 }],
        ..Default::default()
    };
    pb::Action { action: Some(pb::action::Action::RequestAccess(request)) }
}

fn event(sequence: u64, patient: PatientPseudonym, signed: &pb::SignedTransaction) -> pb::AccessEvent {
    let decision = pb::AccessDecision {
        ground: Ground::Author.into(),
        records: vec![pb::VersionRef { record_id: RECORD_ID.to_vec().into(), version: 1 }],
        ..Default::default()
    };
    pb::AccessEvent {
        sequence,
        transaction_id: transaction_id(signed).unwrap().to_bytes(),
        reader: READER.into(),
        patient: patient.0.to_vec().into(),
        purpose: Purpose::Treat.into(),
        kind: pb::AccessKind::Read.into(),
        decisions: vec![decision],
        time_ms: time_of(HEIGHT),
        height: HEIGHT,
        ..Default::default()
    }
}

fn entry_key(log: &[u8], place: u64) -> Vec<u8> {
    [&b"e"[..], &sha256(&[log])[..16], &place.to_be_bytes()].concat()
}

/// A log with its entries.
fn put_log(ledger: &mut Ledger, log: &[u8], entries: &[Vec<u8>]) {
    let mut tree = Frontier::new();
    for (place, entry) in (0..).zip(entries) {
        tree.append(leaf_hash(entry)).unwrap();
        ledger.put_row("logs", entry_key(log, place), entry.clone());
    }
    ledger.put_row("state", log.to_vec(), row_of(&tree).encode_to_vec());
}

fn list(kind: &str) -> Vec<u8> {
    keys::record_list(&ListName::new(PATIENT, pb::Confidentiality::Normal, kind))
}

/// A last block that commits to the state, certified.
fn closed(mut ledger: Ledger) -> Ledger {
    let root = ledger.state_root();
    ledger.append(HEIGHT + 1, Vec::new(), |header| header.state_root = root);
    ledger.certify(HEIGHT as usize + 1);
    ledger
}

/// Five requests for a patient and one for nobody, and two lists of records. What the logs say may
/// be changed before the validators certify it.
fn ledger(change: impl FnOnce(&mut Vec<pb::AccessEvent>, &mut pb::RecordListsState)) -> Ledger {
    let mut ledger = Ledger::usual();
    let of = |nonce| if nonce < 5 { PATIENT } else { NOBODY };
    let signed: Vec<_> = (0..6).map(|n| ledger.sign(20 + n, NOW_MS + 60_000, vec![request(of(n))])).collect();
    ledger.push(signed.iter().map(|signed| (signed.clone(), Outcome::Applied)).collect());
    let mut events: Vec<_> = (0..5).map(|n| event(n, PATIENT, &signed[n as usize])).collect();
    let name = |kind: &str| pb::RecordListName { kind: kind.into(), confidentiality: 4 };
    let mut lists = pb::RecordListsState { lists: vec![name("note"), name("Observation")] };
    change(&mut events, &mut lists);
    let encoded: Vec<_> = events.iter().map(Message::encode_to_vec).collect();
    put_log(&mut ledger, &keys::access_log(&PATIENT), &encoded);
    put_log(&mut ledger, &keys::unmatched_log("a.example"), &[event(0, NOBODY, &signed[5]).encode_to_vec()]);
    let listed = |n: u8| pb::RecordListEntry { record_id: vec![n; 16].into(), version: 1, ..Default::default() };
    put_log(&mut ledger, &list("note"), &[listed(1).encode_to_vec(), listed(2).encode_to_vec()]);
    put_log(&mut ledger, &list("Observation"), &[listed(5).encode_to_vec()]);
    ledger.put_row("state", keys::record_lists(&PATIENT), lists.encode_to_vec());
    closed(ledger)
}

fn good() -> Ledger {
    ledger(|_, _| ())
}

/// The place of an entry among the rows.
fn row(ledger: &Ledger, log: &[u8], place: u64) -> usize {
    let key = entry_key(log, place);
    ledger.rows.iter().position(|row| row.table == "logs" && row.key == key).unwrap()
}

/// What is found after an event was changed.
fn after(place: u64, change: impl FnOnce(&mut pb::AccessEvent)) -> VerifyFailure {
    let mut ledger = good();
    let at = row(&ledger, &keys::access_log(&PATIENT), place);
    let mut event = pb::AccessEvent::decode(ledger.rows[at].value.clone()).unwrap();
    change(&mut event);
    ledger.rows[at].value = event.encode_to_vec().into();
    ledger.failure()
}

fn log_of_patient() -> String {
    consilium_proto::state::describe(&keys::access_log(&PATIENT))
}

/// At a place of the patient's log.
fn at(place: u64, what: &'static str) -> VerifyFailure {
    VerifyFailure::Log { log: log_of_patient(), place, what }
}

const OTHERWISE: &str = "says something else than its request, or its block";
const MISSING: &str = "is missing, though the state names it";

#[test]
fn logs_and_lists_that_are_whole_are_counted() {
    let report = good().report();
    assert_eq!((report.failure.clone(), report.counts.log_entries), (None, 9));
    assert!(report.is_good());
}

#[test]
fn an_event_that_was_changed_is_found_at_its_place() {
    assert_eq!(after(2, |event| event.purpose = Purpose::Hmarkt.into()), at(2, OTHERWISE));
    assert_eq!(after(1, |event| event.reader = "spiffe://a.example/service/other".into()), at(1, OTHERWISE));
    assert_eq!(after(1, |event| event.height = 3), at(1, OTHERWISE));
    assert_eq!(after(3, |event| event.decisions.clear()), at(3, OTHERWISE));
    assert_eq!(after(3, |event| event.sequence = 4), at(3, "says that it stands elsewhere"));
    assert_eq!(after(3, |event| event.patient = vec![8; 16].into()), at(3, "belongs into another log"));
    let unknown = "is of no request on the ledger, or of one that has an event already";
    assert_eq!(after(3, |event| event.transaction_id = vec![8; 32].into()), at(3, unknown));
}

#[test]
fn a_decision_that_was_changed_is_found_within_its_subtree() {
    let denied = |event: &mut pb::AccessEvent| event.decisions[0].ground = Ground::NoConsent.into();
    let (log, first, last) = (log_of_patient(), 0, 3);
    assert_eq!(after(1, denied), VerifyFailure::LogRoot { log: log.clone(), first, last });
    assert_eq!(after(4, |event| event.policy_version = 7), VerifyFailure::LogRoot { log, first: 4, last: 4 });
}

#[test]
fn an_event_that_was_left_out_added_or_moved_is_found() {
    let key = keys::access_log(&PATIENT);
    let without = |place| {
        let mut ledger = good();
        ledger.rows.remove(row(&ledger, &key, place));
        ledger.failure()
    };
    assert_eq!(without(1), at(1, "is missing"));
    assert_eq!(without(0), at(0, "is missing"));
    assert_eq!(without(4), at(4, MISSING));
    let mut none = good();
    (0..5).for_each(|place| drop(none.rows.remove(row(&none, &key, place))));
    assert_eq!(none.failure(), at(0, MISSING));
    let mut more = good();
    let last = more.rows[row(&more, &key, 4)].value.to_vec();
    more.put_row("logs", entry_key(&key, 5), last);
    assert_eq!(more.failure(), at(5, "is one more than the state names"));
    let mut twice = good();
    let doubled = twice.rows[row(&twice, &key, 2)].clone();
    twice.rows.insert(row(&twice, &key, 2), doubled);
    assert_eq!(twice.failure(), at(2, "is one more than the state names"));
    let mut stray = good();
    stray.put_row("logs", entry_key(b"\x23another", 0), b"x".to_vec());
    assert_eq!(stray.failure(), VerifyFailure::Structure("has entries of a log that is not in the state"));
    stray.rows.last_mut().unwrap().key = Bytes::from_static(b"n");
    assert!(matches!(stray.failure(), VerifyFailure::Structure(_)));
}

#[test]
fn a_list_of_records_is_the_one_that_the_state_names() {
    let mut changed = good();
    let at = row(&changed, &list("note"), 0);
    changed.rows[at].value = pb::RecordListEntry { version: 7, ..Default::default() }.encode_to_vec().into();
    let log = consilium_proto::state::describe(&list("note"));
    assert_eq!(changed.failure(), VerifyFailure::LogRoot { log: log.clone(), first: 0, last: 1 });
    let mut cut = good();
    cut.rows.remove(row(&cut, &list("note"), 1));
    assert_eq!(cut.failure(), VerifyFailure::Log { log, place: 1, what: MISSING });
}

/// Certified all the same.
#[test]
fn logs_that_validators_have_certified_still_tell_what_the_blocks_do() {
    let mut omitted = None;
    let failure = ledger(|events, _| omitted = events.pop()).failure();
    let id = omitted.unwrap().transaction_id;
    let VerifyFailure::NoEvent { height, transaction } = failure else { panic!("{failure}") };
    assert_eq!((height, transaction.to_bytes()), (Height(HEIGHT), id));
    let changed = ledger(|events, _| events[3].purpose = Purpose::Hmarkt.into());
    assert_eq!(changed.failure(), at(3, OTHERWISE));
    let twice = ledger(|events, _| {
        events[4] = pb::AccessEvent { sequence: 4, ..events[3].clone() };
    });
    assert_eq!(twice.failure(), at(4, "is of no request on the ledger, or of one that has an event already"));
    let unnamed = ledger(|_, lists| drop(lists.lists.pop())).failure();
    assert!(unnamed.to_string().contains("does not name"), "{unnamed}");
    let of_nothing = ledger(|_, lists| lists.lists[0].kind = "Condition".into()).failure();
    assert!(of_nothing.to_string().contains("names the list"), "{of_nothing}");
}

/// A disclosure that the same person confirms: whether that may be, is for the rules. What the
/// log says may be changed before the validators certify it.
fn disclosed(change: impl FnOnce(&mut pb::AccessEvent)) -> Ledger {
    let mut ledger = Ledger::usual();
    let seal = pb::Seal { until_ms: NOW_MS + 1, salt: vec![5; 16].into(), ..Default::default() };
    let disclose = pb::Disclose {
        disclosure_id: vec![7; 16].into(),
        patient: PATIENT.0.to_vec().into(),
        basis: pb::DisclosureBasis::CourtOrder.into(),
        order_sha256: vec![3; 32].into(),
        records: vec![pb::VersionRef { record_id: RECORD_ID.to_vec().into(), version: 0 }],
        recipient: pb::DisclosureRecipient::Court.into(),
        recipient_sha256: vec![4; 32].into(),
        seal: Some(pb::Seal { basis: pb::SealBasis::Danger.into(), basis_sha256: vec![6; 32].into(), ..seal }),
    };
    let confirm = pb::ConfirmDisclosure { disclosure_id: disclose.disclosure_id.clone() };
    let terms = pb::DisclosureTerms {
        disclosure_id: disclose.disclosure_id.clone(),
        basis: disclose.basis as u32,
        order_sha256: disclose.order_sha256.clone(),
        recipient: disclose.recipient as u32,
        recipient_sha256: disclose.recipient_sha256.clone(),
        confirmed_by: READER.into(),
    };
    let legal = Some(pb::LegalTerms { disclosure: Some(terms), seal: disclose.seal.clone() });
    let action = |action| vec![pb::Action { action: Some(action) }];
    let said = ledger.sign(30, NOW_MS + 60_000, action(pb::action::Action::Disclose(disclose)));
    let confirmed = ledger.sign(31, NOW_MS + 60_000, action(pb::action::Action::ConfirmDisclosure(confirm)));
    ledger.push(vec![(said, Outcome::Applied), (confirmed.clone(), Outcome::Applied)]);
    let (kind, purpose) = (pb::AccessKind::Disclosure.into(), Purpose::Hlegal.into());
    let mut event = pb::AccessEvent { kind, purpose, legal, ..event(0, PATIENT, &confirmed) };
    change(&mut event);
    put_log(&mut ledger, &keys::access_log(&PATIENT), &[event.encode_to_vec()]);
    closed(ledger)
}

#[test]
fn a_disclosure_has_one_event_that_says_what_two_persons_said() {
    assert_eq!(disclosed(|_| ()).report().failure, None);
    type Change = fn(&mut pb::LegalTerms);
    let changes: [Change; 4] = [
        |legal| legal.disclosure.as_mut().unwrap().recipient = pb::DisclosureRecipient::Police as u32,
        |legal| legal.disclosure.as_mut().unwrap().confirmed_by = "spiffe://a.example/auditor/other".into(),
        |legal| legal.seal.as_mut().unwrap().until_ms += 1,
        |legal| legal.seal = None,
    ];
    for change in changes {
        assert_eq!(disclosed(|event| change(event.legal.as_mut().unwrap())).failure(), at(0, OTHERWISE));
    }
    assert_eq!(disclosed(|event| event.legal = None).failure(), at(0, OTHERWISE));
    assert_eq!(disclosed(|event| event.decisions.clear()).failure(), at(0, OTHERWISE));
}

/// Two transactions about patients: an acceptance and a death, and a link with another one.
fn said(change: impl FnOnce(&mut Vec<pb::AccessEvent>)) -> Ledger {
    use pb::action::Action;
    let mut ledger = Ledger::usual();
    let (patient, other) = (PATIENT.0.to_vec(), NOBODY.0.to_vec());
    let accept = pb::AcceptPatient {
        patient: patient.clone().into(),
        identity: "spiffe://a.example/patient/0123456789abcdef0123456789abcdef".into(),
        relation: pb::PatientRelation::Self_.into(),
        may_read: true,
        evidence_sha256: vec![1; 32].into(),
        ..Default::default()
    };
    let death =
        pb::AttestDeath { patient: patient.clone().into(), evidence_sha256: vec![2; 32].into(), withdrawn: false };
    let link = pb::LinkPatients { patient: patient.into(), other: other.into(), evidence_sha256: vec![3; 32].into() };
    let actions = [vec![Action::AcceptPatient(accept), Action::AttestDeath(death)], vec![Action::LinkPatients(link)]];
    let actions = actions.map(|of| of.into_iter().map(|action| pb::Action { action: Some(action) }).collect());
    let signed = [20, 21].into_iter().zip(actions).map(|(nonce, of)| ledger.sign(nonce, NOW_MS + 60_000, of));
    let signed: Vec<_> = signed.collect();
    ledger.push(signed.iter().map(|signed| (signed.clone(), Outcome::Applied)).collect());
    let event = |sequence, of: PatientPseudonym, signed, said| pb::AccessEvent {
        purpose: Purpose::Patadmin.into(),
        kind: pb::AccessKind::Change.into(),
        decisions: Vec::new(),
        change: Some(said),
        ..event(sequence, of, signed)
    };
    let ledger_id = ledger.genesis.ledger_id;
    let changes = signed.iter().flat_map(|signed| {
        let actions = transaction::Transaction::parse_bare(signed, ledger_id).unwrap().actions;
        let changes = actions.iter().flat_map(|action| match action {
            transaction::Action::Patient(action) => action.changes(),
            _ => Vec::new(),
        });
        changes.map(|(of, said)| (of, signed, said)).collect::<Vec<_>>()
    });
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (of, signed, said) in changes {
        let log = if of == PATIENT { &mut own } else { &mut others };
        log.push(event(log.len() as u64, of, signed, said));
    }
    change(&mut own);
    for (of, events) in [(PATIENT, own), (NOBODY, others)] {
        let encoded: Vec<_> = events.iter().map(Message::encode_to_vec).collect();
        put_log(&mut ledger, &keys::access_log(&of), &encoded);
    }
    closed(ledger)
}

#[test]
fn what_was_said_of_patients_stands_in_all_their_logs() {
    let report = said(|_| ()).report();
    assert_eq!((report.failure.clone(), report.counts.log_entries), (None, 4));
    let otherwise =
        |change: fn(&mut pb::PatientChange)| said(|events| change(events[0].change.as_mut().unwrap())).failure();
    assert_eq!(otherwise(|change| change.may_consent = true), at(0, OTHERWISE));
    assert_eq!(otherwise(|change| change.kind = pb::PatientChangeKind::AcceptanceEnded.into()), at(0, OTHERWISE));
    let left_out = said(|events| drop(events.remove(2))).failure();
    assert!(matches!(left_out, VerifyFailure::NoEvent { .. }), "{left_out:?}");
}

/// A ledger with these events, each in the log of its patient.
fn with_logs(mut ledger: Ledger, events: &[pb::AccessEvent]) -> Ledger {
    let mut of: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::from([(keys::access_log(&PATIENT), Vec::new())]);
    for event in events {
        let patient = PatientPseudonym::parse("patient", &event.patient).unwrap();
        of.entry(keys::access_log(&patient)).or_default().push(event.encode_to_vec());
    }
    of.iter().for_each(|(log, entries)| put_log(&mut ledger, log, entries));
    closed(ledger)
}

/// An emergency that is declared, and reviewed by another transaction.
fn declared(change: impl FnOnce(&mut Vec<pb::AccessEvent>)) -> Ledger {
    use pb::action::Action;
    let mut ledger = Ledger::usual();
    let emergency_id = Bytes::from(vec![6; 16]);
    let declare = pb::DeclareEmergency {
        emergency_id: emergency_id.clone(),
        patient: PATIENT.0.to_vec().into(),
        reason: pb::EmergencyReason::Danger.into(),
        acting_sha256: vec![7; 32].into(),
        ..Default::default()
    };
    let verdict = pb::ReviewVerdict::Justified.into();
    let review = pb::ReviewEmergency { emergency_id: emergency_id.clone(), verdict, ..Default::default() };
    let actions = [Action::DeclareEmergency(declare), Action::ReviewEmergency(review)];
    let actions = actions.map(|action| vec![pb::Action { action: Some(action) }]);
    let signed: Vec<_> =
        [20, 21].into_iter().zip(actions).map(|(nonce, of)| ledger.sign(nonce, NOW_MS + 60_000, of)).collect();
    ledger.push(signed.iter().map(|signed| (signed.clone(), Outcome::Applied)).collect());
    let event = |sequence, signed, acting_sha256, said| pb::AccessEvent {
        purpose: Purpose::Patadmin.into(),
        kind: pb::AccessKind::Change.into(),
        decisions: Vec::new(),
        emergency_id: emergency_id.clone(),
        acting_sha256,
        change: Some(said),
        ..event(sequence, PATIENT, signed)
    };
    use pb::PatientChangeKind::{EmergencyDeclared, EmergencyReviewed};
    let (reason, to_ms) = (pb::EmergencyReason::Danger as u32, NOW_MS);
    let said = pb::PatientChange { kind: EmergencyDeclared.into(), reason, to_ms, ..Default::default() };
    let verdict = pb::ReviewVerdict::Justified as u32;
    let found = pb::PatientChange { kind: EmergencyReviewed.into(), verdict, ..Default::default() };
    let acting = Bytes::from(vec![7; 32]);
    let mut events = vec![event(0, &signed[0], acting, said), event(1, &signed[1], Bytes::new(), found)];
    change(&mut events);
    with_logs(ledger, &events)
}

#[test]
fn emergencies_and_their_reviews_stand_in_the_log_of_their_patient() {
    let report = declared(|_| ()).report();
    assert_eq!((report.failure.clone(), report.counts.log_entries), (None, 2));
    type Change = fn(&mut pb::AccessEvent);
    let changes: [(u64, Change); 7] = [
        (0, |event| event.emergency_id = vec![5; 16].into()),
        (0, |event| event.acting_sha256.clear()),
        (0, |event| event.change.as_mut().unwrap().reason = pb::EmergencyReason::Disaster as u32),
        (0, |event| event.purpose = Purpose::Treat.into()),
        (0, |event| event.kind = pb::AccessKind::Read.into()),
        (1, |event| event.change.as_mut().unwrap().verdict = pb::ReviewVerdict::NotJustified as u32),
        (1, |event| event.reader = "spiffe://a.example/auditor/other".into()),
    ];
    for (place, change) in changes {
        let failure = declared(|events| change(&mut events[place as usize])).failure();
        assert_eq!(failure, at(place, OTHERWISE));
    }
    for place in 0..2 {
        let left_out = declared(|events| {
            events.remove(place);
            events.iter_mut().for_each(|event| event.sequence = 0);
        });
        let left_out = left_out.failure();
        assert!(matches!(left_out, VerifyFailure::NoEvent { .. }), "{left_out:?}");
    }
    // A review is of the patient for whom it was declared.
    let of_another = declared(|events| (events[1].patient, events[1].sequence) = (NOBODY.0.to_vec().into(), 0));
    let log = consilium_proto::state::describe(&keys::access_log(&NOBODY));
    assert_eq!(of_another.failure(), VerifyFailure::Log { log, place: 0, what: OTHERWISE });
}

/// A block in which units are said beside what is asked for, and the events of it.
fn with_units(assigned: &[(&str, Outcome)], told: &str) -> Ledger {
    use pb::action::Action;
    let mut ledger = Ledger::usual();
    let mut block: Vec<_> = (30..)
        .zip(assigned)
        .map(|(nonce, (unit, outcome))| {
            let assign = pb::AssignUnit { spiffe_id: READER.into(), unit: (*unit).to_owned() };
            let action = pb::Action { action: Some(Action::AssignUnit(assign)) };
            (ledger.sign(nonce, NOW_MS + 60_000, vec![action]), *outcome)
        })
        .collect();
    let asked = ledger.sign(20, NOW_MS + 60_000, vec![request(PATIENT)]);
    block.push((asked.clone(), Outcome::Applied));
    // What is said later is not of that entry.
    let later = pb::AssignUnit { spiffe_id: READER.into(), unit: "LATER".into() };
    let later = pb::Action { action: Some(Action::AssignUnit(later)) };
    block.push((ledger.sign(21, NOW_MS + 60_000, vec![later]), Outcome::Applied));
    ledger.push(block);
    let event = pb::AccessEvent { unit: told.to_owned(), ..event(0, PATIENT, &asked) };
    put_log(&mut ledger, &keys::access_log(&PATIENT), &[event.encode_to_vec()]);
    closed(ledger)
}

#[test]
fn an_event_has_the_unit_that_the_blocks_before_it_say() {
    let applied = |unit| (unit, Outcome::Applied);
    let refused = ("W-08", Outcome::NotOwner);
    let cases: [(&[(&str, Outcome)], &str); 4] = [
        (&[], ""),
        (&[applied("W-07")], "W-07"),
        (&[applied("W-07"), refused], "W-07"),
        (&[applied("W-07"), applied("")], ""),
    ];
    for (assigned, unit) in cases {
        assert_eq!(with_units(assigned, unit).report().failure, None, "{assigned:?}");
        for other in ["W-08", "LATER", "w"] {
            assert_eq!(with_units(assigned, other).failure(), at(0, OTHERWISE), "{assigned:?} {other}");
        }
    }
    assert_eq!(with_units(&[applied("W-07")], "").failure(), at(0, OTHERWISE));
}

#[test]
fn of_one_transaction_each_action_has_the_unit_that_the_ones_before_it_say() {
    let assign = |unit: &str| {
        let assign = pb::AssignUnit { spiffe_id: READER.into(), unit: unit.to_owned() };
        pb::Action { action: Some(pb::action::Action::AssignUnit(assign)) }
    };
    for (actions, told) in [
        (vec![assign("W-07"), request(PATIENT)], "W-07"),
        (vec![request(PATIENT), assign("W-07")], ""),
        (vec![assign("W-07"), assign("W-08"), request(PATIENT), assign("")], "W-08"),
    ] {
        let mut ledger = Ledger::usual();
        let asked = ledger.sign(20, NOW_MS + 60_000, actions);
        ledger.push(vec![(asked.clone(), Outcome::Applied)]);
        let event = pb::AccessEvent { unit: told.to_owned(), ..event(0, PATIENT, &asked) };
        put_log(&mut ledger, &keys::access_log(&PATIENT), &[event.encode_to_vec()]);
        assert_eq!(closed(ledger).report().failure, None, "{told}");
    }
}
