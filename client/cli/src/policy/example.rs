//! Example requests in a file: what somebody asks for, and what is expected to be decided of it.
//! They are made up; none of it is about a person.

use std::path::Path;

use consilium_client::files;
use consilium_policy::{Policies, RecursionFault};
use consilium_proto::access::{Facts, RecordFacts, permits};
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::pb::{AccessGround as Ground, AccessKind, Confidentiality, PatientRelation, PurposeOfUse};
use serde::{Deserialize, Deserializer, de};

use crate::CliError;
use crate::words::{parse_level, parse_purpose};

/// That come with the program: every rule of the default policy decides at least one.
pub(super) const DEFAULT_EXAMPLES: &str = include_str!("examples.json");

/// Whom the examples mean, where nothing else is said of it.
const READER: &str = "reader";
const READING_PATIENT: &str = "00112233445566778899aabbccddeeff";
const WRITER: &str = "writer";
const RECORD: RecordId = RecordId([0xee; 16]);
/// What names of grounds begin with in access.proto.
const GROUND_PREFIX: &str = "ACCESS_GROUND_";

/// A file of examples.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Examples {
    pub(super) examples: Vec<Example>,
}

/// A request, and what is expected.
#[derive(Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Example {
    /// A sentence for people.
    pub(super) name: String,
    reader: SpiffeId,
    author: String,
    written: Written,
    pub(super) expected: Expected,
}

/// What should come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) permit: bool,
    /// `None`: on whatever ground.
    pub(super) ground: Option<Ground>,
}

/// An example as it is written down: docs/access-policy.md.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    reader: Reader,
    #[serde(default)]
    action: Action,
    #[serde(deserialize_with = "purpose")]
    purpose: PurposeOfUse,
    record: Record,
    #[serde(default)]
    patient: Patient,
    #[serde(default)]
    consent: Consent,
    #[serde(default)]
    emergency: Emergency,
    expect: Outcome,
    #[serde(default, deserialize_with = "ground")]
    ground: Option<Ground>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reader {
    #[serde(deserialize_with = "parsed")]
    member: MemberId,
    #[serde(deserialize_with = "parsed")]
    role: Role,
    #[serde(default)]
    overdue_reviews: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(deserialize_with = "parsed")]
    custodian: MemberId,
    kind: String,
    #[serde(default = "normal", deserialize_with = "level")]
    confidentiality: Confidentiality,
    #[serde(default)]
    written_by_reader: bool,
    #[serde(default)]
    restricted: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patient {
    #[serde(default)]
    relation: Relation,
    #[serde(default)]
    under_care: bool,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Relation {
    #[default]
    None,
    #[serde(rename = "self")]
    Self_,
    Guardian,
    Proxy,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    Read,
    Query,
    History,
    Export,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Consent {
    #[default]
    None,
    Permit,
    PermitByName,
    PermitByBase,
    DenyByBase,
    DenyAll,
    DenyByRule,
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Emergency {
    #[default]
    None,
    Declared,
    /// Declared, and a consent forbids even that.
    Forbidden,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Permit,
    Deny,
}

/// Reads the examples of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Example>, CliError> {
    parse(&files::read_text(path)?).map_err(|e| CliError::failed(format!("{}: {e}", path.display())))
}

/// Parses examples.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub(super) fn parse(text: &str) -> Result<Vec<Example>, serde_json::Error> {
    let file: Examples = serde_json::from_str(text)?;
    match file.examples.is_empty() {
        true => Err(de::Error::custom("there is no example in it")),
        false => Ok(file.examples),
    }
}

impl Example {
    /// The facts that are put to the policy.
    pub(super) fn facts(&self) -> Facts<'_> {
        let Written { reader, action, purpose, record, patient, consent, emergency, .. } = &self.written;
        Facts {
            reader: &self.reader,
            overdue_reviews: reader.overdue_reviews,
            kind: (*action).into(),
            purpose: *purpose,
            record: RecordFacts {
                id: RECORD,
                kind: &record.kind,
                confidentiality: record.confidentiality,
                custodian: record.custodian.as_str(),
                author: &self.author,
                // For consents, whose answer the example names.
                tags: &[],
                restricted: record.restricted,
            },
            accepted_as: patient.relation.into(),
            under_care: patient.under_care,
            consent: (*consent).into(),
            emergency: !matches!(emergency, Emergency::None),
            emergency_forbidden: matches!(emergency, Emergency::Forbidden),
        }
    }
}

