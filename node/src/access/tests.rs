//! The whole table of today's rules.
#![allow(clippy::unwrap_used)]

use consilium_ledger::keys;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{
    AuthorityId, ConsentId, DisclosureId, EmergencyId, Epoch, Fingerprint, KeyId, NodeId, PatientPseudonym, PetitionId,
    RecordId, TimeMs,
};
use consilium_proto::names::SpiffeId;
use consilium_proto::state::{AuthorityName, CertificateName, CustodyName, SaltName};

use super::{Accepted, Decision, Denial, Emergency, Grant, Patient, Petition, Request, What, decide};

const CLERK: &str = "spiffe://a.example/clinician/clerk";
const COLLEAGUE: &str = "spiffe://a.example/service/ehr";
const GUEST: &str = "spiffe://b.example/clinician/guest";
const HOMONYM: &str = "spiffe://b.example/service/guest";
const AUDITOR: &str = "spiffe://c.example/auditor/auditor";

fn ask(reader: &str, what: What<'_>) -> Decision {
    let reader: SpiffeId = reader.parse().unwrap();
    decide(&Request { reader: &reader, what })
}

#[test]
fn what_is_said_of_records_is_for_who_works_with_them_at_the_authors_member_and_for_auditors() {
    use Decision::{Allow, Deny};
    let denied = Deny(Denial::NotAuthorsMember);
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    for (reader, expected) in [
        (CLERK, Allow(Grant::AuthorsMember)),
        (COLLEAGUE, Allow(Grant::AuthorsMember)),
        ("spiffe://a.example/device/pump", Allow(Grant::AuthorsMember)),
        (AUDITOR, Allow(Grant::Auditor)),
        (GUEST, denied),
        (HOMONYM, denied),
        ("spiffe://a.example/researcher/r", denied),
        ("spiffe://a.example/admin/root", denied),
        ("spiffe://a.example/node/n1", denied),
        (&patient, denied),
    ] {
        let what = What::Record { author_member: "a.example", kept_by: None };
        assert_eq!(ask(reader, what), expected, "{reader}");
    }
}

#[test]
fn a_member_whose_name_begins_alike_is_another() {
    for author_member in ["a.exampl", "a.example.org", "", "A.EXAMPLE"] {
        let what = What::Record { author_member, kept_by: None };
        assert_eq!(ask(CLERK, what), Decision::Deny(Denial::NotAuthorsMember), "{author_member}");
    }
}

#[test]
fn what_is_said_of_a_record_of_a_member_that_has_left_is_for_who_writes_at_the_one_that_keeps_it() {
    let kept = What::Record { author_member: "d.example", kept_by: Some("a.example") };
    for reader in [CLERK, COLLEAGUE] {
        assert_eq!(ask(reader, kept), Decision::Allow(Grant::Successor), "{reader}");
    }
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    for reader in [GUEST, "spiffe://a.example/researcher/r", "spiffe://a.example/admin/root", &patient] {
        assert_eq!(ask(reader, kept), Decision::Deny(Denial::NotAuthorsMember), "{reader}");
    }
}

#[test]
fn logs_are_for_the_patient_and_auditors_and_consents_also_for_who_treats() {
    use Decision::{Allow, Deny};
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    for (reader, accepted, log, consents) in [
        (patient.as_str(), Accepted::ForAll, Allow(Grant::Patient), Allow(Grant::Patient)),
        (&patient, Accepted::ForSome, Deny(Denial::NotPatient), Allow(Grant::Patient)),
        (&patient, Accepted::Not, Deny(Denial::NotPatient), Deny(Denial::NotPatient)),
        (AUDITOR, Accepted::Not, Allow(Grant::Auditor), Allow(Grant::Auditor)),
        (CLERK, Accepted::Not, Deny(Denial::NotPatient), Allow(Grant::Writer)),
        (HOMONYM, Accepted::Not, Deny(Denial::NotPatient), Allow(Grant::Writer)),
        ("spiffe://a.example/admin/root", Accepted::ForAll, Deny(Denial::NotPatient), Deny(Denial::NotPatient)),
    ] {
        assert_eq!(ask(reader, What::AccessLog(Patient { accepted })), log, "{reader}");
        assert_eq!(ask(reader, What::RecordLists(Patient { accepted })), log, "{reader}");
        assert_eq!(ask(reader, What::Care(Patient { accepted })), log, "{reader}");
        assert_eq!(ask(reader, What::Patient(Patient { accepted })), consents, "{reader}");
    }
}

