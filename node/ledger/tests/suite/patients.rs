//! Patients: registered, found by look-ups, first come first served.

use bytes::Bytes;
use consilium_kit::people::Identity;
use consilium_kit::{Action, Ledger};
use consilium_ledger::lookup::resolve_patient;
use consilium_ledger::{Table, keys};
use consilium_proto::ids::SearchTag;
use consilium_proto::limits::{LOOKUPS_MAX, RESOLVED_MAX};
use consilium_proto::observed::Observed;
use consilium_proto::patient::{Lookup, ResolvedPatient};
use consilium_proto::pb::{self, Outcome};

struct Hospital {
    ledger: Ledger,
    a: Identity,
    b: Identity,
}

fn tag(n: u8) -> SearchTag {
    SearchTag([n; 16])
}

fn lookups(tags: &[u8]) -> (Vec<Bytes>, Vec<Bytes>) {
    let made = tags.iter().map(|n| Lookup::new(tag(*n)).unwrap());
    made.map(|lookup| (lookup.hash().to_bytes(), lookup.encode())).unzip()
}

impl Hospital {
    fn new() -> Self {
        let mut ledger = Ledger::new(&[("a.example", 10, 1), ("b.example", 10, 1)], |p| p.epoch_ms = 2_592_000_000);
        let [a, b] = ["a.example", "b.example"].map(|member| Identity::new(member, "service", "ehr"));
        let enrollments = [ledger.enrollment(&a), ledger.enrollment(&b)];
        ledger.block(&enrollments, &Observed::default());
        Self { ledger, a, b }
    }

    fn submit(&mut self, by: &Identity, action: Action, attachments: Vec<Bytes>) -> Outcome {
        let body = self.ledger.body(vec![action]);
        let transaction = self.ledger.check(&by.sign(body, attachments));
        self.ledger.block(&[transaction], &Observed::default()).leaves[0].1.outcome
    }

    fn register(&mut self, by: &Identity, patient: u8, tags: &[u8]) -> Outcome {
        let (lookups_sha256, attachments) = lookups(tags);
        let patient = vec![patient; 16].into();
        self.submit(by, Action::RegisterPatient(pb::RegisterPatient { patient, lookups_sha256 }), attachments)
    }

    fn add(&mut self, by: &Identity, patient: u8, tags: &[u8]) -> Outcome {
        let (lookups_sha256, attachments) = lookups(tags);
        let patient = vec![patient; 16].into();
        self.submit(by, Action::AddLookups(pb::AddLookups { patient, lookups_sha256 }), attachments)
    }

    /// As a node finds them.
    fn entries(&self, n: u8) -> Vec<pb::FoundPatient> {
        let prefix = keys::index_lookup(&tag(n));
        let index =
            self.ledger.store.0.keys().filter(|(table, key)| *table == Table::Index && key.starts_with(&prefix));
        index.take(RESOLVED_MAX).map(|(_, entry)| resolve_patient(&self.ledger.store, entry).unwrap()).collect()
    }

    /// Each proven.
    fn resolve(&self, n: u8) -> Vec<ResolvedPatient> {
        let verify = |found| ResolvedPatient::verify(found, &self.ledger.tip.header).unwrap();
        self.entries(n).iter().map(verify).collect()
    }

    fn found(&self, n: u8) -> Vec<(u8, String)> {
        self.resolve(n).into_iter().map(|found| (found.patient.0[0], found.by)).collect()
    }
}

#[test]
fn patients_are_registered_once_and_found_by_all() {
    let mut h = Hospital::new();
    let (a, b) = (h.a.clone(), h.b.clone());
    assert_eq!(h.register(&a, 1, &[10, 11]), Outcome::Applied);
    assert_eq!(h.register(&b, 1, &[12]), Outcome::PatientExists);
    assert_eq!(h.add(&b, 2, &[12]), Outcome::PatientNotFound);
    assert_eq!(h.add(&b, 1, &[12]), Outcome::Applied);
    for (n, by) in [(10, "a.example"), (11, "a.example"), (12, "b.example")] {
        assert_eq!(h.found(n), [(1, by.to_owned())], "tag {n}");
    }
    assert_eq!(h.found(13), []);
}

