//! What consents cost: only those that bind a custodian are read, each once, and what they say is
//! what it would be if all were read.

use std::cell::RefCell;

use consilium_kit::{Rows, Rules};
use consilium_ledger::custody::Kept;
use consilium_ledger::rights::{Decided, Decider, Reading};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{StateReader, StoreFault};
use consilium_proto::access::{Facts, PolicyRules, RecordFacts};
use consilium_proto::consent::{Asked, Grant, strongest};
use consilium_proto::ids::{ConsentId, RecordId, TimeMs};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{Confidentiality, ConsentListState, ConsentState, PatientState};
use consilium_proto::state::StateRow;
use proptest::prelude::*;

use super::*;

/// Notes which consents are read.
struct Noting<'a>(&'a Rows, RefCell<Vec<u8>>);

impl TrieStore for Noting<'_> {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.0.node(path)
    }
}

impl StateReader for Noting<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        if table == Table::State && StateRow::of(key) == Some(StateRow::Consent) {
            self.1.borrow_mut().push(key[1]);
        }
        self.0.get(table, key)
    }
}

fn reading<'a>(w: &World, reader: &'a SpiffeId, patient: u8) -> Reading<'a> {
    Reading {
        reader,
        patient: PatientPseudonym([patient; 16]),
        kind: AccessKind::Read,
        purpose: Purpose::Treat,
        project: None,
        emergency: None,
        time: TimeMs(w.now()),
    }
}

/// Which consents are read, in order, where a clinician of hospital b reads these of patient 1.
fn consents_read(w: &World, records: &[u8]) -> Vec<u8> {
    let reader: SpiffeId = name(B, "clinician", "c1").parse().unwrap();
    let store = Noting(&w.ledger.store, RefCell::default());
    let mut decider = Decider::new(&store, &Rules, reading(w, &reader, 1)).unwrap();
    for record in records {
        decider.decide(&store, &RecordId([*record; 16]), 0).unwrap();
    }
    store.1.into_inner()
}