#[test]
fn of_emergencies_the_patient_and_auditors_of_those_whom_they_concern_are_told() {
    use Decision::{Allow, Deny};
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    let not_patient = Deny(Denial::NotPatient);
    for (reader, declared_by, concerns_member, accepted, expected) in [
        (AUDITOR, "c.example", false, Accepted::Not, Allow(Grant::Auditor)),
        (AUDITOR, "a.example", true, Accepted::Not, Allow(Grant::Auditor)),
        (AUDITOR, "a.example", false, Accepted::Not, Deny(Denial::NotConcerned)),
        (AUDITOR, "c.example.org", false, Accepted::ForAll, Deny(Denial::NotConcerned)),
        (&patient, "b.example", false, Accepted::ForAll, Allow(Grant::Patient)),
        (&patient, "a.example", true, Accepted::Not, not_patient),
        (&patient, "a.example", true, Accepted::ForSome, not_patient),
        // Not even who declared it, or keeps the records.
        (CLERK, "a.example", true, Accepted::ForAll, not_patient),
        (COLLEAGUE, "a.example", true, Accepted::Not, not_patient),
        ("spiffe://a.example/admin/root", "a.example", true, Accepted::ForAll, not_patient),
    ] {
        let what = What::Emergency(Emergency { declared_by, concerns_member, patient: Patient { accepted } });
        assert_eq!(ask(reader, what), expected, "{reader} of {declared_by}");
    }
}

#[test]
fn a_sealed_entry_is_for_auditors_alone_until_its_time() {
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    let at = |reader: &str, now| ask(reader, What::SealedEntry { until: TimeMs(10), now: TimeMs(now) });
    assert_eq!(at(AUDITOR, 9), Decision::Allow(Grant::Auditor));
    for reader in [patient.as_str(), CLERK, COLLEAGUE] {
        assert_eq!(at(reader, 9), Decision::Deny(Denial::Sealed), "{reader}");
    }
    assert_eq!(at(&patient, 10), Decision::Allow(Grant::Patient), "equality opens");
}

#[test]
fn disclosures_are_for_the_members_auditors_and_for_who_made_them() {
    use Decision::{Allow, Deny};
    for (reader, expected) in [
        (CLERK, Allow(Grant::Author)),
        ("spiffe://a.example/auditor/x", Allow(Grant::Auditor)),
        (AUDITOR, Deny(Denial::NotAsked)),
        (COLLEAGUE, Deny(Denial::NotAsked)),
        (GUEST, Deny(Denial::NotAsked)),
    ] {
        assert_eq!(ask(reader, What::Disclosure { member: "a.example", made_by: CLERK }), expected, "{reader}");
    }
}

#[test]
fn of_changes_who_has_read_is_told_and_its_members_services() {
    use Decision::{Allow, Deny};
    let by: SpiffeId = CLERK.parse().unwrap();
    for (reader, expected) in [
        (CLERK, Allow(Grant::Author)),
        (COLLEAGUE, Allow(Grant::AuthorsMember)),
        ("spiffe://a.example/clinician/other", Deny(Denial::NotReader)),
        ("spiffe://a.example/admin/root", Deny(Denial::NotReader)),
        (GUEST, Deny(Denial::NotReader)),
        (HOMONYM, Deny(Denial::NotReader)),
        (AUDITOR, Deny(Denial::NotReader)),
        ("spiffe://a.example/auditor/x", Deny(Denial::NotReader)),
    ] {
        assert_eq!(ask(reader, What::Read { by: &by }), expected, "{reader}");
    }
}

