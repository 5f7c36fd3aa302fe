//! References of FHIR, brought to one spelling, so that all records of one
//! patient get one pseudonym: the rules of R4 (references.html, bundle.html).
//! Pure text work; it must never panic on any text, and never guess: what has
//! no rule stays as it is.

mod former;
mod home;
mod scope;
mod text;

pub use home::{BaseUrl, BaseUrlError, Home};
pub(super) use scope::{Place, Scope, identifier_token, identifiers};

use std::collections::BTreeSet;

use super::resource_types::resource_type;
use text::{decoded, encoded, unreserved};

/// A reference as it stands in a document or on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a>(&'a str);

impl<'a> Reference<'a> {
    /// Any text: see [`Self::canonical`].
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The one spelling that is blinded; the table is in [`crate::fhir`].
    /// `home` owns ids that are not unique in the world. A text that is no
    /// reference, such as `system|value`, stays as it is.
    #[must_use]
    pub fn canonical(self, home: &Home) -> String {
        Target::parse(self.0, home).canonical(home)
    }

    /// Whom the reference means, with the spellings that this program had for it before.
    #[must_use]
    pub fn named(self, home: &Home) -> PatientName {
        PatientName::new(self.canonical(home), former::canonical(self.0, home.member()), home)
    }

    /// Type and id of the resource that the reference names by them, wherever it is.
    #[must_use]
    pub fn instance(self, home: &Home) -> Option<(&'static str, String)> {
        match Target::parse(self.0, home) {
            Target::Own { kind, id } | Target::Elsewhere { kind, id, .. } => Some((kind, id)),
            Target::Fragment(_)
            | Target::Urn(_)
            | Target::Identifier { .. }
            | Target::Conditional { .. }
            | Target::Other(_) => None,
        }
    }

    /// The resource type that the reference names, if it says so.
    #[must_use]
    pub fn kind(self, home: &Home) -> Option<&'static str> {
        Target::parse(self.0, home).kind()
    }
}

/// What a patient is found by: the canonical form of a reference, and the forms that earlier
/// releases blinded for the same one, by which patients may be registered still.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatientName {
    canonical: String,
    former: BTreeSet<String>,
}

impl PatientName {
    pub(super) fn new(canonical: String, former: impl IntoIterator<Item = String>, home: &Home) -> Self {
        let own = format!("{}/", home.member());
        // What was taken for the member's own, and is another server's, must not lead to the
        // member's own patient who has the same id.
        let elsewhere = !canonical.starts_with("urn:") && !canonical.starts_with(&own);
        let former = former.into_iter().filter(|f| *f != canonical && !(elsewhere && f.starts_with(&own)));
        Self { former: former.collect(), canonical }
    }

    /// In canonical form.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// In the forms of earlier releases, where they differ.
    pub fn former(&self) -> impl Iterator<Item = &str> {
        self.former.iter().map(String::as_str)
    }

    /// The same patient, found by the other's former forms as well.
    pub(super) fn with(mut self, other: Self) -> Self {
        self.former.extend(other.former);
        self.former.remove(&self.canonical);
        self
    }
}

/// An identifier in canonical form, such as `system|value`.
impl From<&str> for PatientName {
    fn from(canonical: &str) -> Self {
        Self { canonical: canonical.to_owned(), former: BTreeSet::new() }
    }
}

impl std::fmt::Debug for PatientName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PatientName([redacted])")
    }
}