#[test]
fn consents_that_cannot_bind_a_custodian_are_not_read_and_the_others_once() {
    let mut w = World::new();
    for (member, record) in [(A, 1), (A, 2), (B, 3)] {
        assert_eq!(w.write(member, record, |_| ()), Outcome::Applied);
    }
    let (anna, minted) = (name(A, "patient", ANNA), name(B, "patient", GUARDIAN));
    assert_eq!(w.accept(A, &anna, |_| ()), Outcome::Applied);
    assert_eq!(w.accept(B, &minted, |_| ()), Outcome::Applied);
    for n in 100..116 {
        assert_eq!(w.consent(&minted, n, share_with_b()), Outcome::Applied);
        assert_eq!(w.consent(&name(B, "service", "ehr"), n + 100, share_with_b()), Outcome::Applied);
    }
    assert_eq!(w.consent(&anna, 1, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent(&name(A, "service", "ehr"), 2, share_with_b()), Outcome::Applied);
    let now = w.now();
    let over = pb::ConsentGrant { to_ms: now + 2_000, ..share_with_b() };
    assert_eq!(w.consent(&anna, 3, over), Outcome::Applied);
    assert_eq!(consents_read(&w, &[1]), [1, 2, 3]);
    w.wait_until(now + 2_001);
    assert_eq!(consents_read(&w, &[1]), [1, 2], "what is over is not read");
    assert_eq!(consents_read(&w, &[1, 2, 1, 9]), [1, 2], "and nothing twice, nor more for what there is not");
    assert_eq!(consents_read(&w, &[9]), [1, 2], "which costs what is denied costs");
    assert_eq!(consents_read(&w, &[3]).len(), 32, "a hospital pays for what it has put itself");
    assert_eq!(w.accept(A, &anna, |accept| accept.withdrawn = true), Outcome::Applied);
    assert_eq!(consents_read(&w, &[1]), [2]);
}

/// About 26 KiB.
fn large() -> pb::ConsentGrant {
    let place = |n: u32, bytes: usize| Bytes::from([&n.to_be_bytes()[..], &vec![1; bytes - 4]].concat());
    let of_rule = |_| pb::ConsentRule {
        records: (0..256).map(|n| place(n, 16)).collect(),
        tags: (0..256).map(|n| place(n, 32)).collect(),
        ..rule(ConsentEffect::Permit)
    };
    grant(ConsentBase::BreakGlassOnly, (0..2).map(of_rule).collect())
}

#[test]
fn an_author_has_so_many_bytes_of_consents_and_all_of_a_member_twice_as_many() {
    let mut w = World::new();
    let third = "c".repeat(32);
    w.enroll(A, "patient", &third);
    let [anna, guardian, third] = [ANNA, GUARDIAN, &third].map(|who| name(A, "patient", who));
    for identity in [&anna, &guardian, &third] {
        assert_eq!(w.accept(B, identity, |_| ()), Outcome::Applied);
    }
    for (identity, id) in [(&anna, 1), (&guardian, 3)] {
        assert_eq!(w.consent(identity, id, large()), Outcome::Applied);
        assert_eq!(w.consent(identity, id + 1, large()), Outcome::Applied);
        assert_eq!(w.consent(identity, id + 10, large()), Outcome::TooManyOfPatient);
    }
    assert_eq!(w.consent(&third, 5, large()), Outcome::TooManyOfPatient, "hospital a could make up many");
    assert_eq!(w.consent(&third, 5, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent_version(&third, 5, 2, large()), Outcome::TooManyOfPatient);
    assert_eq!(w.consent_version(&anna, 1, 2, share_with_b()), Outcome::Applied);
    assert_eq!(w.consent_version(&third, 5, 2, large()), Outcome::Applied, "there is room again");
    let ehr = name(A, "service", "ehr");
    for id in [20, 21] {
        assert_eq!(w.consent(&ehr, id, large()), Outcome::Applied, "paper has room of its own");
    }
    assert_eq!(w.consent(&ehr, 22, large()), Outcome::TooManyOfPatient);
    assert_eq!(w.consent(&name(B, "service", "ehr"), 22, large()), Outcome::Applied);
}

#[derive(Debug, Clone)]
enum Step {
    Accept { by: usize, identity: usize, patient: u8, may_consent: bool, withdrawn: bool, to: Option<u64> },
    Put { by: usize, consent: u8, patient: u8, version: u32, says: u8, from: u64, to: Option<u64> },
    Revoke { by: usize, consent: u8 },
    Link { by: usize, apart: bool },
    Death { by: usize, patient: u8, withdrawn: bool },
    Later { ms: u64 },
}

const MEMBERS: [&str; 2] = [A, B];
/// Who puts consents: identities of patients, and those who file paper.
const AUTHORS: [(&str, &str, &str); 6] = [
    (A, "patient", ANNA),
    (B, "patient", ANNA),
    (A, "patient", GUARDIAN),
    (B, "patient", GUARDIAN),
    (A, "clinician", "c1"),
    (B, "service", "ehr"),
];

fn step() -> impl Strategy<Value = Step> {
    let soon = || prop::option::of(1..20_000u64);
    prop_oneof![
        3 => (0..2usize, 0..4usize, 1..3u8, any::<bool>(), prop::bool::weighted(0.2), soon()).prop_map(
            |(by, identity, patient, may_consent, withdrawn, to)| Step::Accept {
                by, identity, patient, may_consent, withdrawn, to
            }
        ),
        5 => (0..AUTHORS.len(), 1..12u8, 1..3u8, 1..3u32, 0..6u8, 0..4_000u64, soon()).prop_map(
            |(by, consent, patient, version, says, from, to)| Step::Put {
                by, consent, patient, version, says, from, to
            }
        ),
        1 => (0..AUTHORS.len(), 1..12u8).prop_map(|(by, consent)| Step::Revoke { by, consent }),
        1 => (0..2usize, any::<bool>()).prop_map(|(by, apart)| Step::Link { by, apart }),
        1 => (0..2usize, 1..3u8, any::<bool>()).prop_map(|(by, patient, withdrawn)| Step::Death { by, patient, withdrawn }),
        2 => (1..10_000u64).prop_map(|ms| Step::Later { ms }),
    ]
}

fn said(says: u8) -> pb::ConsentGrant {
    let rule = |effect, member| pb::ConsentRule { grantees: to_member(member), ..rule(effect) };
    match says {
        0 => grant(ConsentBase::Silent, vec![rule(ConsentEffect::Permit, B)]),
        1 => share_with(A),
        2 => grant(ConsentBase::BasicNormal, vec![rule(ConsentEffect::Deny, B)]),
        3 => grant(ConsentBase::Deny, vec![]),
        4 => grant(ConsentBase::AllNormal, vec![]),
        _ => share_with(B),
    }
}

impl World {
    fn take(&mut self, step: &Step) {
        let author = |by: usize| name(AUTHORS[by].0, AUTHORS[by].1, AUTHORS[by].2);
        let (evidence_sha256, now) = (Bytes::from(vec![1; 32]), self.now());
        let (by, action) = match *step {
            Step::Accept { by, identity, patient, may_consent, withdrawn, to } => {
                let change = |accept: &mut pb::AcceptPatient| {
                    (accept.patient, accept.may_consent) = (id(patient), may_consent);
                    (accept.withdrawn, accept.to_ms) = (withdrawn, to.map_or(0, |to| now + to));
                };
                let _ = self.accept(MEMBERS[by], &author(identity), change);
                return;
            }
            Step::Put { by, consent, patient, version, says, from, to } => {
                let from_ms = now + from;
                let to_ms = to.map_or(0, |to| from_ms + to);
                let put = pb::PutConsent {
                    consent_id: id(consent),
                    version,
                    patient: id(patient),
                    grant: Some(pb::ConsentGrant { from_ms, to_ms, ..said(says) }),
                    document_sha256: vec![9; 32].into(),
                };
                (author(by), Action::PutConsent(put))
            }
            Step::Revoke { by, consent } => {
                (author(by), Action::RevokeConsent(pb::RevokeConsent { consent_id: id(consent) }))
            }
            Step::Link { by, apart } => {
                let (patient, other) = (id(1), id(2));
                let action = match apart {
                    true => Action::UnlinkPatients(pb::UnlinkPatients { patient, other }),
                    false => Action::LinkPatients(pb::LinkPatients { patient, other, evidence_sha256 }),
                };
                (name(MEMBERS[by], "service", "ehr"), action)
            }
            Step::Death { by, patient, withdrawn } => {
                let death = pb::AttestDeath { patient: id(patient), evidence_sha256, withdrawn };
                (name(MEMBERS[by], "service", "ehr"), Action::AttestDeath(death))
            }
            Step::Later { ms } => {
                self.ledger.block_at(now + ms, &[], &Observed::default());
                return;
            }
        };
        self.submit(&by, vec![action], Vec::new());
    }

    fn row<M: Message + Default>(&self, key: &[u8]) -> M {
        self.ledger.store.message(Table::State, key).unwrap_or_default()
    }

    /// What is decided where all consents are read and all are asked.
    fn decide_by_all(&self, reader: &SpiffeId, patient: u8, (custodian, record): (&str, u8)) -> Decided {
        let kept = Kept::load(&self.ledger.store).unwrap();
        let custodians = kept.custodians(custodian);
        let author = name(custodian, "service", "ehr");
        let record = RecordFacts {
            id: RecordId([record; 16]),
            kind: "Observation",
            confidentiality: Confidentiality::Normal,
            custodian,
            author: &author,
            tags: &[],
            restricted: false,
        };
        let time = TimeMs(self.now());
        let asked = Asked { reader, purpose: Purpose::Treat, project: None, time, record: &record };
        let state: PatientState = self.row(&keys::patient(&PatientPseudonym([patient; 16])));
        let mut linked = state.links.iter().filter(|link| link.member == custodian && link.to_height == 0);
        let other = linked.next().map(|_| 3 - patient);
        let mut words = Vec::new();
        for pseudonym in [Some(patient), other].into_iter().flatten().map(|n| PatientPseudonym([n; 16])) {
            let state: PatientState = self.row(&keys::patient(&pseudonym));
            let list: ConsentListState = self.row(&keys::consent_list(&pseudonym));
            for entry in list.consents {
                let id = ConsentId::parse("id", &entry.consent_id).unwrap();
                let consent: ConsentState = self.row(&keys::consent(&id));
                let grant = Grant::parse(consent.grant.as_ref().unwrap()).unwrap();
                if grant.period.contains(time) && custodians.reach(&consent, &state).is_some() {
                    words.push((grant.says(&asked), (id, consent.version)));
                }
            }
        }
        let (consent, by) = strongest(words.into_iter(), ConsentBase::BreakGlassOnly, &asked);
        let facts = Facts {
            reader,
            overdue_reviews: 0,
            kind: AccessKind::Read,
            purpose: Purpose::Treat,
            record,
            accepted_as: None,
            under_care: true,
            consent,
            emergency: false,
            emergency_forbidden: false,
        };
        let ground = Rules.decide(None, &facts).unwrap();
        let by = by.filter(|_| matches!(ground, Ground::Consent | Ground::ConsentDenies));
        Decided { ground, consent: by }
    }

    fn check_decisions(&self) {
        for reader in [name(A, "clinician", "c2"), name(B, "clinician", "c2")].map(|name| name.parse().unwrap()) {
            for patient in [1, 2] {
                let mut decider = Decider::new(&self.ledger.store, &Rules, reading(self, &reader, patient)).unwrap();
                for (member, record) in [(A, patient), (B, patient + 10), (A, patient)] {
                    let id = RecordId([record; 16]);
                    let (decided, _) = decider.decide(&self.ledger.store, &id, 0).unwrap();
                    let expected = self.decide_by_all(&reader, patient, (member, record));
                    assert_eq!(decided, expected, "{reader} reads {record} of {patient}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_consents_that_are_read_decide_as_all_would(steps in prop::collection::vec(step(), 1..50)) {
        let mut w = World::new();
        let register = pb::RegisterPatient { patient: id(2), lookups_sha256: Vec::new() };
        w.by(B, "service", "ehr", Action::RegisterPatient(register));
        for (member, record, patient) in [(A, 1, 1), (A, 2, 2), (B, 11, 1), (B, 12, 2)] {
            w.write(member, record, |write| write.patient = id(patient));
        }
        for patient in [1, 2] {
            for member in [A, B] {
                let care = pb::AttestCare {
                    patient: id(patient),
                    to_ms: w.now() + 300 * DAY,
                    evidence_sha256: vec![2; 32].into(),
                };
                w.by(member, "service", "ehr", Action::AttestCare(care));
            }
        }
        for step in &steps {
            w.take(step);
            w.check_decisions();
        }
    }
}
