//! What a client needs to know before it connects: which ledger, which nodes,
//! which identity. Secrets are named by path only. Where the values come from
//! (flags, environment, a file) is the caller's affair.

use std::path::PathBuf;
use std::time::Duration;

use crate::age::HeadAge;
use crate::fhir::BaseUrl;
use crate::fhir::validate::{Validation, Validator};
use crate::nodes_of::NodesOf;

/// Everything that [`crate::Client::connect`] needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The genesis document, protobuf binary.
    pub genesis: Option<PathBuf>,
    /// An encoded `JoinInvitation` (`consilium member invite`): where nodes are
    /// that joined since the genesis. It is a list of addresses and nothing
    /// more: who answers there is judged by the ledger.
    pub trust: Option<PathBuf>,
    /// host:port each. Empty: the client addresses in `trust` and the genesis of
    /// nodes of the members in `nodes_of`, own member's first.
    pub endpoints: Vec<String>,
    /// Members whose nodes are talked to. Absent: the own member alone.
    pub nodes_of: Option<NodesOf>,
    /// How old a certified head may be under which something is proven. Absent:
    /// [`crate::age::HEAD_AGE_DEFAULT`].
    pub max_head_age: Option<HeadAge>,
    /// After how long it is asked again how members stand, and open connections
    /// and recipients are judged again. Absent: [`crate::standing::REFRESH_DEFAULT`].
    pub refresh: Option<Duration>,
    /// PEM chain of the identity certificate, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM key of the certificate, ECDSA P-256.
    pub key: Option<PathBuf>,
    /// PEM PKCS#8 Ed25519 key that signs transactions. Absent: the certificate's key signs.
    pub signing_key: Option<PathBuf>,
    /// PEM key that opens records.
    pub encryption_key: Option<PathBuf>,
    /// File with 64 hexadecimal digits: the network's key for pseudonyms and search tags.
    pub search_key: Option<PathBuf>,
    /// Base URLs of the member's own FHIR servers: what they call a patient, `Patient/123`
    /// means as well ([`crate::fhir::Home`]).
    pub fhir_base: Vec<BaseUrl>,
    /// What becomes of a document that is not valid FHIR R4. Absent: it is refused.
    pub fhir_validation: Option<Validation>,
    /// URLs of modifier extensions that the readers of the records understand.
    pub fhir_modifier_extensions: Vec<String>,
}

impl Profile {
    /// Judges the documents that records are made from.
    #[must_use]
    pub fn validator(&self) -> Validator {
        Validator {
            level: self.fhir_validation.unwrap_or_default(),
            modifier_extensions: self.fhir_modifier_extensions.iter().cloned().collect(),
        }
    }
}
