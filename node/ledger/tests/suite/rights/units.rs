//! Units of identities: who says them, and that entries of logs repeat the one that was in force.

use super::*;
use consilium_ledger::log::entry;

const READER: &str = "c1";

fn assign(identity: &str, unit: &str) -> Action {
    Action::AssignUnit(pb::AssignUnit { spiffe_id: identity.to_owned(), unit: unit.to_owned() })
}

impl World {
    /// By the administrator of a member.
    fn assigns(&mut self, member: &str, identity: &str, unit: &str) -> Outcome {
        self.ledger.submit(member, assign(identity, unit))
    }

    fn identity(&self, id: &str) -> pb::IdentityState {
        self.ledger.store.message(Table::State, &keys::identity(id)).unwrap_or_default()
    }
}

#[test]
fn an_entry_has_the_unit_in_force_and_keeps_it() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let reader = name(A, "clinician", READER);
    assert_eq!(w.ask(&reader, read(1)).unit, "");
    for unit in ["W-07", "ICU-2", ""] {
        assert_eq!(w.assigns(A, &reader, unit), Outcome::Applied);
        assert_eq!(w.ask(&reader, read(1)).unit, unit);
        assert_eq!(w.ask(&name(A, "clinician", "c2"), read(1)).unit, "", "nobody else's");
    }
    let log = keys::access_log(&PatientPseudonym([1; 16]));
    let entry = |place| AccessEvent::decode(entry(&w.ledger.store, &log, place).unwrap().unwrap()).unwrap();
    let of_reader = (0..w.patient_log().count).map(entry).filter(|event| event.reader == reader);
    let units: Vec<_> = of_reader.map(|event| event.unit).collect();
    assert_eq!(units, ["", "W-07", "ICU-2", ""], "what was entered before stays");
}

#[test]
fn a_denied_and_an_unmatched_request_and_what_is_said_have_it_too() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (reader, ehr) = (name(B, "clinician", READER), name(A, "service", "ehr"));
    assert_eq!(w.assigns(B, &reader, "W-07"), Outcome::Applied);
    let denied = w.ask(&reader, read(1));
    assert_eq!((denied.decisions[0].ground(), denied.unit.as_str()), (Ground::ConsentDenies, "W-07"));
    let unmatched = w.ask(&reader, pb::RequestAccess { patient: id(9), ..read(1) });
    assert_eq!((unmatched.decisions[0].ground(), unmatched.unit.as_str()), (Ground::NotFound, "W-07"));

    assert_eq!(w.assigns(A, &ehr, "ADT"), Outcome::Applied);
    assert_eq!(w.accept(A, &name(A, "patient", ANNA), |_| ()), Outcome::Applied);
    let log = keys::access_log(&PatientPseudonym([1; 16]));
    let said = entry(&w.ledger.store, &log, w.patient_log().count - 1).unwrap().unwrap();
    let said = AccessEvent::decode(said).unwrap();
    assert_eq!((said.kind(), said.reader, said.unit.as_str()), (AccessKind::Change, ehr, "ADT"));
}

#[test]
fn a_disclosure_has_the_unit_of_who_made_it_when_it_is_confirmed() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (clerk, auditor) = (name(A, "clinician", READER), name(A, "auditor", "privacy"));
    assert_eq!(w.assigns(A, &auditor, "DPO"), Outcome::Applied);
    assert_eq!(w.discloses(&clerk, disclosures::disclose(1, &[(1, 0)])), Outcome::Applied);
    assert_eq!(w.assigns(A, &clerk, "LEGAL"), Outcome::Applied);
    let (confirmed, outcome) = w.confirms(&auditor, 1);
    assert_eq!((outcome, w.event(&confirmed).unit.as_str()), (Outcome::Applied, "LEGAL"));
}

#[test]
fn only_an_administrator_of_the_own_member_says_it() {
    let mut w = World::new();
    let reader = name(A, "clinician", READER);
    assert_eq!(w.assigns(A, &reader, "W-07"), Outcome::Applied);
    assert_eq!(w.assigns(B, &reader, "W-08"), Outcome::NotOwner);
    for (role, who) in [("clinician", READER), ("service", "ehr"), ("auditor", "privacy")] {
        assert_eq!(w.by(A, role, who, assign(&reader, "W-08")), Outcome::RoleNotAllowed, "{role}");
    }
    let nobody = name(A, "clinician", "nobody");
    assert_eq!(w.assigns(A, &nobody, "W-07"), Outcome::NotOwner);
    assert_eq!(w.identity(&nobody), pb::IdentityState::default(), "nothing is enrolled by it");
    assert_eq!(w.identity(&reader).unit, "W-07");
}

#[test]
fn a_further_enrolment_keeps_it_and_a_unit_changes_no_key() {
    let mut w = World::new();
    let reader = name(A, "clinician", READER);
    let before = w.identity(&reader);
    assert_eq!(w.assigns(A, &reader, "W-07"), Outcome::Applied);
    assert_eq!(w.identity(&reader), pb::IdentityState { unit: "W-07".into(), ..before.clone() });
    w.enroll(A, "clinician", READER);
    let after = w.identity(&reader);
    assert_ne!(after.encryption_key_id, before.encryption_key_id, "it has enrolled anew");
    assert_eq!(after.unit, "W-07");
}

#[test]
fn a_code_of_another_form_and_a_patients_unit_are_no_transactions() {
    let (reader, patient) = (name(A, "clinician", READER), name(A, "patient", ANNA));
    let parsed = |action| consilium_proto::transaction::Action::parse(pb::Action { action: Some(action) });
    let refused = |action| parsed(action).unwrap_err().field;
    assert!(parsed(assign(&reader, "W-07")).is_ok() && parsed(assign(&reader, "")).is_ok());
    for unit in ["ward 7", "w-07", "W-07\n", &"W".repeat(33)] {
        assert_eq!(refused(assign(&reader, unit)), "assign_unit.unit", "{unit:?}");
    }
    assert_eq!(refused(assign(&patient, "W-07")), "assign_unit.spiffe_id");
    assert_eq!(refused(assign("c1", "W-07")), "assign_unit.spiffe_id");
}
