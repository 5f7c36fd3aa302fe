//! Staff and patients of a member, from a file that never leaves its machine.

use std::collections::BTreeMap;
use std::path::Path;

use consilium_client::files;
use consilium_proto::ids::PatientPseudonym;
use serde::{Deserialize, Deserializer, de};

use crate::CliError;

/// Largest file, bytes: some hundred thousand people.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Who is who. Not `Debug`: it has names.
#[derive(Default)]
pub(super) struct People {
    staff: BTreeMap<String, Person>,
    patients: BTreeMap<PatientPseudonym, Person>,
}

/// What is compared of a person.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    family_name: Option<Folded>,
    street: Option<(Folded, Folded)>,
    house: Option<Folded>,
    /// Of the staff: the pseudonym as a patient. Of a patient: its own.
    pub(super) pseudonym: Option<PatientPseudonym>,
    pub(super) vip: bool,
}

/// Text without what people write one way or the other: case, blanks and signs.
#[derive(Clone, PartialEq, Eq)]
struct Folded(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    staff: Vec<WrittenStaff>,
    #[serde(default)]
    patients: Vec<WrittenPatient>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStaff {
    identity: String,
    #[serde(default)]
    family_name: Option<String>,
    #[serde(default)]
    address: Option<WrittenAddress>,
    #[serde(default, deserialize_with = "own_pseudonym")]
    patient: Option<PatientPseudonym>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPatient {
    #[serde(deserialize_with = "pseudonym")]
    pseudonym: PatientPseudonym,
    #[serde(default)]
    family_name: Option<String>,
    #[serde(default)]
    address: Option<WrittenAddress>,
    #[serde(default)]
    vip: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenAddress {
    postal_code: String,
    street: String,
    #[serde(default)]
    house: Option<String>,
}

impl People {
    /// Reads the file, if nobody but its owner can.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let text = files::read_private(path, FILE_BYTES_MAX)?;
        Self::parse(&text).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))
    }

    /// # Errors
    /// Where the file is wrong; never what stands there.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let wrong = |e: serde_json::Error| format!("line {}, column {}: not as the manual says", e.line(), e.column());
        let written: Written = serde_json::from_slice(text).map_err(wrong)?;
        let staff = written.staff.into_iter().map(|w| (w.identity, Person::of(w.family_name, w.address, w.patient)));
        let patients = written
            .patients
            .into_iter()
            .map(|w| (w.pseudonym, Person { vip: w.vip, ..Person::of(w.family_name, w.address, Some(w.pseudonym)) }));
        Ok(Self { staff: staff.collect(), patients: patients.collect() })
    }

    pub(super) fn staff(&self, identity: &str) -> Option<&Person> {
        self.staff.get(identity)
    }

    pub(super) fn patient(&self, pseudonym: PatientPseudonym) -> Option<&Person> {
        self.patients.get(&pseudonym)
    }

    /// Whether a patient is one of the staff.
    pub(super) fn is_colleague(&self, pseudonym: PatientPseudonym) -> bool {
        self.staff.values().any(|person| person.pseudonym == Some(pseudonym))
    }
}

impl Person {
    fn of(family_name: Option<String>, address: Option<WrittenAddress>, pseudonym: Option<PatientPseudonym>) -> Self {
        let house = address.as_ref().and_then(|a| a.house.as_deref()).and_then(Folded::of);
        let street = address.and_then(|a| Folded::of(&a.postal_code).zip(Folded::of(&a.street)));
        Self { family_name: family_name.as_deref().and_then(Folded::of), street, house, pseudonym, vip: false }
    }

    pub(super) fn has_family_name_of(&self, other: &Self) -> bool {
        self.family_name.is_some() && self.family_name == other.family_name
    }

    pub(super) fn lives_in_street_of(&self, other: &Self) -> bool {
        self.street.is_some() && self.street == other.street
    }

    pub(super) fn lives_in_house_of(&self, other: &Self) -> bool {
        self.lives_in_street_of(other) && self.house.is_some() && self.house == other.house
    }
}

impl Folded {
    /// `None` if nothing is left to compare.
    fn of(text: &str) -> Option<Self> {
        let folded: String = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        (!folded.is_empty()).then_some(Self(folded))
    }
}

fn pseudonym<'de, D: Deserializer<'de>>(input: D) -> Result<PatientPseudonym, D::Error> {
    String::deserialize(input)?.parse().map_err(|_| de::Error::custom("is no pseudonym"))
}

fn own_pseudonym<'de, D: Deserializer<'de>>(input: D) -> Result<Option<PatientPseudonym>, D::Error> {
    pseudonym(input).map(Some)
}
