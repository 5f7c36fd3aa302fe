//! Whoever speaks for a patient no more takes no room from those who do.

use super::*;

fn minted(n: u8) -> String {
    name(A, "patient", &hex_name(n))
}

fn hex_name(n: u8) -> String {
    format!("{n:02x}").repeat(16)
}

impl World {
    fn accepted(&self) -> Vec<String> {
        let row = keys::patient(&PatientPseudonym([1; 16]));
        let state: pb::PatientState = self.ledger.store.message(Table::State, &row).unwrap();
        state.acceptances.into_iter().filter(|a| a.member == A).map(|a| a.identity).collect()
    }
}

#[test]
fn what_was_withdrawn_or_has_ended_makes_room_where_it_is_needed() {
    let mut w = World::new();
    w.write(A, 1, |_| ());
    let (guardian, doctor) = (name(A, "patient", GUARDIAN), name(B, "clinician", "c1"));
    let until = w.now() + 60_000;
    let ends = |accept: &mut pb::AcceptPatient| {
        (accept.relation, accept.to_ms) = (PatientRelation::Guardian.into(), until);
    };
    assert_eq!(w.accept(A, &guardian, ends), Outcome::Applied);
    assert_eq!(w.consent(&guardian, 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.accept(A, &minted(1), ends), Outcome::Applied);
    for n in 2..16 {
        assert_eq!(w.accept(A, &minted(n), |_| ()), Outcome::Applied);
    }
    assert_eq!(w.accept(A, &minted(16), |_| ()), Outcome::TooManyOfPatient);
    assert_eq!(w.accept(A, &minted(2), |accept| accept.withdrawn = true), Outcome::Applied);
    assert_eq!(w.accepted().len(), 16, "it is told as long as there is room");
    assert_eq!(w.accept(A, &minted(16), |_| ()), Outcome::Applied);
    assert!(!w.accepted().contains(&minted(2)) && w.accepted().contains(&minted(1)));
    assert_eq!(w.accept(A, &minted(17), |_| ()), Outcome::TooManyOfPatient);
    w.wait_until(until);
    assert_eq!(w.accept(A, &minted(17), |_| ()), Outcome::Applied);
    assert!(!w.accepted().contains(&minted(1)), "it has signed nothing");
    assert!(w.accepted().contains(&guardian), "upon which a consent depends");
    assert_eq!(w.ground(&doctor, read(1)), Ground::Consent, "which was signed in time");
    assert_eq!(w.accept(A, &minted(18), |_| ()), Outcome::TooManyOfPatient);
    assert_eq!(w.accept(A, &guardian, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_eq!(w.accept(A, &minted(18), |_| ()), Outcome::Applied);
    assert_eq!(w.ground(&doctor, read(1)), Ground::ConsentDenies);
    assert_eq!(w.accepted().len(), 16);
}
