//! FHIR R4 JSON: taken apart into resources without changing a byte.
//!
//! What is signed, hashed and encrypted is the bytes as they stand in the
//! source file; nothing here re-serialises them (that would lose `1.00`, the
//! order of keys, and spacing). Steps: [`split`] finds the resources of a file
//! or a Bundle, [`mod@check`] holds each one against the base rules of R4, and
//! the facts that the ledger needs (kind, patient, confidentiality, search
//! tags) are read from it.
//!
//! This module knows no network and no keys: everything it reads is still in
//! clear, and blinding is done by [`crate::records`]. It must never put a value
//! of a document into an error or into `Debug`; errors name line and path only.
//!
//! # What a patient is called
//! The pseudonym of a patient is found by one string, the *subject* of a record
//! ([`crate::patients`]), so all records of a patient must arrive at the same one ([`Reference::canonical`]):
//!
//! | in the document | subject |
//! |---|---|
//! | `Patient/<uuid>`, `https://.../Patient/<uuid>`, `urn:uuid:<uuid>`, `URN:UUID:<UUID>` | `urn:uuid:<uuid>`, lower case |
//! | `Patient/123`, `/Patient/123`, `Patient/123/_history/2`, read by the member `a.example` | `a.example/Patient/123` |
//! | `https://ehr.a.example/fhir/Patient/123`, a base URL of the member's own ([`Home`]) | `a.example/Patient/123` |
//! | `HTTPS://Lab.example:443/fhir/Patient/123/`, another server | `https://lab.example/fhir/Patient/123` |
//! | `Patient?identifier=system%7Cvalue`, or a reference with only an `identifier` | `system\|value` |
//! | another search, `Patient?family=x&given=y` | `a.example/Patient?family=x&given=y`, parameters ascending |
//! | `#p1` (contained) | the first `system\|value` of the contained resource |
//!
//! Addresses: `_history/...` and slashes at the end are cut off; scheme and host are in lower case and
//! without the default port; what is percent-encoded without need is decoded once. A `Reference.type` may
//! be relative or the full URL of the type; one that contradicts the reference is refused.
//!
//! References inside a Bundle are followed first, by `fullUrl` and by
//! identifier, to the resource they mean; a short one (`Patient/123`) is then one of the server that
//! the entry's own `fullUrl` names, if the member has said which servers are its own. Ids that are no UUIDs are bound to
//! the member that read them, because two hospitals may both have a patient
//! 123, and must not share a pseudonym.
//!
//! Earlier releases blinded other spellings for some of these. They are looked for as well, and the
//! patient gets the look-up of the canonical form ([`PatientName::former`]).
//!
//! # Whose a resource is
//! The patient compartment of R4 says in which elements a resource names its patient. It is about whom its
//! subject (`subject`, `patient`, `beneficiary`, ...) names; if that is no patient, about the patient who
//! took part in it (`performer`, `author`, `actor`, ...). Two patients are refused, but in the types that may
//! well span some (AuditEvent, Group, Person, Provenance). Clinical types must name one.
//!
//! A resource without a patient (Organization, Practitioner, Location, Device,
//! ...) has itself as its subject, `<type>/<id>`, or `urn:sha256:<hex>` of its
//! bytes where it has no id; it is stored under a random pseudonym of its own, and
//! found by its tags.
//!
//! # Search tags
//! At most [`crate::records::TAGS_MAX`], in this order of preference:
//!
//! | name | value |
//! |---|---|
//! | `id` | `<type>/<id>` |
//! | `encounter` | the encounter's reference in canonical form |
//! | `category` | `system\|code` of `category` |
//! | `code` | `system\|code` of `code`, `vaccineCode`, `medicationCodeableConcept`, and `type` of Encounter and DocumentReference |
//! | `identifier` | `system\|value` of `identifier` |

pub mod audit;
mod bundle;
pub mod check;
mod compartment;
pub mod consent;
mod extract;
mod reference;
mod resource_types;
mod split;
mod strict;
pub mod validate;

pub use bundle::{BundleKind, Deletion, PassedOver};
pub use compartment::needs_patient;
pub use extract::restricts;
pub use reference::{BaseUrl, BaseUrlError, Home, PatientName, Reference};
pub use resource_types::is_resource_type;
pub use split::{Content, FAULTS_MAX, Split, examine, examine_line, split};

use bytes::Bytes;
use consilium_proto::envelope::{PAYLOAD_OVERHEAD, padded_len};
use consilium_proto::limits::PAYLOAD_BYTES_MAX;
use consilium_proto::pb;

/// Levels of nesting in a document; R4 content stays far below.
pub const DEPTH_MAX: usize = 64;
/// Bytes of a document file that is held in memory as a whole (`.json`).
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Levels of Bundles in Bundles.
pub const BUNDLE_DEPTH_MAX: usize = 4;

/// Bytes of the largest resource whose encrypted and padded form is still
/// within the ledger's limit of a payload.
pub const RESOURCE_BYTES_MAX: usize = {
    let limit = PAYLOAD_BYTES_MAX as usize;
    let (mut fits, mut too_large) = (0, limit);
    while too_large - fits > 1 {
        let middle = usize::midpoint(fits, too_large);
        if padded_len(middle) + PAYLOAD_OVERHEAD <= limit {
            fits = middle;
        } else {
            too_large = middle;
        }
    }
    fits
};

