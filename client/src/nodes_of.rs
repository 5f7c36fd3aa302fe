//! Whose nodes a client talks to: those of its own member, unless somebody said
//! otherwise. Another member's node sees what is asked of it and may keep
//! silent about what it likes, so that nobody gets to one by accident.

use std::collections::BTreeSet;

use consilium_certs::tls::ExpectedServer;
use consilium_proto::names::MemberId;

use crate::error::ClientError;

/// Stands for all members in the setting `nodes_of`: no member can be called so.
pub const ANY_MEMBER: &str = "*";

/// Members whose nodes a client talks to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NodesOf {
    /// The own member.
    #[default]
    Own,
    /// The own member and these.
    Also(BTreeSet<MemberId>),
    /// Whoever is a member.
    Any,
}

impl NodesOf {
    /// Reads the values of the setting: members, or [`ANY_MEMBER`].
    ///
    /// # Errors
    /// [`ClientError::Usage`] if one is neither.
    pub fn parse<T: AsRef<str>>(values: &[T]) -> Result<Self, ClientError> {
        if values.is_empty() {
            return Ok(Self::Own);
        }
        if values.iter().any(|value| value.as_ref() == ANY_MEMBER) {
            return Ok(Self::Any);
        }
        let member = |value: &T| {
            let text = value.as_ref();
            text.parse().map_err(|_| ClientError::Usage(format!("nodes_of: {text:?} is no member, nor {ANY_MEMBER:?}")))
        };
        values.iter().map(member).collect::<Result<_, _>>().map(Self::Also)
    }

    /// Whether a client of member `own` talks to nodes of `member`.
    #[must_use]
    pub fn allows(&self, own: &MemberId, member: &str) -> bool {
        match self {
            Self::Own => own.as_str() == member,
            Self::Also(others) => own.as_str() == member || others.iter().any(|other| other.as_str() == member),
            Self::Any => true,
        }
    }

    pub(crate) fn expected(&self, own: &MemberId) -> ExpectedServer {
        match self {
            Self::Own => ExpectedServer::NodeOfOneOf(BTreeSet::from([own.clone()])),
            Self::Also(others) => {
                ExpectedServer::NodeOfOneOf(others.iter().chain(std::iter::once(own)).cloned().collect())
            }
            Self::Any => ExpectedServer::AnyNode,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_but_the_own_member_unless_named() {
        let own: MemberId = "a.example".parse().unwrap();
        let allowed = |values: &[&str]| {
            let setting = NodesOf::parse(values).unwrap();
            ["a.example", "b.example", "c.example"].map(|member| setting.allows(&own, member))
        };
        assert_eq!(allowed(&[]), [true, false, false]);
        assert_eq!(allowed(&["b.example"]), [true, true, false]);
        assert_eq!(allowed(&["*"]), [true, true, true]);
        assert_eq!(NodesOf::parse(&["b.example", "*"]).unwrap(), NodesOf::Any);
        assert!(NodesOf::parse(&["B example"]).unwrap_err().to_string().contains("is no member"));
    }
}