#[test]
fn petitions_are_for_the_patient_auditors_and_who_answers_at_the_member_that_is_asked() {
    use Decision::{Allow, Deny};
    let denied = Deny(Denial::NotAsked);
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    // Of the reader; about a record, and about a person.
    for (reader, of_reader, record, person) in [
        (patient.as_str(), true, Allow(Grant::Patient), Allow(Grant::Patient)),
        (&patient, false, denied, denied),
        (AUDITOR, false, Allow(Grant::Auditor), Allow(Grant::Auditor)),
        (COLLEAGUE, false, Allow(Grant::Asked), Allow(Grant::Asked)),
        (CLERK, false, Allow(Grant::Asked), denied),
        (CLERK, true, Allow(Grant::Asked), denied),
        (GUEST, false, denied, denied),
        (HOMONYM, true, denied, denied),
        ("spiffe://a.example/admin/root", true, denied, denied),
    ] {
        for (concerns_person, expected) in [(false, record), (true, person)] {
            let petition = Petition { member: "a.example", concerns_person, of_reader };
            assert_eq!(ask(reader, What::Petition(petition)), expected, "{reader} {concerns_person}");
        }
    }
}

#[test]
fn the_text_of_an_emergency_is_for_custodian_and_auditors_of_its_member() {
    use Decision::{Allow, Deny};
    let auditor = "spiffe://a.example/auditor/x";
    for (reader, custodian, expected) in [
        (COLLEAGUE, Some(COLLEAGUE), Allow(Grant::Custodian)),
        (COLLEAGUE, None, Deny(Denial::NotCustodian)),
        (CLERK, Some(COLLEAGUE), Deny(Denial::NotCustodian)),
        (auditor, Some(COLLEAGUE), Allow(Grant::Auditor)),
        (auditor, None, Allow(Grant::Auditor)),
        (AUDITOR, Some(COLLEAGUE), Deny(Denial::NotConcerned)),
        ("spiffe://a.example/admin/root", Some(COLLEAGUE), Deny(Denial::NotCustodian)),
    ] {
        let what = What::EmergencyText { declared_by: "a.example", custodian };
        assert_eq!(ask(reader, what), expected, "{reader}");
    }
}

#[test]
fn requests_for_wraps_are_for_the_custodian_and_its_deputy() {
    let ask = |reader, custodian, deputy| ask(reader, What::WrapRequests { custodian, deputy });
    let denied = Decision::Deny(Denial::NotCustodian);
    assert_eq!(ask(COLLEAGUE, Some(COLLEAGUE), None), Decision::Allow(Grant::Custodian));
    assert_eq!(ask(COLLEAGUE, Some(COLLEAGUE), Some(COLLEAGUE)), Decision::Allow(Grant::Custodian));
    assert_eq!(ask(HOMONYM, Some(COLLEAGUE), Some(HOMONYM)), Decision::Allow(Grant::Deputy));
    assert_eq!(ask(HOMONYM, Some(COLLEAGUE), None), denied);
    assert_eq!(ask(CLERK, Some(COLLEAGUE), Some(HOMONYM)), denied);
    assert_eq!(ask(COLLEAGUE, None, None), denied);
    assert_eq!(ask(AUDITOR, Some(COLLEAGUE), None), denied);
}

#[test]
fn what_is_wrapped_for_a_key_is_for_the_custodian_and_auditors() {
    let held = |reader, custodian| ask(reader, What::HeldVersions { custodian });
    assert_eq!(held(COLLEAGUE, Some(COLLEAGUE)), Decision::Allow(Grant::Custodian));
    assert_eq!(held(AUDITOR, None), Decision::Allow(Grant::Auditor));
    assert_eq!(held(CLERK, Some(COLLEAGUE)), Decision::Deny(Denial::NotCustodian));
    assert_eq!(held(COLLEAGUE, None), Decision::Deny(Denial::NotCustodian));
}

