//! Versions that the policy cannot tell apart: it is asked about them once in a request. What a
//! request is decided by depends on its facts alone, so that this changes no decision, only how
//! long it takes.

use std::collections::BTreeMap;

use consilium_proto::access::{Facts, PolicyRules, RecordFacts};
use consilium_proto::consent::Said;
use consilium_proto::ids::{PolicyTag, RecordId};
use consilium_proto::pb::{AccessGround, Confidentiality, PatientRelation};

use crate::view::StoreFault;

/// Decides by a policy, and keeps what it has said in one request.
pub(super) struct Answers<'a> {
    policy: &'a dyn PolicyRules,
    /// The policy in force; `None`: the default one.
    text: Option<String>,
    /// Whether the policy may tell records apart of which all the rest is the same.
    names_records: bool,
    given: BTreeMap<Alike, AccessGround>,
}

impl<'a> Answers<'a> {
    pub(super) fn of(policy: &'a dyn PolicyRules, text: Option<String>) -> Self {
        let names_records = policy.names_records(text.as_deref());
        Self { policy, text, names_records, given: BTreeMap::new() }
    }

    /// What the policy decides of a version. All facts must be of one request.
    pub(super) fn decide(&mut self, facts: &Facts<'_>) -> Result<AccessGround, StoreFault> {
        let alike = Alike::of(facts, self.names_records);
        if let Some(ground) = self.given.get(&alike) {
            return Ok(*ground);
        }
        let ground = self.policy.decide(self.text.as_deref(), facts)?;
        self.given.insert(alike, ground);
        Ok(ground)
    }
}

/// The facts in which versions of one patient differ within a request.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    /// `None`: the policy names no record.
    id: Option<RecordId>,
    kind: String,
    confidentiality: Confidentiality,
    custodian: String,
    author: String,
    tags: Vec<PolicyTag>,
    restricted: bool,
    accepted_as: Option<PatientRelation>,
    consent: Said,
    emergency_forbidden: bool,
}

impl Alike {
    fn of(facts: &Facts<'_>, names_records: bool) -> Self {
        let Facts { record, accepted_as, consent, emergency_forbidden, .. } = *facts;
        // What is left out is the request's, or the patient's. All of the record is named.
        let RecordFacts { id, kind, confidentiality, custodian, author, tags, restricted } = record;
        Self {
            id: names_records.then_some(id),
            kind: kind.to_owned(),
            confidentiality,
            custodian: custodian.to_owned(),
            author: author.to_owned(),
            tags: tags.to_vec(),
            restricted,
            accepted_as,
            consent,
            emergency_forbidden,
        }
    }
}

#[cfg(test)]
mod tests;
