#![allow(clippy::unwrap_used)]
use clap::Parser;
use consilium_client::access_log::{AccessEvent, Decision};
use consilium_proto::ids::{TimeMs, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{AccessGround, AccessKind, PurposeOfUse};

use super::*;
use crate::access::tests::header;
use crate::json;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: FeedArgs,
}

fn args(more: &[&str]) -> FeedArgs {
    Line::parse_from(["feed"].iter().chain(more)).args
}

const PEOPLE: &str = r#"{
  "staff": [
    {"identity": "spiffe://st-mary.example/clinician/c-1", "family_name": "O'Hara",
     "address": {"postal_code": "02139", "street": "Oak Street", "house": "12 a"},
     "patient": "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"},
    {"identity": "spiffe://st-mary.example/clinician/c-2"}
  ],
  "patients": [
    {"pseudonym": "01010101010101010101010101010101", "family_name": "OHARA"},
    {"pseudonym": "02020202020202020202020202020202",
     "address": {"postal_code": "02139", "street": "OAK STREET", "house": "12A"}},
    {"pseudonym": "03030303030303030303030303030303",
     "address": {"postal_code": "02139", "street": "Oak Street", "house": "14"}},
    {"pseudonym": "04040404040404040404040404040404", "vip": true,
     "address": {"postal_code": "99999", "street": "Oak Street"}},
    {"pseudonym": "05050505050505050505050505050505", "family_name": "-"}
  ]
}"#;

fn access(reader: &str, patient: u8) -> ProvenDecision {
    let reader: SpiffeId = format!("spiffe://st-mary.example/{reader}").parse().unwrap();
    let decision = Decision { ground: AccessGround::Custodian, consent: None, records: Vec::new() };
    let event = AccessEvent {
        sequence: 0,
        transaction_id: TransactionId::from_bytes([5; 32]),
        reader,
        unit: Some("W-07".parse().unwrap()),
        patient: PatientPseudonym([patient; 16]),
        purpose: PurposeOfUse::Hoperat,
        kind: AccessKind::Read,
        decisions: vec![decision],
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

fn judged(all: &[ProvenDecision], care: &Care, volume: usize) -> Vec<Vec<&'static str>> {
    let people = People::parse(PEOPLE.as_bytes()).unwrap();
    let reviewer = Reviewer::new(all, &people, care, volume);
    all.iter().map(|access| reviewer.exceptions(access).into_iter().map(Exception::code).collect()).collect()
}

fn one(access: ProvenDecision) -> Vec<&'static str> {
    judged(&[access], &Care::new(), 50).remove(0)
}

#[test]
fn family_house_street_and_colleagues_are_found_whatever_way_they_are_written() {
    assert_eq!(one(access("clinician/c-1", 1)), ["family-name"]);
    assert_eq!(one(access("clinician/c-1", 2)), ["same-house"]);
    assert_eq!(one(access("clinician/c-1", 3)), ["same-street"]);
    assert_eq!(one(access("clinician/c-1", 4)), ["vip"]);
    assert_eq!(one(access("clinician/c-1", 10)), ["own-records"]);
    assert_eq!(one(access("clinician/c-2", 10)), ["colleague"]);
    assert_eq!(one(access("service/ehr", 10)), ["colleague"]);
    // What nobody has written down is not the same.
    assert_eq!(one(access("clinician/c-2", 5)), [""; 0]);
    assert_eq!(one(access("clinician/c-1", 9)), [""; 0]);
}

#[test]
fn treating_without_care_is_exceptional_while_the_ledger_says_so() {
    let treats = || {
        let mut access = access("clinician/c-2", 5);
        access.event.purpose = PurposeOfUse::Coc;
        access
    };
    let with = |care: Option<pb::CareState>| {
        judged(&[treats()], &Care::from([(PatientPseudonym([5; 16]), care)]), 50).remove(0)
    };
    let care = |height, to_ms| Some(pb::CareState { height, to_ms, ..pb::CareState::default() });
    assert_eq!(with(None), ["out-of-care"]);
    assert_eq!(with(care(2, 1_000)), ["out-of-care"], "the end is not included");
    assert_eq!(with(care(2, 1_001)), [""; 0]);
    assert_eq!(with(care(4, 1)), [""; 0], "what was said before is not known any more");
    let mut by_consent = treats();
    by_consent.event.decisions[0].ground = AccessGround::Consent;
    assert_eq!(one(by_consent), [""; 0]);
}