#[test]
fn a_custodian_gets_wraps_for_the_keys_of_the_custodians_before_it() {
    let wrap = |owner, of_custody| ask(COLLEAGUE, What::CustodyWrap { owner, of_custody });
    assert_eq!(wrap(Some(CLERK), true), Decision::Allow(Grant::Custodian));
    assert_eq!(wrap(Some(CLERK), false), Decision::Deny(Denial::NotOwner));
    assert_eq!(wrap(Some(COLLEAGUE), false), Decision::Allow(Grant::Recipient));
}

#[test]
fn wraps_are_for_the_owner_of_the_key_alone() {
    let table = [
        (CLERK, Some(CLERK), Decision::Allow(Grant::Recipient)),
        (CLERK, Some(COLLEAGUE), Decision::Deny(Denial::NotOwner)),
        (GUEST, Some(CLERK), Decision::Deny(Denial::NotOwner)),
        (AUDITOR, Some(CLERK), Decision::Deny(Denial::NotOwner)),
        (CLERK, None, Decision::Deny(Denial::NotOwner)),
    ];
    for (reader, owner, expected) in table {
        assert_eq!(ask(reader, What::Wrap { owner }), expected, "{reader} of {owner:?}");
    }
}

#[test]
fn state_rows_are_public_but_for_records_and_patients() {
    let record = keys::record(&RecordId([7; 16]));
    let ca = || AuthorityName::new("a.example", AuthorityId::from_bytes([1; 32]));
    let public = [
        keys::member("a.example"),
        keys::node(NodeId(1)),
        keys::signer(&Fingerprint::from_bytes([1; 32])),
        keys::encryption_key(&KeyId::from_bytes([1; 32])),
        keys::identity(CLERK),
        keys::certificate(&CertificateName::new(ca(), &[2])),
        keys::former_authority(&ca()),
        keys::parameters(),
        keys::stake("a.example"),
        keys::participation(),
        keys::epoch(Epoch(0)),
        keys::roster(),
        keys::penalty(1),
        keys::proposal(1),
        keys::access_policy(1),
        keys::protocol(),
        keys::standing(NodeId(1)),
        keys::vote_key(&Hash::from_bytes([1; 32])),
        keys::custody("a.example"),
        keys::custody_duties("a.example"),
    ];
    for reader in [CLERK, GUEST, AUDITOR] {
        for key in &public {
            assert_eq!(ask(reader, What::StateRow { key }), Decision::Allow(Grant::Everyone));
        }
        for key in [&[][..], &[0x00], &[0x07, 1], &[0x15], &[0xff, 6]] {
            assert_eq!(ask(reader, What::StateRow { key }), Decision::Deny(Denial::Unlisted), "{key:?}");
        }
    }
    let patient = PatientPseudonym([7; 16]);
    for key in [
        record,
        keys::patient(&patient),
        keys::consent(&ConsentId([7; 16])),
        keys::consent_list(&patient),
        keys::access_log(&patient),
        keys::unmatched_log("a.example"),
        keys::record_lists(&patient),
        keys::emergency(&EmergencyId([7; 16])),
        keys::reviews_due("a.example"),
        keys::custody_work("a.example"),
        keys::patient_salt(&SaltName::new(patient, "a.example")),
        keys::petition(&PetitionId([7; 16])),
        keys::petitions_due("a.example"),
        keys::disclosure(&DisclosureId([7; 16])),
        keys::custody_count(&CustodyName::new("a.example", KeyId::from_bytes([1; 32]))),
    ] {
        assert_eq!(ask(AUDITOR, What::StateRow { key: &key }), Decision::Allow(Grant::Auditor));
        // Not even for the author's member.
        assert_eq!(ask(CLERK, What::StateRow { key: &key }), Decision::Deny(Denial::NotAuditor));
    }
}

