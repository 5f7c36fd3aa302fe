//! Whose ids are read: those of one member, and of its own FHIR servers.

use std::str::FromStr;

use super::text;

/// Where the ids of a document belong that says nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    member: String,
    bases: Vec<BaseUrl>,
}

impl Home {
    /// The member that reads, and the base URLs of its own FHIR servers.
    #[must_use]
    pub fn new(member: impl Into<String>, bases: impl Into<Vec<BaseUrl>>) -> Self {
        Self { member: member.into(), bases: bases.into() }
    }

    /// The member.
    #[must_use]
    pub fn member(&self) -> &str {
        &self.member
    }

    /// Whether it is known which servers are the member's own. If not, whatever a document
    /// says in short is taken for the member's.
    pub(super) fn knows_its_servers(&self) -> bool {
        !self.bases.is_empty()
    }

    /// Whether an owner, as it stands before `Type/id`, is this member.
    pub(super) fn is_own(&self, owner: &str) -> bool {
        owner == self.member || BaseUrl::from_str(owner).is_ok_and(|base| self.bases.contains(&base))
    }
}

/// The base URL of a FHIR server, such as `https://ehr.a.example/fhir`. Two that
/// differ in http or https are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseUrl(String);

/// A text that is no base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no base URL of a FHIR server; one is https://ehr.hospital.example/fhir, without query and fragment")]
pub struct BaseUrlError(String);

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let strange = text.contains(['?', '#', '@', '|']) || text.contains(char::is_whitespace);
        let url = text::url(text.trim_end_matches('/')).filter(|_| !strange);
        let url = url.ok_or_else(|| BaseUrlError(text.to_owned()))?;
        let without_scheme = url.split_once("://").map(|(_, rest)| rest.to_owned());
        without_scheme.map(Self).ok_or_else(|| BaseUrlError(text.to_owned()))
    }
}