#[test]
fn who_comes_first_counts_whatever_is_said_later() {
    let mut h = Hospital::new();
    let (a, b) = (h.a.clone(), h.b.clone());
    // An old patient, to whom somebody would lead a new one's identifier.
    assert_eq!(h.register(&b, 1, &[]), Outcome::Applied);
    assert_eq!(h.register(&a, 9, &[10]), Outcome::Applied);
    assert_eq!(h.add(&b, 1, &[10]), Outcome::Applied);
    assert_eq!(h.found(10), [(9, "a.example".to_owned()), (1, "b.example".to_owned())]);
    // Said of the right one again, and of the other: the first time counts.
    assert_eq!(h.add(&b, 9, &[10]), Outcome::Applied);
    assert_eq!(h.found(10)[0], (9, "a.example".to_owned()));
    // However many there are.
    for patient in 20..60 {
        assert_eq!(h.register(&b, patient, &[10]), Outcome::Applied);
    }
    let found = h.found(10);
    assert_eq!((found.len(), &found[0]), (RESOLVED_MAX, &(9, "a.example".to_owned())));
}

#[test]
fn no_member_uses_up_anothers_room() {
    let mut h = Hospital::new();
    let (a, b) = (h.a.clone(), h.b.clone());
    assert_eq!(h.register(&a, 1, &[1]), Outcome::Applied);
    for n in 0..LOOKUPS_MAX as u8 {
        assert_eq!(h.add(&b, 1, &[n]), Outcome::Applied);
    }
    assert_eq!(h.add(&b, 1, &[90]), Outcome::TooManyLookups);
    assert_eq!(h.add(&a, 1, &[91, 92, 93, 94, 95, 96, 97]), Outcome::Applied);
    assert_eq!(h.add(&a, 1, &[98]), Outcome::TooManyLookups);
    assert_eq!((h.found(90), h.found(98)), (vec![], vec![]));
}

#[test]
fn only_who_meets_patients_registers_them() {
    let mut h = Hospital::new();
    for role in ["admin", "auditor", "researcher", "device"] {
        let other = Identity::new("a.example", role, "other");
        let enrollment = h.ledger.enrollment(&other);
        h.ledger.block(&[enrollment], &Observed::default());
        assert_eq!(h.register(&other, 1, &[1]), Outcome::RoleNotAllowed, "{role}");
    }
    let clinician = Identity::new("a.example", "clinician", "c-4711");
    let enrollment = h.ledger.enrollment(&clinician);
    h.ledger.block(&[enrollment], &Observed::default());
    assert_eq!(h.register(&clinician, 1, &[1]), Outcome::Applied);
}

#[test]
fn a_copied_lookup_is_refused() {
    let mut h = Hospital::new();
    let (a, b) = (h.a.clone(), h.b.clone());
    let (lookups_sha256, attachments) = lookups(&[5]);
    let register = pb::RegisterPatient { patient: vec![1; 16].into(), lookups_sha256: lookups_sha256.clone() };
    assert_eq!(h.submit(&a, Action::RegisterPatient(register), attachments.clone()), Outcome::Applied);
    let add = pb::AddLookups { patient: vec![1; 16].into(), lookups_sha256 };
    assert_eq!(h.submit(&b, Action::AddLookups(add), attachments), Outcome::LookupExists);
}

#[test]
fn what_a_node_says_of_a_patient_is_proven() {
    let mut h = Hospital::new();
    let a = h.a.clone();
    h.register(&a, 1, &[10]);
    h.register(&a, 2, &[20]);
    let find = |n: u8| h.entries(n).remove(0);
    let (one, two) = (find(10), find(20));
    let verify = |found: &pb::FoundPatient| ResolvedPatient::verify(found, &h.ledger.tip.header);
    assert!(verify(&one).is_ok());
    let lies = [
        pb::FoundPatient { patient: two.patient.clone(), ..one.clone() },
        pb::FoundPatient { lookup: two.lookup.clone(), ..one.clone() },
        pb::FoundPatient { state: two.state.clone(), ..one.clone() },
        pb::FoundPatient { state_proof: two.state_proof, ..one.clone() },
        // A look-up that nobody committed to.
        pb::FoundPatient { lookup: Lookup::new(tag(10)).unwrap().encode(), ..one },
    ];
    for lie in lies {
        assert!(verify(&lie).is_err(), "{lie:?}");
    }
}