/// Who or what a record is about.
#[derive(Clone, PartialEq, Eq)]
pub enum Subject {
    /// A patient.
    Patient(PatientName),
    /// The resource itself, which names no patient.
    Itself(String),
}

impl Subject {
    /// In canonical form.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match self {
            Self::Patient(name) => name.canonical(),
            Self::Itself(text) => text,
        }
    }

    /// What the patient's pseudonym is found by.
    #[must_use]
    pub fn patient(&self) -> Option<&PatientName> {
        match self {
            Self::Patient(name) => Some(name),
            Self::Itself(_) => None,
        }
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Patient(_) => "Patient([redacted])",
            Self::Itself(_) => "Itself([redacted])",
        })
    }
}

/// A value to find the resource by, not yet blinded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// See the module's list.
    pub name: &'static str,
    /// In clear.
    pub value: String,
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tag({}, [redacted])", self.name)
    }
}

/// One resource with its exact source bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    /// R4 resource type.
    pub kind: &'static str,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Who it is about.
    pub subject: Subject,
    /// From `meta.security`; NORMAL without a label, RESTRICTED with a
    /// sensitivity label alone.
    pub confidentiality: pb::Confidentiality,
    /// Sensitivity codes of v3-ActCode, ascending.
    pub labels: Vec<&'static str>,
    /// In order of preference, each once.
    pub tags: Vec<Tag>,
    /// The source bytes: a slice of the file.
    pub raw: Bytes,
    /// Line of the file on which it starts, from 1.
    pub line: usize,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resource")
            .field("kind", &self.kind)
            .field("line", &self.line)
            .field("bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

/// A document that cannot be taken. Names the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}", at(path))]
pub struct FhirError {
    /// Line of the file, from 1: of the fault itself for malformed JSON, else
    /// of the resource's start.
    pub line: usize,
    /// Path inside the resource, such as `Observation.code.coding[0]`; may be empty.
    pub path: String,
    /// What is wrong there.
    pub problem: FhirProblem,
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(", {path}") }
}

fn looked_in(paths: &[&str]) -> String {
    if paths.is_empty() { String::new() } else { format!(" (looked for in {})", paths.join(", ")) }
}

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FhirProblem {
    /// Not JSON.
    #[error("is not well-formed JSON (column {column})")]
    Malformed {
        /// Column of the fault, from 1.
        column: usize,
    },
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// Nested too deeply.
    #[error("is nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// The Bundle holds Bundles in Bundles.
    #[error("holds Bundles more than {BUNDLE_DEPTH_MAX} levels deep")]
    BundlesTooDeep,
    /// A key stands twice: readers would disagree on which one counts.
    #[error("holds a key twice")]
    DuplicateKey,
    /// An object, array or string without content.
    #[error("is empty")]
    Empty,
    /// null outside an array.
    #[error("is null")]
    Null,
    /// A value of another JSON type.
    #[error("must be {expected}")]
    Type {
        /// What R4 has there.
        expected: &'static str,
    },
    /// A required element is missing.
    #[error("is required")]
    Missing,
    /// More than one choice of `value[x]` and the like.
    #[error("has more than one choice")]
    SeveralChoices,
    /// Not a resource type of R4.
    #[error("is not a resource type of FHIR R4")]
    UnknownType,
    /// Not `[A-Za-z0-9\-.]{1,64}`.
    #[error("is not an id of FHIR")]
    Id,
    /// A confidentiality code outside U, L, M, N, R, V.
    #[error("is not one of the confidentiality codes U, L, M, N, R, V")]
    Confidentiality,
    /// A clinical resource without a patient.
    #[error("names no patient, which every clinical record must{}", looked_in(paths))]
    NoPatient {
        /// Where one was looked for.
        paths: Vec<&'static str>,
    },
    /// A resource that is about more than one patient.
    #[error("names more than one patient in {}; a record is about exactly one", paths.join(", "))]
    SeveralPatients {
        /// Where they are.
        paths: Vec<&'static str>,
    },
    /// `Reference.type` is another one than the reference names.
    #[error("is a reference whose type contradicts it")]
    OtherType,
    /// A rule that R4 names.
    #[error("violates {rule}: {meaning}")]
    Invariant {
        /// Its name in R4.
        rule: &'static str,
        /// What it says.
        meaning: &'static str,
    },
    /// The definitions of R4 do not allow it; what was found is told beside this.
    #[error("is not valid FHIR R4 ({findings} findings)")]
    NotValid {
        /// How many.
        findings: usize,
    },
    /// Larger than a record may be.
    #[error("has {bytes} bytes, allowed are {bytes_max}")]
    TooLarge {
        /// Bytes found.
        bytes: usize,
        /// See [`RESOURCE_BYTES_MAX`].
        bytes_max: usize,
    },
}

impl FhirProblem {
    /// Whether the document cannot be read rightly, so that there is nothing to judge in it.
    fn is_unreadable(&self) -> bool {
        match self {
            Self::Malformed { .. }
            | Self::NotUtf8
            | Self::TooDeep
            | Self::BundlesTooDeep
            | Self::DuplicateKey
            | Self::Empty
            | Self::Null
            | Self::TooLarge { .. } => true,
            Self::Type { .. }
            | Self::Missing
            | Self::SeveralChoices
            | Self::UnknownType
            | Self::Id
            | Self::Confidentiality
            | Self::NoPatient { .. }
            | Self::SeveralPatients { .. }
            | Self::OtherType { .. }
            | Self::Invariant { .. }
            | Self::NotValid { .. } => false,
        }
    }
}
