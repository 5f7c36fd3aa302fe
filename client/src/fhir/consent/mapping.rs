//! How the names of a hospital's FHIR documents become names of the ledger. A custodian keeps
//! the table in a file; what depends on a patient comes from functions of the caller.

use std::collections::BTreeMap;

use consilium_proto::consent::Grantee;
use consilium_proto::ids::{PolicyTag, RecordId};
use consilium_proto::names::{MemberId, Role, SpiffeId};
use consilium_proto::pb::ConsentBase;
use serde::Deserialize;

use super::policy;
use crate::fhir::{BaseUrlError, Home, Reference};

/// A function from a name to what the ledger knows it by.
pub type Lookup<'a, T> = Box<dyn Fn(&str) -> Option<T> + Send + Sync + 'a>;

/// A function from a sensitivity code to its tags, one under each salt.
pub type Labeller<'a> = Box<dyn Fn(&str) -> Vec<PolicyTag> + Send + Sync + 'a>;

/// The table and the functions. What is not in them is unknown: a permit that needs it is
/// refused, a denial goes without.
pub struct Mapping<'a> {
    home: Home,
    grantees: BTreeMap<String, Vec<Grantee>>,
    records: BTreeMap<String, RecordId>,
    policies: BTreeMap<String, ConsentBase>,
    record: Lookup<'a, RecordId>,
    label: Labeller<'a>,
    encounter: Lookup<'a, PolicyTag>,
}

/// Names of people, and what they map to.
impl std::fmt::Debug for Mapping<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapping")
            .field("member", &self.home.member())
            .field("grantees", &self.grantees.len())
            .field("records", &self.records.len())
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

/// A mapping file that cannot be used. Says where, not what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Neither TOML nor JSON of the documented form.
    #[error("the mapping file is no TOML or JSON of the documented form{}", line.map_or_else(String::new, |line| format!(" (line {line})")))]
    Malformed {
        /// Line of the fault, from 1, if known.
        line: Option<usize>,
    },
    /// A base URL of the member's own FHIR servers is none.
    #[error("fhir_base: {0}")]
    Base(#[from] BaseUrlError),
    /// The member is not a SPIFFE trust domain.
    #[error("member is not a SPIFFE trust domain")]
    Member,
    /// An entry that means nothing.
    #[error("{table}, entry {entry}: {problem}")]
    Entry {
        /// `grantees`, `records` or `policies`.
        table: &'static str,
        /// From 1, in ascending order of the names.
        entry: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    member: String,
    #[serde(default)]
    fhir_base: Vec<String>,
    #[serde(default)]
    grantees: BTreeMap<String, OneOrMore>,
    #[serde(default)]
    records: BTreeMap<String, String>,
    #[serde(default)]
    policies: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(list) => list,
        }
    }
}

impl<'a> Mapping<'a> {
    /// One that knows nothing but the ledger's own names and the policies of IHE PCF; ids that
    /// are not unique in the world are of `member`.
    #[must_use]
    pub fn new(member: MemberId) -> Self {
        Self {
            home: Home::new(member.to_string(), []),
            grantees: BTreeMap::new(),
            records: BTreeMap::new(),
            policies: BTreeMap::new(),
            record: Box::new(|_| None),
            label: Box::new(|_| Vec::new()),
            encounter: Box::new(|_| None),
        }
    }