#[test]
fn blocks_are_for_everyone() {
    for reader in [CLERK, GUEST, AUDITOR] {
        assert_eq!(ask(reader, What::Block), Decision::Allow(Grant::Everyone));
    }
}

#[test]
fn what_tells_of_patients_is_for_its_author_its_members_services_auditors_and_nodes() {
    use Decision::{Allow, Deny};
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    let author: SpiffeId = CLERK.parse().unwrap();
    let what = |of_patient| What::Transaction { author: Some(&author), of_patient };
    let denied = Deny(Denial::NotAuthorsMember);
    for (reader, expected) in [
        (CLERK, Allow(Grant::Author)),
        (COLLEAGUE, Allow(Grant::AuthorsMember)),
        (AUDITOR, Allow(Grant::Auditor)),
        ("spiffe://b.example/node/n1", Allow(Grant::Peer)),
        ("spiffe://a.example/clinician/nosy", denied),
        ("spiffe://a.example/device/pump", denied),
        ("spiffe://a.example/admin/root", denied),
        ("spiffe://a.example/researcher/r", denied),
        (patient.as_str(), denied),
        (GUEST, denied),
        (HOMONYM, denied),
        ("spiffe://b.example/clinician/clerk", denied),
        ("spiffe://a.example.org/service/ehr", denied),
    ] {
        assert_eq!(ask(reader, what(true)), expected, "{reader}");
        assert_eq!(ask(reader, what(false)), Allow(Grant::Everyone), "{reader}");
    }
    // Of whom nothing is known nobody is the author.
    assert_eq!(ask(COLLEAGUE, What::Transaction { author: None, of_patient: true }), denied);
    assert_eq!(ask(AUDITOR, What::Transaction { author: None, of_patient: true }), Allow(Grant::Auditor));
}

#[test]
fn a_patient_sees_what_it_signed() {
    let patient: SpiffeId = format!("spiffe://a.example/patient/{}", "0a".repeat(16)).parse().unwrap();
    let what = What::Transaction { author: Some(&patient), of_patient: true };
    assert_eq!(ask(&patient.to_string(), what), Decision::Allow(Grant::Author));
}

#[test]
fn identifiers_are_looked_up_by_those_who_write() {
    for (role, expected) in [
        ("service", Decision::Allow(Grant::Writer)),
        ("clinician", Decision::Allow(Grant::Writer)),
        ("device", Decision::Allow(Grant::Writer)),
        ("admin", Decision::Deny(Denial::NotWriter)),
        ("auditor", Decision::Deny(Denial::NotWriter)),
        ("researcher", Decision::Deny(Denial::NotWriter)),
        ("node", Decision::Deny(Denial::NotWriter)),
    ] {
        assert_eq!(ask(&format!("spiffe://a.example/{role}/x"), What::Lookup), expected, "{role}");
    }
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    assert_eq!(ask(&patient, What::Lookup), Decision::Deny(Denial::NotWriter));
}

#[test]
fn records_are_looked_for_without_a_request_by_systems_and_auditors_and_by_no_person() {
    for role in ["service", "device"] {
        let decision = ask(&format!("spiffe://a.example/{role}/x"), What::Search);
        assert_eq!(decision, Decision::Allow(Grant::AuthorsMember), "{role}");
    }
    assert_eq!(ask("spiffe://a.example/auditor/x", What::Search), Decision::Allow(Grant::Auditor));
    for role in ["clinician", "researcher", "admin", "node"] {
        let decision = ask(&format!("spiffe://a.example/{role}/x"), What::Search);
        assert_eq!(decision, Decision::Deny(Denial::NotSystem), "{role}");
    }
    let patient = format!("spiffe://a.example/patient/{}", "0a".repeat(16));
    assert_eq!(ask(&patient, What::Search), Decision::Deny(Denial::NotSystem));
}
