//! Which accesses somebody should look at, and why. A match is a reason to ask, and no finding: a
//! neighbour may well be the doctor on duty.

use std::collections::{BTreeMap, BTreeSet};

use consilium_client::access_log::{AccessEvent, ProvenDecision};
use consilium_proto::ids::PatientPseudonym;
use consilium_proto::pb::{AccessGround, CareState, PurposeOfUse};
use consilium_proto::purpose;

use super::Care;
use super::people::People;

const DAY_MS: u64 = 24 * 3_600_000;

/// Why somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exception {
    OwnRecords,
    Colleague,
    FamilyName,
    SameHouse,
    SameStreet,
    Vip,
    Volume,
    OutOfCare,
    Emergency,
    Late,
    Denied,
    NoSuchPatient,
}

impl Exception {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::OwnRecords => "own-records",
            Self::Colleague => "colleague",
            Self::FamilyName => "family-name",
            Self::SameHouse => "same-house",
            Self::SameStreet => "same-street",
            Self::Vip => "vip",
            Self::Volume => "volume",
            Self::OutOfCare => "out-of-care",
            Self::Emergency => "emergency",
            Self::Late => "late",
            Self::Denied => "denied",
            Self::NoSuchPatient => "no-such-patient",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::OwnRecords => "the patient is the reader",
            Self::Colleague => "the patient is of the staff",
            Self::FamilyName => "reader and patient have the same family name",
            Self::SameHouse => "reader and patient have the same address",
            Self::SameStreet => "reader and patient live in the same street",
            Self::Vip => "the patient is marked as of public interest",
            Self::Volume => "the reader has asked for unusually many patients on this day",
            Self::OutOfCare => "to treat, but no care of this member was attested for that time",
            Self::Emergency => "in a declared emergency",
            Self::Late => "while the network was down, and entered late",
            Self::Denied => "it was denied",
            Self::NoSuchPatient => "there is no such patient",
        }
    }
}

/// Judges accesses, each with what is known of all of them.
pub(super) struct Reviewer<'a> {
    people: &'a People,
    care: &'a Care,
    volume: usize,
    /// Patients by reader and day.
    patients: BTreeMap<(String, u64), BTreeSet<PatientPseudonym>>,
}

impl<'a> Reviewer<'a> {
    pub(super) fn new(all: &[ProvenDecision], people: &'a People, care: &'a Care, volume: usize) -> Self {
        let mut patients: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for event in all.iter().map(|decision| &decision.event) {
            patients.entry(day_of(event)).or_default().insert(event.patient);
        }
        Self { people, care, volume, patients }
    }

    /// Why somebody should look at an access; none: nothing is exceptional about it.
    pub(super) fn exceptions(&self, decision: &ProvenDecision) -> Vec<Exception> {
        let event = &decision.event;
        let many = self.patients.get(&day_of(event)).is_some_and(|patients| patients.len() >= self.volume);
        let others = [
            (Exception::Vip, self.people.patient(event.patient).is_some_and(|patient| patient.vip)),
            (Exception::Volume, many),
            (Exception::OutOfCare, !decision.unmatched && self.is_out_of_care(event)),
            (Exception::Emergency, event.emergency.is_some()),
            (Exception::Late, event.late.is_some()),
            (Exception::NoSuchPatient, decision.unmatched),
            (Exception::Denied, !decision.unmatched && !event.permits()),
        ];
        let others = others.into_iter().filter_map(|(exception, is_so)| is_so.then_some(exception));
        self.personal(event).into_iter().chain(others).collect()
    }

    /// What the file of people tells of reader and patient.
    fn personal(&self, event: &AccessEvent) -> Vec<Exception> {
        let reader = self.people.staff(&event.reader.to_string());
        if reader.is_some_and(|reader| reader.pseudonym == Some(event.patient)) {
            return vec![Exception::OwnRecords];
        }
        let mut found = Vec::new();
        if self.people.is_colleague(event.patient) {
            found.push(Exception::Colleague);
        }
        let Some((reader, patient)) = reader.zip(self.people.patient(event.patient)) else { return found };
        if reader.has_family_name_of(patient) {
            found.push(Exception::FamilyName);
        }
        if reader.lives_in_house_of(patient) {
            found.push(Exception::SameHouse);
        } else if reader.lives_in_street_of(patient) {
            found.push(Exception::SameStreet);
        }
        found
    }

    /// Read to treat on the ground of being of the house, while nobody had attested care. A care
    /// relation that was attested anew since then hides what was said before, and counts as care.
    fn is_out_of_care(&self, event: &AccessEvent) -> bool {
        let by_house = |d: &consilium_client::access_log::Decision| match d.ground {
            AccessGround::Custodian | AccessGround::Author => true,
            // A query is decided record by record.
            AccessGround::Each => true,
            _ => false,
        };
        let treats = purpose::covers(PurposeOfUse::Treat, event.purpose);
        let cared = |care: &CareState| event.height.0 < care.height || event.time.0 < care.to_ms;
        let care = self.care.get(&event.patient).and_then(Option::as_ref);
        treats && event.decisions.iter().any(by_house) && !care.is_some_and(cared)
    }
}

fn day_of(event: &AccessEvent) -> (String, u64) {
    (event.reader.to_string(), event.time.0 / DAY_MS)
}