    /// Reads a file, TOML or JSON; its form is in `docs/consents.md`.
    ///
    /// # Errors
    /// If it has another form, names one thing twice, or an entry means nothing.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        let file = parse_file(text)?;
        let member: MemberId = file.member.parse().map_err(|_| MappingError::Member)?;
        let bases = file.fhir_base.iter().map(|text| text.parse()).collect::<Result<Vec<_>, BaseUrlError>>()?;
        let mut out = Self::new(member.clone());
        out.home = Home::new(member.to_string(), bases);
        for (i, (name, grantees)) in file.grantees.iter().enumerate() {
            let problem = |problem| MappingError::Entry { table: "grantees", entry: i + 1, problem };
            let grantees: Option<Vec<_>> = grantees.as_slice().iter().map(|text| grantee(text)).collect();
            let grantees = grantees.filter(|list| !list.is_empty());
            let grantees = grantees.ok_or_else(|| problem("is no SPIFFE id, role@member or member"))?;
            if out.grantees.insert(out.canonical(name), grantees).is_some() {
                return Err(problem("names one twice"));
            }
        }
        for (i, (name, id)) in file.records.iter().enumerate() {
            let problem = |problem| MappingError::Entry { table: "records", entry: i + 1, problem };
            let id = id.parse().map_err(|_| problem("is no id of a record"))?;
            if out.records.insert(out.canonical(name), id).is_some() {
                return Err(problem("names one twice"));
            }
        }
        for (i, (uri, word)) in file.policies.into_iter().enumerate() {
            let problem = |problem| MappingError::Entry { table: "policies", entry: i + 1, problem };
            if policy::of_uri(&uri).is_some() {
                return Err(problem("is a policy of IHE PCF, which has its meaning"));
            }
            let base = policy::of_word(&word);
            let base = base.ok_or_else(|| problem("is none of basic-normal, all-normal, break-glass-only, deny"))?;
            out.policies.insert(uri, base);
        }
        Ok(out)
    }

    /// Whose ids the consent has.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// Asks `lookup` for records by their canonical reference where the table has none.
    #[must_use]
    pub fn with_records(mut self, lookup: impl Fn(&str) -> Option<RecordId> + Send + Sync + 'a) -> Self {
        self.record = Box::new(lookup);
        self
    }

    /// Asks `lookup` for the policy tags of a sensitivity code of v3-ActCode, such as `PSY`: one under
    /// each salt of the patient that is known.
    #[must_use]
    pub fn with_labels(mut self, lookup: impl Fn(&str) -> Vec<PolicyTag> + Send + Sync + 'a) -> Self {
        self.label = Box::new(lookup);
        self
    }

    /// Asks `lookup` for the policy tag of an encounter, a plan or an episode of care, by its
    /// canonical reference, under the patient's salt.
    #[must_use]
    pub fn with_encounters(mut self, lookup: impl Fn(&str) -> Option<PolicyTag> + Send + Sync + 'a) -> Self {
        self.encounter = Box::new(lookup);
        self
    }

    pub(super) fn canonical(&self, reference: &str) -> String {
        Reference::new(reference).canonical(&self.home)
    }

    /// Whom a canonical name means.
    pub(super) fn grantees(&self, name: &str) -> Option<&[Grantee]> {
        self.grantees.get(name).map(Vec::as_slice)
    }

    pub(super) fn record(&self, name: &str) -> Option<RecordId> {
        self.records.get(name).copied().or_else(|| (self.record)(name))
    }

    pub(super) fn label(&self, code: &str) -> Vec<PolicyTag> {
        (self.label)(code)
    }

    pub(super) fn encounter(&self, name: &str) -> Option<PolicyTag> {
        (self.encounter)(name)
    }

    pub(super) fn policy(&self, uri: &str) -> Option<ConsentBase> {
        policy::of_uri(uri).or_else(|| self.policies.get(uri).copied())
    }
}

/// `spiffe://member/role/name`, `role@member`, or a member (`spiffe://member`, too).
pub(super) fn grantee(text: &str) -> Option<Grantee> {
    if let Ok(id) = text.parse::<SpiffeId>() {
        return Some(Grantee::Identity(id));
    }
    if let Ok(member) = MemberId::from_uri(text) {
        return Some(Grantee::Member(member));
    }
    match text.split_once('@') {
        Some((role, member)) => Some(Grantee::Role(member.parse().ok()?, role.parse::<Role>().ok()?)),
        None => text.parse().ok().map(Grantee::Member),
    }
}

/// The readers' own messages may quote the file.
fn parse_file(text: &str) -> Result<File, MappingError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|e| MappingError::Malformed { line: Some(e.line()) });
    }
    toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
        MappingError::Malformed { line }
    })
}
