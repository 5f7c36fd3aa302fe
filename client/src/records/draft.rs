//! What an author wants to store, already blinded: the pseudonym instead of
//! the patient, tags instead of values. The plaintext is still in clear.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::envelope::{SearchKey, blind_tag};
use consilium_proto::ids::{PatientPseudonym, SearchTag};
use consilium_proto::limits::TAGS_MAX;
use consilium_proto::pb;

use crate::fhir::Resource;

/// One version of a record before encryption.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordDraft {
    /// Resource type or another document kind.
    pub kind: String,
    /// Who it is about.
    pub patient: PatientPseudonym,
    /// HL7 v3 Confidentiality.
    pub confidentiality: pb::Confidentiality,
    /// Strictly ascending, at most [`TAGS_MAX`].
    pub tags: Vec<SearchTag>,
    /// Sensitivity codes of v3-ActCode, such as `PSY`: blinded under the salt of the patient when
    /// it is sealed, so that consents can name them.
    pub labels: BTreeSet<&'static str>,
    /// The document, byte for byte.
    pub plaintext: Bytes,
}

impl RecordDraft {
    /// Blinds a FHIR resource about this patient, to whom its subject leads
    /// ([`crate::patients`]).
    #[must_use]
    pub fn from_resource(resource: &Resource, patient: PatientPseudonym, key: &SearchKey) -> Self {
        let blinded = resource.tags.iter().map(|tag| tag_of(key, tag.name, &tag.value));
        Self {
            kind: resource.kind.to_owned(),
            patient,
            confidentiality: resource.confidentiality,
            tags: ascending(blinded),
            // Of what is about no patient nobody could name them in a consent.
            labels: resource.labels.iter().filter(|_| resource.subject.patient().is_some()).copied().collect(),
            plaintext: resource.raw.clone(),
        }
    }

    /// A document that is not FHIR.
    #[must_use]
    pub fn document(kind: &str, patient: PatientPseudonym, plaintext: Bytes) -> Self {
        Self {
            kind: kind.to_owned(),
            patient,
            confidentiality: pb::Confidentiality::Normal,
            tags: Vec::new(),
            labels: BTreeSet::new(),
            plaintext,
        }
    }
}

impl std::fmt::Debug for RecordDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordDraft")
            .field("kind", &self.kind)
            .field("patient", &self.patient)
            .field("bytes", &self.plaintext.len())
            .finish_non_exhaustive()
    }
}

/// Names of the tags that the import gives records ([`crate::fhir`]).
pub const TAG_NAMES: [&str; 5] = ["id", "encounter", "category", "code", "identifier"];

/// The blinded form of a tag; names and values are listed in [`crate::fhir`].
#[must_use]
pub fn tag_of(key: &SearchKey, name: &str, value: &str) -> SearchTag {
    SearchTag(blind_tag(key, name, value.as_bytes()))
}

fn ascending(tags: impl Iterator<Item = SearchTag>) -> Vec<SearchTag> {
    let mut tags: Vec<_> = tags.take(TAGS_MAX).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}
