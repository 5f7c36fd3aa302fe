//! Facts that own what they speak of, and their form in a line of the corpus.

use std::fmt;
use std::str::FromStr;

use consilium_proto::access::{Facts, RecordFacts};
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessKind, Confidentiality, PatientRelation, PurposeOfUse};
use consilium_proto::purpose;

pub(crate) const CUSTODIAN: &str = "st-mary.example";
pub(crate) const FOREIGN: &str = "lakeside.example";
pub(crate) const EHR: &str = "spiffe://st-mary.example/service/ehr";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) reader: SpiffeId,
    pub(crate) overdue: u64,
    pub(crate) kind: AccessKind,
    pub(crate) purpose: PurposeOfUse,
    pub(crate) confidentiality: Confidentiality,
    pub(crate) author: String,
    pub(crate) restricted: bool,
    pub(crate) accepted_as: Option<PatientRelation>,
    pub(crate) under_care: bool,
    pub(crate) consent: Said,
    pub(crate) emergency: bool,
    pub(crate) emergency_forbidden: bool,
}

impl Case {
    /// A reader whom nothing speaks for.
    pub(crate) fn new(member: &str, role: Role, purpose: PurposeOfUse) -> Self {
        let name = if role == Role::Patient { "00112233445566778899aabbccddeeff" } else { "n-4711" };
        Self {
            reader: SpiffeId::new(member.parse().unwrap(), role, name).unwrap(),
            overdue: 0,
            kind: AccessKind::Read,
            purpose,
            confidentiality: Confidentiality::Normal,
            author: EHR.to_owned(),
            restricted: false,
            accepted_as: None,
            under_care: false,
            consent: Said::Nothing,
            emergency: false,
            emergency_forbidden: false,
        }
    }

    pub(crate) fn facts(&self) -> Facts<'_> {
        Facts {
            reader: &self.reader,
            overdue_reviews: self.overdue,
            kind: self.kind,
            purpose: self.purpose,
            record: RecordFacts {
                id: RecordId([0xab; 16]),
                kind: "Observation",
                confidentiality: self.confidentiality,
                custodian: CUSTODIAN,
                author: &self.author,
                tags: &[],
                restricted: self.restricted,
            },
            accepted_as: self.accepted_as,
            under_care: self.under_care,
            consent: self.consent,
            emergency: self.emergency,
            emergency_forbidden: self.emergency_forbidden,
        }
    }
}

pub(crate) const KINDS: [(AccessKind, &str); 4] = [
    (AccessKind::Read, "read"),
    (AccessKind::Query, "query"),
    (AccessKind::History, "history"),
    (AccessKind::Export, "export"),
];
pub(crate) const LEVELS: [(Confidentiality, &str); 6] = [
    (Confidentiality::Unrestricted, "U"),
    (Confidentiality::Low, "L"),
    (Confidentiality::Moderate, "M"),
    (Confidentiality::Normal, "N"),
    (Confidentiality::Restricted, "R"),
    (Confidentiality::VeryRestricted, "V"),
];
pub(crate) const RELATIONS: [(Option<PatientRelation>, &str); 4] = [
    (None, "no"),
    (Some(PatientRelation::Self_), "self"),
    (Some(PatientRelation::Guardian), "guardian"),
    (Some(PatientRelation::Proxy), "proxy"),
];
pub(crate) const CONSENTS: [(Said, &str); 7] = [
    (Said::Nothing, "none"),
    (Said::Permits { by_name: false }, "permit"),
    (Said::Permits { by_name: true }, "permitByName"),
    (Said::BasePermits, "permitByBase"),
    (Said::BaseDenies, "denyByBase"),
    (Said::AllDenied, "denyAll"),
    (Said::RuleDenies, "denyByRule"),
];

fn word<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(other, _)| other == value).unwrap().1
}

fn value<T: Copy>(table: &[(T, &'static str)], word: &str) -> T {
    table.iter().find(|(_, other)| *other == word).unwrap().0
}

/// The columns of the corpus up to the answers, with one blank between.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} {} {} {} {} {} {}",
            self.reader,
            self.overdue,
            word(&KINDS, &self.kind),
            purpose::code(self.purpose),
            word(&LEVELS, &self.confidentiality),
            self.author,
            self.restricted,
            word(&RELATIONS, &self.accepted_as),
            self.under_care,
            word(&CONSENTS, &self.consent),
            self.emergency,
            self.emergency_forbidden
        )
    }
}

impl FromStr for Case {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let columns: Vec<&str> = line.split(' ').collect();
        let [reader, overdue, kind, purpose, level, author, restricted, accepted, care, consent, emergency, forbidden] =
            columns.try_into().map_err(|_| ())?;
        Ok(Self {
            reader: reader.parse().unwrap(),
            overdue: overdue.parse().unwrap(),
            kind: value(&KINDS, kind),
            purpose: purpose::of_code(purpose).unwrap(),
            confidentiality: value(&LEVELS, level),
            author: author.to_owned(),
            restricted: restricted.parse().unwrap(),
            accepted_as: value(&RELATIONS, accepted),
            under_care: care.parse().unwrap(),
            consent: value(&CONSENTS, consent),
            emergency: emergency.parse().unwrap(),
            emergency_forbidden: forbidden.parse().unwrap(),
        })
    }
}