#[test]
fn emergencies_denials_and_volume_are_found() {
    let mut emergency = access("clinician/c-2", 5);
    emergency.event.emergency = Some(consilium_proto::ids::EmergencyId([6; 16]));
    assert_eq!(one(emergency), ["emergency"]);
    let mut late = access("clinician/c-2", 5);
    late.event.late = Some(TimeMs(1));
    assert_eq!(one(late), ["late"]);
    let mut denied = access("clinician/c-2", 5);
    denied.event.decisions[0].ground = AccessGround::NoConsent;
    assert_eq!(one(denied.clone()), ["denied"]);
    denied.unmatched = true;
    assert_eq!(one(denied), ["no-such-patient"]);
    let mut all = vec![access("clinician/c-2", 5), access("clinician/c-2", 6), access("clinician/c-2", 5)];
    assert_eq!(judged(&all, &Care::new(), 3).concat(), [""; 0], "twice the same patient is one");
    assert_eq!(judged(&all, &Care::new(), 2).concat(), ["volume"; 3]);
    all[1].event.time = TimeMs(24 * 3_600_000);
    assert_eq!(judged(&all, &Care::new(), 2).concat(), [""; 0], "another day");
}

#[test]
fn what_is_printed_tells_rules_and_no_names_or_addresses() {
    let decisions = vec![access("clinician/c-1", 1), access("clinician/c-1", 2), access("clinician/c-2", 5)];
    let found = StaffAccesses { decisions, up_to: Height(20) };
    let people = People::parse(PEOPLE.as_bytes()).unwrap();
    let (member, care) = ("st-mary.example".parse().unwrap(), Care::new());
    let view = |args: &FeedArgs| {
        FeedView::new(args, &member, &found, &Reviewer::new(&found.decisions, &people, &care, args.volume))
    };
    let due = |due_ms| pb::PetitionDue { petition_id: vec![3; 16].into(), due_ms, ..pb::PetitionDue::default() };
    let petitions = pb::PetitionsDueState { petitions: vec![due(5_000), due(5_001)], dropped: 1 };
    let review = |id, due_ms| pb::ReviewDue { emergency_id: vec![id; 16].into(), due_ms };
    let reviews = pb::ReviewsDueState { reviews: vec![review(7, 4_000), review(8, 5_001)], dropped: 2 };
    let owed = Owed { petitions, reviews };
    let with_overdue = |args: &FeedArgs| view(args).with_overdue(&owed, TimeMs(5_000), Zone::default());
    json::snapshot::check("access-feed", &with_overdue(&args(&["--after", "2"])));
    let text = with_overdue(&args(&[])).text();
    assert!(text.starts_with("! OVERDUE: the answer to petition 0303"), "{text}");
    assert!(text.contains("! OVERDUE: 1 older petition, not listed") && !text.contains("05.001"), "{text}");
    assert!(text.contains("\n! OVERDUE: the review of emergency 0707"), "{text}");
    assert!(text.contains("\n! OVERDUE: 2 older reviews, not listed\n") && !text.contains("0808"), "{text}");
    let text = view(&args(&["--after", "2"])).text();
    assert!(text.contains("\n  ! reader and patient have the same family name\n"), "{text}");
    assert!(text.contains("3 requests by people of st-mary.example in the blocks 3 to 20, proven"), "{text}");
    assert!(text.ends_with("--after 20"), "{text}");
    assert_eq!((view(&args(&[])).entries.len(), view(&args(&["--all"])).entries.len()), (2, 3));
    let printed = serde_json::to_string(&view(&args(&["--all"]))).unwrap() + &view(&args(&["--all"])).text();
    for secret in ["hara", "oak", "02139"] {
        assert!(!printed.to_lowercase().contains(secret), "{secret}: {printed}");
    }
}

#[test]
fn a_file_that_is_wrong_is_refused_without_saying_what_stands_there() {
    let wrong = [
        PEOPLE.replace("\"vip\"", "\"secret\""),
        PEOPLE.replace("\"0a0a", "\"secret"),
        PEOPLE.replace("true", "\"secret\""),
        "secret".to_owned(),
    ];
    for text in wrong {
        let error = People::parse(text.as_bytes()).err().unwrap();
        assert!(error.starts_with("line ") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.json");
    std::fs::write(&path, PEOPLE).unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    assert!(People::read(&path).err().unwrap().to_string().contains("mode 0640"));
    mode(0o600);
    assert!(People::read(&path).unwrap().is_colleague(PatientPseudonym([10; 16])));
}