impl Example {
    /// Expects what a policy decides of it.
    ///
    /// # Errors
    /// A fault of this machine.
    pub(super) fn expect_as(&mut self, policies: &Policies) -> Result<(), RecursionFault> {
        let ground = policies.decide(&self.facts())?;
        self.expected = Expected { permit: permits(ground), ground: Some(ground) };
        Ok(())
    }
}

impl Expected {
    /// Whether a decision is the expected one.
    pub(super) fn is_met_by(self, decided: Ground) -> bool {
        permits(decided) == self.permit && self.ground.is_none_or(|ground| ground == decided)
    }
}

impl TryFrom<Written> for Example {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let name = written.name.clone();
        let within = |what: &str| format!("example {name:?}: {what}");
        let Written { reader, record, expect, ground, .. } = &written;
        let expected = Expected { permit: matches!(expect, Outcome::Permit), ground: *ground };
        if ground.is_some_and(|ground| permits(ground) != expected.permit) {
            return Err(within("the ground is not one on which that is decided: compare expect and ground"));
        }
        if record.written_by_reader && reader.member != record.custodian {
            return Err(within("the author of a record is of the member that is its custodian"));
        }
        let local_name = if reader.role == Role::Patient { READING_PATIENT } else { READER };
        let id = |member: &MemberId, role, name: &str| {
            SpiffeId::new(member.clone(), role, name).map_err(|e| within(&e.to_string()))
        };
        let reader = id(&reader.member, reader.role, local_name)?;
        let writer = id(&record.custodian, Role::Service, WRITER)?;
        let author = if record.written_by_reader { reader.to_string() } else { writer.to_string() };
        Ok(Self { name, reader, author, written, expected })
    }
}

impl From<Action> for AccessKind {
    fn from(action: Action) -> Self {
        match action {
            Action::Read => Self::Read,
            Action::Query => Self::Query,
            Action::History => Self::History,
            Action::Export => Self::Export,
        }
    }
}

impl From<Relation> for Option<PatientRelation> {
    fn from(relation: Relation) -> Self {
        match relation {
            Relation::None => None,
            Relation::Self_ => Some(PatientRelation::Self_),
            Relation::Guardian => Some(PatientRelation::Guardian),
            Relation::Proxy => Some(PatientRelation::Proxy),
        }
    }
}

impl From<Consent> for Said {
    fn from(consent: Consent) -> Self {
        match consent {
            Consent::None => Self::Nothing,
            Consent::Permit => Self::Permits { by_name: false },
            Consent::PermitByName => Self::Permits { by_name: true },
            Consent::PermitByBase => Self::BasePermits,
            Consent::DenyByBase => Self::BaseDenies,
            Consent::DenyAll => Self::AllDenied,
            Consent::DenyByRule => Self::RuleDenies,
        }
    }
}

const fn normal() -> Confidentiality {
    Confidentiality::Normal
}

fn parsed<'de, D: Deserializer<'de>, T: std::str::FromStr<Err: std::fmt::Display>>(input: D) -> Result<T, D::Error> {
    String::deserialize(input)?.parse().map_err(de::Error::custom)
}

fn purpose<'de, D: Deserializer<'de>>(input: D) -> Result<PurposeOfUse, D::Error> {
    parse_purpose(&String::deserialize(input)?).map_err(de::Error::custom)
}

fn level<'de, D: Deserializer<'de>>(input: D) -> Result<Confidentiality, D::Error> {
    parse_level(&String::deserialize(input)?).map_err(de::Error::custom)
}

fn ground<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Ground>, D::Error> {
    let name = String::deserialize(input)?;
    let known = Ground::from_str_name(&format!("{GROUND_PREFIX}{name}")).filter(|ground| match ground {
        // A policy never answers these.
        Ground::Unspecified | Ground::Each | Ground::NotFound => false,
        _ => true,
    });
    known.map(Some).ok_or_else(|| de::Error::custom(format!("{name:?} is no ground such as CONSENT or POLICY")))
}

/// A ground, as examples name it.
pub(super) fn ground_name(ground: Ground) -> &'static str {
    ground.as_str_name().trim_start_matches(GROUND_PREFIX)
}
