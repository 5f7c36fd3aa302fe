//! Representatives who speak for a part of a patient's records.

use super::*;

/// Of the kinds and up to the confidentiality.
fn scope(kinds: &[&str], ceiling: pb::Confidentiality, purposes: &[Purpose]) -> pb::RepresentativeScope {
    pb::RepresentativeScope {
        kinds: kinds.iter().map(ToString::to_string).collect(),
        ceiling: ceiling.into(),
        purposes: purposes.iter().map(|purpose| *purpose as i32).collect(),
    }
}

fn conditions() -> pb::RepresentativeScope {
    scope(&["Condition"], pb::Confidentiality::Normal, &[])
}

/// Hospital a holds an observation (1), a condition (2) and a restricted condition (3).
fn records() -> World {
    let mut w = World::new();
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    assert_eq!(w.write(A, 2, |write| write.kind = "Condition".into()), Outcome::Applied);
    let restricted = |write: &mut pb::WriteRecord| {
        write.kind = "Condition".into();
        write.confidentiality = pb::Confidentiality::Restricted.into();
    };
    assert_eq!(w.write(A, 3, restricted), Outcome::Applied);
    w
}

impl World {
    /// Hospital a accepts the guardian, for a part.
    fn accept_guardian(&mut self, scope: Option<pb::RepresentativeScope>) -> String {
        let guardian = name(A, "patient", GUARDIAN);
        let to_ms = self.now() + 300 * DAY;
        let change = |accept: &mut pb::AcceptPatient| {
            accept.relation = PatientRelation::Guardian.into();
            (accept.to_ms, accept.scope) = (to_ms, scope);
        };
        assert_eq!(self.accept(A, &guardian, change), Outcome::Applied);
        guardian
    }

    fn grounds(&mut self, by: &str, purpose: Purpose) -> [Ground; 3] {
        [1, 2, 3].map(|record| self.ground(by, pb::RequestAccess { purpose: purpose.into(), ..read(record) }))
    }
}

#[test]
fn a_representative_reads_what_is_in_its_scope() {
    let mut w = records();
    let guardian = w.accept_guardian(Some(conditions()));
    let [observation, condition, restricted] = w.grounds(&guardian, Purpose::Patrqt);
    assert_eq!(condition, Ground::Representative);
    assert_eq!((observation, restricted), (Ground::ConsentDenies, Ground::ConsentDenies));
    let (_, found) = in_sight::look(&w, &guardian, 1, &[], AccessKind::Query);
    assert!(found.is_empty(), "no guardian reads for treatment");
    w.accept_guardian(None);
    assert_eq!(w.grounds(&guardian, Purpose::Patrqt), [Ground::Representative; 3]);
}

#[test]
fn a_representatives_consent_opens_and_closes_what_is_in_its_scope_alone() {
    let mut w = records();
    let (guardian, doctor) = (w.accept_guardian(Some(conditions())), name(B, "clinician", "c1"));
    let denied = Ground::ConsentDenies;
    assert_eq!(w.grounds(&doctor, Purpose::Treat), [denied; 3]);
    assert_eq!(w.consent(&guardian, 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.grounds(&doctor, Purpose::Treat), [denied, Ground::Consent, denied]);
    // The patient opens all, and the guardian's denial takes back its own part.
    let anna = name(A, "patient", ANNA);
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.grounds(&doctor, Purpose::Treat), [Ground::Consent, Ground::Consent, Ground::Consent]);
    assert_eq!(w.consent_version(&guardian, 1, 2, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    assert_eq!(w.grounds(&doctor, Purpose::Treat), [Ground::Consent, denied, Ground::Consent]);
    // What hospital a says of it later holds for what it has signed before.
    w.accept_guardian(Some(scope(&["Observation"], pb::Confidentiality::Unspecified, &[])));
    assert_eq!(w.grounds(&doctor, Purpose::Treat), [denied, Ground::Consent, Ground::Consent]);
}

#[test]
fn who_speaks_for_some_purposes_opens_no_others_and_forbids_no_emergency() {
    let mut w = World::with(|p| p.emergency_denial_binds = 1);
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    let of = |purposes: &[Purpose]| Some(scope(&[], pb::Confidentiality::Unspecified, purposes));
    let (guardian, doctor) = (w.accept_guardian(of(&[Purpose::Treat])), name(B, "clinician", "c1"));
    assert_eq!(w.consent(&guardian, 1, share_with_b()), Outcome::Applied);
    let ground =
        |w: &mut World, purpose: Purpose| w.ground(&doctor, pb::RequestAccess { purpose: purpose.into(), ..read(1) });
    assert_eq!(ground(&mut w, Purpose::Coc), Ground::Consent, "care coordination is treatment");
    assert_eq!(ground(&mut w, Purpose::Hpaymt), Ground::ConsentDenies);
    assert_eq!(w.consent_version(&guardian, 1, 2, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    assert_eq!(ground(&mut w, Purpose::Coc), Ground::ConsentDenies);
    let declare = pb::DeclareEmergency {
        emergency_id: id(7),
        patient: id(1),
        reason: pb::EmergencyReason::Danger.into(),
        ..pb::DeclareEmergency::default()
    };
    assert_eq!(w.all_by(&doctor, vec![Action::DeclareEmergency(declare)], vec![]), Outcome::Applied);
    let urgent = || pb::RequestAccess { purpose: Purpose::Btg.into(), emergency_id: id(7), ..read(1) };
    assert_eq!(w.ground(&doctor, urgent()), Ground::Emergency);
    w.accept_guardian(of(&[Purpose::Treat, Purpose::Btg]));
    assert_eq!(w.ground(&doctor, urgent()), Ground::ConsentDenies, "it speaks for emergencies, too");
}

#[test]
fn a_representative_for_a_part_ends_no_consent_of_others_and_asks_nothing_about_the_log() {
    let mut w = records();
    let (guardian, anna) = (w.accept_guardian(Some(conditions())), name(A, "patient", ANNA));
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.consent(&anna, 1, grant(ConsentBase::Deny, vec![])), Outcome::Applied);
    assert_eq!(w.consent(&guardian, 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.revoke(&guardian, 1), Outcome::ConsentNotFound, "it would open what it does not speak for");
    assert_eq!(w.revoke(&guardian, 2), Outcome::Applied, "its own it ends");
    let entry = w.ask(&name(A, "clinician", "c1"), read(1)).transaction_id;
    let complain = |n: u8| {
        let entry_id = entry.clone();
        let kind = pb::PetitionKind::Complaint.into();
        let text_sha256 = Bytes::copy_from_slice(&sha256(&[b"sealed"]));
        let petition = pb::OpenPetition {
            petition_id: id(n),
            patient: id(1),
            member: A.into(),
            kind,
            entry_id,
            text_sha256,
            ..Default::default()
        };
        vec![Action::OpenPetition(petition)]
    };
    let text = || vec![Bytes::from_static(b"sealed")];
    assert_eq!(w.all_by(&guardian, complain(20), text()), Outcome::NotAccepted, "the log tells of all records");
    w.accept_guardian(None);
    assert_eq!(w.all_by(&guardian, complain(21), text()), Outcome::Applied);
    assert_eq!(w.revoke(&guardian, 1), Outcome::Applied);
}
