//! What hospitals, patients and readers do: patients are registered, accepted, linked and said to
//! have died, salts put, consents put and withdrawn, also by label, emergencies declared and reviewed, records read, listed
//! and disclosed, petitions opened and answered, and keys wrapped by custodians and deputies, also
//! where that is not permitted, or not any more.
//!
//! All of it is about three patients of the first two members, the hospitals. What somebody
//! signs is drawn; what comes of it is for the rules.

mod custody;
mod duties;
mod labels;
mod patients;
mod reading;

use bytes::Bytes;
use consilium_kit::Rng;
use consilium_ledger::keys;
use consilium_proto::hash::sha256;
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb::{self, PetitionKind, action::Action};

use crate::disk::LedgerStore;
use crate::fixture::{CUSTODIANS, Fixture, HOSPITALS, member_id, spiffe_id};

/// Patients who are registered. One more is asked for and is not.
const PATIENTS: u64 = 3;

/// What somebody signs.
#[derive(Debug)]
pub struct Deed {
    /// SPIFFE id of who does.
    pub by: String,
    /// What.
    pub actions: Vec<Action>,
    /// Contents.
    pub attachments: Vec<Bytes>,
}

impl Deed {
    fn new(by: &str, action: Action) -> Self {
        Self { by: by.to_owned(), actions: vec![action], attachments: Vec::new() }
    }
}

/// What somebody who does something sees: a ledger and a clock.
pub struct Scene<'a> {
    /// Who there is.
    pub fixture: &'a Fixture,
    /// Of a node that is furthest on.
    pub ledger: &'a LedgerStore,
    /// Wall clock.
    pub now_ms: u64,
}

/// Member, role and name.
type Person = (u64, &'static str, &'static str);

/// A record that somebody has written, or tried to.
#[derive(Clone, Debug)]
struct Written {
    id: Bytes,
    patient: u64,
    member: u64,
    labelled: bool,
}

/// An emergency that somebody has declared, or tried to.
#[derive(Clone, Debug)]
struct Declared {
    id: Bytes,
    reader: Person,
    patient: u64,
}

/// A disclosure, likewise.
#[derive(Clone, Debug)]
struct Disclosed {
    id: Bytes,
    by: Person,
    patient: u64,
    /// None: all of them.
    records: Vec<Bytes>,
}

/// A petition, likewise.
#[derive(Clone, Debug)]
struct Petitioned {
    id: Bytes,
    by: String,
    member: u64,
    patient: u64,
    kind: PetitionKind,
    record: Option<pb::VersionRef>,
}

/// See the module.
#[derive(Debug)]
pub struct Care {
    rng: Rng,
    /// Everything that is named has a number of its own.
    named: u64,
    records: Vec<Written>,
    /// Consents with those who signed them.
    consents: Vec<(Bytes, String)>,
    emergencies: Vec<Declared>,
    disclosures: Vec<Disclosed>,
    petitions: Vec<Petitioned>,
    /// The hospital that has left.
    left: Option<u64>,
}

/// Does something.
type Doing = fn(&mut Care, &Scene<'_>) -> Deed;

/// What somebody may do, and how often that comes up.
const DEEDS: [(u64, Doing); 26] = [
    (150, |care, _| care.ask()),
    (200, |care, _| care.ask_labelled()),
    (90, |care, _| care.ask_in_emergency()),
    (40, Care::ask_sealed),
    (65, |care, _| care.declare()),
    (35, |care, _| care.review()),
    (75, |care, scene| care.consent(scene.now_ms)),
    (130, Care::consent_by_label),
    (50, |care, scene| care.put_salt(scene.ledger)),
    (50, |care, _| care.revoke()),
    (40, |care, _| care.accept()),
    (20, |care, _| care.assign_unit()),
    (25, |care, scene| care.attest_care(scene.now_ms)),
    (15, |care, _| care.attest_death()),
    (25, |care, _| care.link()),
    (60, Care::write),
    (150, |care, scene| care.answer(scene.ledger)),
    (45, |care, scene| care.rewrap(scene.ledger)),
    (45, |care, scene| care.owe(scene.ledger)),
    (20, |care, _| care.rotate()),
    (40, |care, _| care.name_deputy()),
    (5, |care, _| care.accept_custody()),
    (45, |care, scene| care.disclose(scene.now_ms)),
    (60, Care::confirm),
    (35, Care::petition),
    (40, Care::answer_petition),
];

fn of((member, role, name): Person) -> String {
    spiffe_id(member, role, name)
}

/// The pseudonym of a patient.
#[must_use]
pub fn pseudonym(patient: u64) -> PatientPseudonym {
    let mut id = [0xa0; 16];
    id[8..].copy_from_slice(&patient.to_be_bytes());
    PatientPseudonym(id)
}

fn patient(number: u64) -> Bytes {
    Bytes::copy_from_slice(&pseudonym(number).0)
}

/// A commitment to contents.
fn hash_of(contents: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&sha256(&[contents]))
}

