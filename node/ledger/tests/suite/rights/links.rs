//! Several pseudonyms of one person: whichever of them is linked with whichever, all of them are.

use super::*;

/// Patients 1 to some number.
fn world(patients: u8) -> World {
    let mut w = World::new();
    for n in 2..=patients {
        let register = pb::RegisterPatient { patient: id(n), lookups_sha256: Vec::new() };
        assert_eq!(w.by(B, "service", "ehr", Action::RegisterPatient(register)), Outcome::Applied);
    }
    w
}

impl World {
    fn link(&mut self, by: &str, patient: u8, other: u8) -> Outcome {
        let evidence_sha256 = vec![1; 32].into();
        let link = pb::LinkPatients { patient: id(patient), other: id(other), evidence_sha256 };
        self.by(by, "service", "ehr", Action::LinkPatients(link))
    }

    fn unlink(&mut self, by: &str, patient: u8, other: u8) -> Outcome {
        let unlink = pb::UnlinkPatients { patient: id(patient), other: id(other) };
        self.by(by, "service", "ehr", Action::UnlinkPatients(unlink))
    }

    fn links(&self, patient: u8) -> Vec<pb::PatientLink> {
        let row = keys::patient(&PatientPseudonym([patient; 16]));
        self.ledger.store.message::<pb::PatientState>(Table::State, &row).unwrap().links
    }

    /// Whom a member takes for the same person.
    fn same(&self, by: &str, patient: u8) -> Vec<u8> {
        let links = self.links(patient).into_iter().filter(|link| link.member == by && link.to_height == 0);
        let mut same: Vec<_> = links.map(|link| link.other[0]).collect();
        same.sort_unstable();
        same
    }
}

#[test]
fn what_is_linked_with_one_is_linked_with_all_and_a_denial_of_any_closes_all() {
    let mut w = world(4);
    assert_eq!(w.write(A, 1, |_| ()), Outcome::Applied);
    let doctor = name(B, "clinician", "c1");
    assert_eq!(w.consent(&name(A, "service", "ehr"), 1, share_with_b()), Outcome::Applied);
    let deny = pb::PutConsent {
        consent_id: id(2),
        version: 1,
        patient: id(4),
        grant: Some(grant(ConsentBase::Deny, vec![])),
        document_sha256: vec![9; 32].into(),
    };
    assert_eq!(w.by(A, "service", "ehr", Action::PutConsent(deny)), Outcome::Applied);
    assert_eq!(w.link(A, 1, 2), Outcome::Applied);
    assert_eq!(w.link(A, 3, 4), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!(w.link(A, 2, 3), Outcome::Applied);
    for patient in 1..=4 {
        let others: Vec<_> = (1..=4).filter(|other| *other != patient).collect();
        assert_eq!(w.same(A, patient), others);
        assert!(w.same(B, patient).is_empty(), "hospital b has said nothing");
    }
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies, "what was signed under another pseudonym");
    assert_eq!(w.link(A, 1, 4), Outcome::LinkConflict, "they are linked");
    // The second one of the pair leaves all of them.
    assert_eq!(w.unlink(B, 1, 4), Outcome::LinkConflict);
    assert_eq!(w.unlink(A, 1, 4), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent);
    assert_eq!((w.same(A, 1), w.same(A, 3), w.same(A, 4)), (vec![2, 3], vec![1, 2], vec![]));
    assert_eq!(w.unlink(A, 2, 4), Outcome::LinkConflict);
    assert!(w.links(4).iter().all(|link| link.from_height < link.to_height), "what was between is found by it");
}

#[test]
fn a_member_takes_no_more_than_sixteen_pseudonyms_for_one_person() {
    let mut w = world(20);
    for other in 2..=10 {
        assert_eq!(w.link(A, 1, other), Outcome::Applied);
    }
    for other in 12..=18 {
        assert_eq!(w.link(A, 11, other), Outcome::Applied);
    }
    assert_eq!(w.link(A, 10, 18), Outcome::TooManyOfPatient, "ten and eight");
    assert_eq!(w.unlink(A, 11, 12), Outcome::Applied);
    assert_eq!(w.unlink(A, 11, 13), Outcome::Applied);
    assert_eq!(w.link(A, 10, 18), Outcome::Applied);
    assert_eq!(w.same(A, 1).len(), 15);
    assert_eq!(w.link(A, 18, 19), Outcome::TooManyOfPatient);
    assert_eq!(w.link(B, 18, 19), Outcome::Applied, "each member has room of its own");
    assert_eq!(w.same(B, 18), [19], "and its own word");
}

#[test]
fn links_that_were_use_up_no_room() {
    let mut w = world(2);
    for _ in 0..20 {
        assert_eq!((w.link(A, 1, 2), w.unlink(A, 1, 2)), (Outcome::Applied, Outcome::Applied));
    }
    assert_eq!((w.link(B, 1, 2), w.unlink(B, 1, 2)), (Outcome::Applied, Outcome::Applied));
    assert_eq!(w.link(A, 1, 2), Outcome::Applied);
    for patient in [1, 2] {
        let links = w.links(patient);
        let past = |by: &str| links.iter().filter(|link| link.member == by && link.to_height != 0).count();
        assert_eq!((past(A), past(B)), (16, 1), "the last ones of each");
        assert!(links.is_sorted_by_key(|link| link.from_height));
        assert_eq!(links.last().unwrap().to_height, 0);
    }
}
