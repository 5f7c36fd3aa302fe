//! Whom the verifiers believe: looked up per handshake, never cached here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::ca::CaBundle;
use crate::crl::Crl;
use consilium_proto::names::MemberId;

/// What is believed about a member at present.
#[derive(Clone, Debug)]
pub struct MemberTrust {
    /// The CA bundle on the ledger.
    pub bundle: CaBundle,
    /// The newest CRL of each of its CAs that publishes one.
    pub crls: Vec<Crl>,
    /// Whether governance has suspended the member.
    pub suspended: bool,
}

/// Where the verifiers look members up, once per handshake. Must be quick and
/// must not block: it is called on a network thread.
pub trait TrustSource: fmt::Debug + Send + Sync {
    /// What is believed about the member now; `None` if it is no member.
    fn member(&self, member: &MemberId) -> Option<Arc<MemberTrust>>;
}

/// A trust source that never changes: for clients with configured bundles, and
/// for tests.
#[derive(Clone, Debug, Default)]
pub struct StaticTrust(BTreeMap<MemberId, Arc<MemberTrust>>);

impl StaticTrust {
    /// One entry per bundle; of two for one member the later one counts.
    pub fn new(members: impl IntoIterator<Item = MemberTrust>) -> Self {
        let entry = |trust: MemberTrust| (trust.bundle.member().clone(), Arc::new(trust));
        Self(members.into_iter().map(entry).collect())
    }
}

impl TrustSource for StaticTrust {
    fn member(&self, member: &MemberId) -> Option<Arc<MemberTrust>> {
        self.0.get(member).cloned()
    }
}