impl Care {
    /// Nobody has done anything.
    #[must_use]
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            named: 0,
            records: Vec::new(),
            consents: Vec::new(),
            emergencies: Vec::new(),
            disclosures: Vec::new(),
            petitions: Vec::new(),
            left: None,
        }
    }

    /// What somebody does next. What everything else needs comes first.
    pub fn next(&mut self, scene: &Scene<'_>) -> Deed {
        let left = |member: &u64| {
            let state: Option<pb::MemberState> = scene.ledger.message(&keys::member(&member_id(*member)));
            state.is_some_and(|state| state.status() == pb::MemberStatus::Removed)
        };
        self.left = (1..=HOSPITALS).find(left);
        if let Some(first) = self.missing(scene).filter(|_| self.rng.chance(700)) {
            return first;
        }
        let mut drawn = self.rng.below(DEEDS.iter().map(|(weight, _)| weight).sum());
        for (weight, deed) in DEEDS {
            if drawn < weight {
                return deed(self, scene);
            }
            drawn -= weight;
        }
        self.ask()
    }

    /// What is not there yet: custodians, and patients with a record each.
    fn missing(&mut self, scene: &Scene<'_>) -> Option<Deed> {
        for member in 1..=HOSPITALS {
            let custodian = spiffe_id(member, "service", CUSTODIANS[0]);
            let enrolled = scene.ledger.message::<pb::IdentityState>(&keys::identity(&custodian)).is_some();
            let custody = scene.ledger.message::<pb::CustodyState>(&keys::custody(&member_id(member)));
            if enrolled && custody.is_none() {
                return Some(custody::set_key(member, CUSTODIANS[0]));
            }
        }
        // All are registered by the first one.
        if self.left == Some(1) {
            return None;
        }
        let registered = |number: u64| scene.ledger.message::<pb::PatientState>(&keys::patient(&pseudonym(number)));
        let number = (1..=PATIENTS).find(|number| registered(*number).is_none())?;
        Some(self.register(scene, number))
    }

    fn id(&mut self) -> Bytes {
        self.named += 1;
        [&[0xc0; 8][..], &self.named.to_be_bytes()].concat().into()
    }

    fn any_patient(&mut self) -> u64 {
        self.rng.range(1, PATIENTS)
    }

    /// Seldom one that has left.
    fn any_hospital(&mut self) -> u64 {
        let member = self.rng.range(1, HOSPITALS);
        if self.left == Some(member) && self.rng.chance(800) { HOSPITALS + 1 - member } else { member }
    }

    /// One of a few that are never none.
    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize]
    }

    /// Something in words, that is attached.
    fn text(&mut self) -> Bytes {
        self.named += 1;
        Bytes::from(format!("text {}", self.named))
    }

    fn write(&mut self, scene: &Scene<'_>) -> Deed {
        let member = if self.left.is_none() && self.rng.chance(600) { 1 } else { self.any_hospital() };
        let number = self.any_patient();
        let salts = labels::salts_of(scene.ledger, member, number);
        let (action, attachments) = self.record((scene, member, number), &salts);
        Deed { attachments, ..Deed::new(&spiffe_id(member, "service", "x"), action) }
    }

    /// A record of a member, of a patient, perhaps with labels under one of these salts.
    fn record(&mut self, (scene, member, number): (&Scene<'_>, u64, u64), salts: &[Bytes]) -> (Action, Vec<Bytes>) {
        let id = self.id();
        let (action, contents) = scene.fixture.written(member, (&id, &patient(number)), self.named);
        let policy_tags = self.labels(salts);
        self.records.push(Written { id, patient: number, member, labelled: !policy_tags.is_empty() });
        let Action::WriteRecord(write) = action else { return (action, contents) };
        (Action::WriteRecord(pb::WriteRecord { policy_tags, ..write }), contents)
    }
}
