//! Names: trust domains, roles and SPIFFE ids, with one spelling for each.
//!
//! The grammar is a strict subset of the SPIFFE-ID specification: lower case
//! only, no percent-encoding, exactly two path segments. Whatever is compared,
//! logged or used in a file name elsewhere has passed through here first, so
//! nothing here may ever normalise: a second spelling is refused, not repaired.

use std::fmt;
use std::str::FromStr;

/// Longest trust domain, in bytes (the limit of a DNS name).
pub const MAX_TRUST_DOMAIN_BYTES: usize = 253;
/// Longest DNS label within a trust domain, in bytes (RFC 1035 §2.3.4).
const MAX_LABEL_BYTES: usize = 63;
/// Longest name within a member and role, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
const SCHEME: &str = "spiffe://";

/// Why a text is not a trust domain, role or SPIFFE id. The offending text is
/// not repeated: it is hostile until proven otherwise and errors are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// The text does not begin with `spiffe://`.
    #[error("not a spiffe:// URI")]
    Scheme,
    /// The trust domain is empty, too long, or not a lower-case DNS name.
    #[error("trust domain is not a lower-case DNS name of at most 253 bytes")]
    TrustDomain,
    /// The path is not exactly `/<role>/<name>`.
    #[error("path is not /<role>/<name>")]
    Path,
    /// The first path segment is not a known role.
    #[error("unknown role")]
    Role,
    /// The name is empty, too long, `.`/`..`, or has bytes outside `[a-z0-9._-]`.
    #[error("name is not 1 to 64 bytes of [a-z0-9._-]")]
    Name,
}

/// A member's id: a SPIFFE trust domain such as `st-mary.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain's own SPIFFE id, `spiffe://<member>`: what a CA
    /// certificate of the member carries.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// Reads `spiffe://<member>` with nothing behind it, not even a slash.
    ///
    /// # Errors
    /// [`InvalidSpiffeId::Scheme`] or [`InvalidSpiffeId::TrustDomain`].
    pub fn from_uri(uri: &str) -> Result<Self, InvalidSpiffeId> {
        uri.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?.parse()
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sized = (1..=MAX_TRUST_DOMAIN_BYTES).contains(&text.len());
        if sized && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSpiffeId::TrustDomain)
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an identity is for; its rights follow from it (design, Identity).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A ledger node: the only role that may act as a TLS server.
    Node,
    /// Governance and staking for its member.
    Admin,
    /// An EHR or another system of the member.
    Service,
    /// A treating clinician.
    Clinician,
    /// A researcher.
    Researcher,
    /// An auditor.
    Auditor,
    /// A patient.
    Patient,
    /// A medical device.
    Device,
}

impl Role {
    /// Every role, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::Node,
        Self::Admin,
        Self::Service,
        Self::Clinician,
        Self::Researcher,
        Self::Auditor,
        Self::Patient,
        Self::Device,
    ];

    /// The path segment that stands for the role.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Admin => "admin",
            Self::Service => "service",
            Self::Clinician => "clinician",
            Self::Researcher => "researcher",
            Self::Auditor => "auditor",
            Self::Patient => "patient",
            Self::Device => "device",
        }
    }
}

impl FromStr for Role {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidSpiffeId::Role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One identity: `spiffe://<trust_domain>/<role>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    role: Role,
    name: String,
}

impl SpiffeId {
    /// Builds an id from its parts.
    ///
    /// # Errors
    /// [`InvalidSpiffeId::Name`] when the name breaks the grammar.
    pub fn new(trust_domain: TrustDomain, role: Role, name: &str) -> Result<Self, InvalidSpiffeId> {
        if !is_name(name) {
            return Err(InvalidSpiffeId::Name);
        }
        Ok(Self { trust_domain, role, name: name.to_owned() })
    }

    /// The member.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name, unique within member and role.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(InvalidSpiffeId::Path)?;
        let trust_domain = domain.parse()?;
        let (role, name) = path.split_once('/').ok_or(InvalidSpiffeId::Path)?;
        if name.contains('/') {
            return Err(InvalidSpiffeId::Path);
        }
        Self::new(trust_domain, role.parse()?, name)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.len() <= MAX_LABEL_BYTES
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    // `.` and `..` are path navigation to anything that treats an id as a path.
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes_one_spelling() {
        let text = "spiffe://st-mary.example/clinician/dr_who-1.2";
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "st-mary.example");
        assert_eq!(id.role(), Role::Clinician);
        assert_eq!(id.name(), "dr_who-1.2");
        assert_eq!(id.to_string(), text);
    }

    #[test]
    fn every_role_reads_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("Node".parse::<Role>(), Err(InvalidSpiffeId::Role));
    }

    #[test]
    fn refuses_hostile_ids() {
        use InvalidSpiffeId as E;
        let long = format!("spiffe://a.example/node/{}", "n".repeat(65));
        let cases = [
            ("", E::Scheme),
            ("SPIFFE://a.example/node/x", E::Scheme),
            ("https://a.example/node/x", E::Scheme),
            ("spiffe://a.example", E::Path),
            ("spiffe://a.example/node", E::Path),
            ("spiffe:///node/x", E::TrustDomain),
            ("spiffe://A.example/node/x", E::TrustDomain),
            ("spiffe://user@a.example/node/x", E::TrustDomain),
            ("spiffe://a.example:443/node/x", E::TrustDomain),
            ("spiffe://a..example/node/x", E::TrustDomain),
            ("spiffe://-a.example/node/x", E::TrustDomain),
            ("spiffe://a_b.example/node/x", E::TrustDomain),
            ("spiffe://a.example./node/x", E::TrustDomain),
            ("spiffe://a.example/root/x", E::Role),
            ("spiffe://a.example//x", E::Role),
            ("spiffe://a.example/node/x/", E::Path),
            ("spiffe://a.example/node/", E::Name),
            ("spiffe://a.example/node/..", E::Name),
            ("spiffe://a.example/node/X", E::Name),
            ("spiffe://a.example/node/x%2fy", E::Name),
            ("spiffe://a.example/node/x?q", E::Name),
            ("spiffe://a.example/node/x#f", E::Name),
            ("spiffe://a.example/node/x\0", E::Name),
            ("spiffe://a.example/node/x\n", E::Name),
            ("spiffe://a.example/node/\u{202e}x", E::Name),
            (long.as_str(), E::Name),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<SpiffeId>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn bounds_of_a_trust_domain() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), MAX_TRUST_DOMAIN_BYTES);
        assert!(longest.parse::<TrustDomain>().is_ok());
        assert!(format!("{longest}a").parse::<TrustDomain>().is_err());
        assert!("a".repeat(64).parse::<TrustDomain>().is_err());
        let with_slash = TrustDomain::from_uri("spiffe://a.example/");
        assert_eq!(with_slash, Err(InvalidSpiffeId::TrustDomain));
    }

    proptest! {
        #[test]
        fn never_panics_and_what_is_read_is_written_back(text in "(spiffe://)?[ -~]{0,80}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