/// What a reference means.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    /// A contained resource.
    Fragment(String),
    /// `Type/id` of the reading member.
    Own { kind: &'static str, id: String },
    /// `Type/id` of a server (its base URL) or of another member (its name).
    Elsewhere { owner: String, kind: &'static str, id: String },
    /// A URN in canonical form.
    Urn(String),
    /// `system|value`, of a conditional reference.
    Identifier { kind: &'static str, token: String },
    /// Another conditional reference; `owner` is absent for the reading member.
    Conditional { owner: Option<String>, kind: &'static str, query: String },
    /// No reference that R4 knows.
    Other(String),
}

impl Target {
    fn parse(text: &str, home: &Home) -> Self {
        let reference = text.trim_start_matches('/');
        if let Some(id) = reference.strip_prefix('#') {
            return Self::Fragment(id.to_owned());
        }
        if let Some(urn) = urn(without_history(reference)) {
            return Self::Urn(urn);
        }
        let parsed = match reference.split_once('?') {
            Some((path, query)) => Self::conditional(path, query, home),
            None => Self::path(reference, home),
        };
        parsed.unwrap_or_else(|| Self::Other(other(text)))
    }

    fn path(path: &str, home: &Home) -> Option<Self> {
        if path.contains(['|', '#']) {
            return None;
        }
        let path = normalised(without_history(path));
        let (before, id) = path.rsplit_once('/')?;
        let (owner, kind) = owner_and_kind(before, home)?;
        let id = Some(id).filter(|id| !id.is_empty())?.to_owned();
        Some(match owner {
            None => Self::Own { kind, id },
            Some(owner) => Self::Elsewhere { owner, kind, id },
        })
    }

    fn conditional(path: &str, query: &str, home: &Home) -> Option<Self> {
        let path = normalised(path);
        let (owner, kind) = owner_and_kind(&path, home)?;
        let mut parameters: Vec<(String, String)> = query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        parameters.sort();
        if let [(name, token)] = parameters.as_slice()
            && name == "identifier"
            && !token.is_empty()
        {
            return Some(Self::Identifier { kind, token: token.clone() });
        }
        let parameters = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        Some(Self::Conditional { owner, kind, query: parameters.collect::<Vec<_>>().join("&") })
    }

    fn canonical(&self, home: &Home) -> String {
        match self {
            Self::Fragment(id) => format!("#{id}"),
            Self::Own { id, .. } | Self::Elsewhere { id, .. } if is_uuid(id) => {
                format!("urn:uuid:{}", id.to_ascii_lowercase())
            }
            Self::Own { kind, id } => format!("{}/{kind}/{id}", home.member()),
            Self::Elsewhere { owner, kind, id } => format!("{owner}/{kind}/{id}"),
            Self::Identifier { token, .. } => token.clone(),
            Self::Conditional { owner, kind, query } => {
                format!("{}/{kind}?{query}", owner.as_deref().unwrap_or(home.member()))
            }
            Self::Urn(text) | Self::Other(text) => text.clone(),
        }
    }

    fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Own { kind, .. }
            | Self::Elsewhere { kind, .. }
            | Self::Identifier { kind, .. }
            | Self::Conditional { kind, .. } => Some(kind),
            Self::Fragment(_) | Self::Urn(_) | Self::Other(_) => None,
        }
    }
}

/// Owner and type of `[owner/]Type`; no owner for the reading member.
fn owner_and_kind(text: &str, home: &Home) -> Option<(Option<String>, &'static str)> {
    let Some((owner, kind)) = text.rsplit_once('/') else { return Some((None, resource_type(text)?)) };
    let kind = resource_type(kind)?;
    Some((Some(owner).filter(|owner| !home.is_own(owner)).map(str::to_owned), kind))
}

/// What `_history` names is a version of the same resource.
fn without_history(text: &str) -> &str {
    let versions = text.match_indices("/_history").find(|(at, found)| {
        let after = &text[at + found.len()..];
        after.is_empty() || after.starts_with('/')
    });
    versions.map_or(text, |(at, _)| &text[..at])
}

/// Schemes, hosts and namespaces of URNs do not know upper case, nor do UUIDs.
fn urn(text: &str) -> Option<String> {
    let scheme = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("urn:"))?;
    let (namespace, name) = text[scheme.len()..].split_once(':')?;
    let namespace = namespace.to_ascii_lowercase();
    let name = if namespace == "uuid" { name.to_ascii_lowercase() } else { name.to_owned() };
    Some(format!("urn:{namespace}:{name}"))
}

/// A path or an address whose spelling says nothing any more.
fn normalised(path: &str) -> String {
    let path = path.trim_end_matches('/');
    text::url(path).unwrap_or_else(|| unreserved(path))
}

/// A text that is no reference of R4: an address in one spelling, anything else as it is.
fn other(text: &str) -> String {
    let address = Some(text).filter(|text| !text.contains(['|', '#', '?'])).and_then(|text| {
        let cut = without_history(text).trim_end_matches('/');
        text::url(cut)
    });
    address.unwrap_or_else(|| text.to_owned())
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
