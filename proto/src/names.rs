//! Names: members, roles, nodes and SPIFFE ids, with one spelling for each.
//!
//! The grammar is a strict subset of the SPIFFE-ID specification: lower case
//! only, no percent-encoding, exactly two path segments. Whatever is compared,
//! logged or used in a file name elsewhere has passed through here first, so
//! nothing here may ever normalise: a second spelling is refused, not repaired.
//!
//! Knows neither X.509 nor I/O: a name claims, `consilium-certs` verifies.

use std::fmt;
use std::str::FromStr;

use crate::error::{FieldError, length_in};
use crate::pb;
use crate::random::{RandomUnavailable, random_array};

/// Longest member id, in bytes (the limit of a DNS name).
pub const MEMBER_ID_BYTES_MAX: usize = 253;
/// Longest DNS label within a member id, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// Longest name within a member and role, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest code of a unit, in bytes.
pub const UNIT_BYTES_MAX: usize = 32;
/// Random bytes of a patient's name.
const PATIENT_NAME_RANDOM: usize = 16;
const SCHEME: &str = "spiffe://";

/// Why a text is not a member id, role or SPIFFE id. The offending text is
/// not repeated: it is hostile until proven otherwise and errors are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
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
    /// A patient's name says who it is, or could: it stays on the ledger for ever.
    #[error("a patient's name is not 32 lower-case hexadecimal digits, drawn at random")]
    PatientName,
    /// A unit's code is empty, too long, or has bytes outside `[A-Z0-9-]`.
    #[error("a unit's code is not 1 to 32 bytes of [A-Z0-9-]")]
    Unit,
}

/// A member's id: a SPIFFE trust domain such as `st-mary.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(String);

impl MemberId {
    /// Parses a field of a message.
    ///
    /// # Errors
    /// A [`FieldError`] that names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldError> {
        text.parse().map_err(|_| FieldError::malformed(field, "is not a SPIFFE trust domain"))
    }

    /// The name, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member's own SPIFFE id, `spiffe://<member>`: what its CA
    /// certificates carry.
    #[must_use]
    pub fn to_uri(&self) -> String {
        format!("{SCHEME}{}", self.0)
    }

    /// Reads `spiffe://<member>` with nothing behind it, not even a slash.
    ///
    /// # Errors
    /// [`InvalidName::Scheme`] or [`InvalidName::TrustDomain`].
    pub fn from_uri(uri: &str) -> Result<Self, InvalidName> {
        uri.strip_prefix(SCHEME).ok_or(InvalidName::Scheme)?.parse()
    }
}

impl FromStr for MemberId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sized = (1..=MEMBER_ID_BYTES_MAX).contains(&text.len());
        if sized && text.split('.').all(is_label) { Ok(Self(text.to_owned())) } else { Err(InvalidName::TrustDomain) }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A node's name within its member: `[a-z0-9-]{1,64}`, a subset of what a
/// SPIFFE id allows, so that every node has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// Parses a field of a message.
    ///
    /// # Errors
    /// A [`FieldError`] that names `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self, FieldError> {
        check_plain(field, text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An organisational unit of a member, by the code that the member gives it: `[A-Z0-9-]{1,32}`.
/// It is administrative and stays on the ledger: it names no person and no diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitCode(String);

impl UnitCode {
    /// Parses a field of a message that is empty if there is none.
    ///
    /// # Errors
    /// A [`FieldError`] that names `field`.
    pub fn parse_optional(field: &str, text: &str) -> Result<Option<Self>, FieldError> {
        let parse = || text.parse().map_err(|_| FieldError::malformed(field, "must be 1 to 32 bytes of [A-Z0-9-]"));
        (!text.is_empty()).then(parse).transpose()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitCode {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        let sized = (1..=UNIT_BYTES_MAX).contains(&text.len());
        if sized && text.bytes().all(allowed) { Ok(Self(text.to_owned())) } else { Err(InvalidName::Unit) }
    }
}

impl fmt::Display for UnitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an identity is for; its rights follow from it.
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
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidName::Role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One identity: `spiffe://<member>/<role>/<name>`. A patient's name is opaque, see
/// [`new_patient_name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    member: MemberId,
    role: Role,
    name: String,
}

impl SpiffeId {
    /// Builds an id from its parts.
    ///
    /// # Errors
    /// [`InvalidName::Name`] when the name breaks the grammar, [`InvalidName::PatientName`] when
    /// a patient's is not opaque.
    pub fn new(member: MemberId, role: Role, name: &str) -> Result<Self, InvalidName> {
        if !is_name(name) {
            return Err(InvalidName::Name);
        }
        if role == Role::Patient && !is_opaque(name) {
            return Err(InvalidName::PatientName);
        }
        Ok(Self { member, role, name: name.to_owned() })
    }

    /// A node's id.
    #[must_use]
    pub fn node(member: &MemberId, name: &NodeName) -> Self {
        Self { member: member.clone(), role: Role::Node, name: name.0.clone() }
    }

    /// The member.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.member
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

impl TryFrom<&pb::NodeState> for SpiffeId {
    type Error = FieldError;

    fn try_from(node: &pb::NodeState) -> Result<Self, FieldError> {
        Ok(Self::node(&MemberId::parse("member", &node.member)?, &NodeName::parse("name", &node.name)?))
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidName::Scheme)?;
        let (member, path) = rest.split_once('/').ok_or(InvalidName::Path)?;
        let member = member.parse()?;
        let (role, name) = path.split_once('/').ok_or(InvalidName::Path)?;
        if name.contains('/') {
            return Err(InvalidName::Path);
        }
        Self::new(member, role.parse()?, name)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.member, self.role, self.name)
    }
}

/// Checks a plain name, of a node or a network: `[a-z0-9-]{1,64}`.
pub(crate) fn check_plain(field: &str, name: &str) -> Result<(), FieldError> {
    length_in(field, name.len(), 1, NAME_BYTES_MAX)?;
    if name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        Ok(())
    } else {
        Err(FieldError::malformed(field, "must be lowercase letters, digits or '-'"))
    }
}

fn is_label(label: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = label.as_bytes();
    bytes.len() <= LABEL_BYTES_MAX
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    // `.` and `..` are path navigation to anything that treats an id as a path.
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) && !matches!(name, "." | "..")
}

/// A name for a patient: 16 random bytes in lower-case hexadecimal. Names stay in
/// certificates, and those on the ledger, for ever; nothing may follow from this one.
///
/// # Errors
/// If the randomness of the operating system fails.
pub fn new_patient_name() -> Result<String, RandomUnavailable> {
    Ok(hex::encode(random_array::<PATIENT_NAME_RANDOM>()?))
}

fn is_opaque(name: &str) -> bool {
    name.len() == 2 * PATIENT_NAME_RANDOM && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
