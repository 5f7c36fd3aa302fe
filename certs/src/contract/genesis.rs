//! A genesis document that a network may start on: CA bundles, names and
//! addresses of its members, and their endorsements. What needs no X.509 and
//! no comparison of members is checked by [`Genesis::parse`].
//!
//! Certificates are judged at the genesis time, so that the same document is
//! good or bad for ever, whoever looks at it and when.

use std::collections::BTreeSet;

use consilium_proto::genesis::{Genesis, Member, endorsement_input};
use consilium_proto::names::{MemberId, NodeName, Role, SpiffeId};
use consilium_proto::pb;
use consilium_proto::signing::{SigningError, signature_from_slice};
use rustls_pki_types::CertificateDer;

use super::certificate_key;
use crate::ca::{BundleError, CaBundle};
use crate::verify::{Purpose, RevocationPolicy, VerifyError, verify_chain};

/// Why a genesis document must not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// A member's CA bundle is outside the certificate profile, or another's.
    #[error("CA bundle of {member}: {cause}")]
    Bundle {
        /// The member.
        member: MemberId,
        /// What is wrong.
        cause: BundleError,
    },
    /// A CA certificate is not valid at the genesis time.
    #[error("a CA certificate of {member} is not valid at the genesis time")]
    CaNotValid {
        /// The member.
        member: MemberId,
    },
    /// A member has two nodes of one name.
    #[error("{member} has two nodes named {node}")]
    NodeTwice {
        /// The member.
        member: MemberId,
        /// The name.
        node: NodeName,
    },
    /// Two listeners have one address.
    #[error("address {address} of {member} is used twice")]
    AddressTwice {
        /// The member that uses it second.
        member: MemberId,
        /// host:port.
        address: String,
    },
    /// Members have not endorsed.
    #[error("not endorsed by {}", list(members))]
    NotEndorsed {
        /// Who is missing.
        members: Vec<MemberId>,
    },
    /// An endorsement is not by a member.
    #[error("endorsed by {member:?}, which is no member")]
    Stranger {
        /// Whom it names.
        member: String,
    },
    /// A member endorsed twice, or the endorsements are not in the members' order.
    #[error("the endorsement of {member} is out of order")]
    Order {
        /// The member.
        member: MemberId,
    },
    /// The endorser's certificate does not verify under the member's bundle.
    #[error("endorsement of {member}: {cause}")]
    Certificate {
        /// The member.
        member: MemberId,
        /// What is wrong.
        cause: VerifyError,
    },
    /// The endorser is no administrator.
    #[error("endorsement of {member} is by role {found}, not by an admin")]
    NotAdmin {
        /// The member.
        member: MemberId,
        /// The endorser's role.
        found: Role,
    },
    /// The endorser's certificate has a key that nothing is signed with.
    #[error("endorsement of {member}: the administrator's key is not on P-256")]
    Key {
        /// The member.
        member: MemberId,
    },
    /// The signature is not one of the endorser over this ledger id.
    #[error("endorsement of {member}: {cause}")]
    Signature {
        /// The member.
        member: MemberId,
        /// What is wrong.
        cause: SigningError,
    },
}

/// Who endorsed for a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorser {
    /// The member.
    pub member: MemberId,
    /// The administrator.
    pub administrator: SpiffeId,
}

/// Checks that a network may start on a document: members and endorsements.
///
/// # Errors
/// The first problem found.
pub fn check(genesis: &Genesis) -> Result<Vec<Endorser>, GenesisError> {
    check_members(genesis)?;
    verify_endorsements(genesis)
}

/// Checks bundles, names and addresses of all members: what can be said before
/// anybody has endorsed.
///
/// # Errors
/// The first problem found.
pub fn check_members(genesis: &Genesis) -> Result<(), GenesisError> {
    let mut addresses = BTreeSet::new();
    for member in &genesis.members {
        check_bundle(genesis, member)?;
        let mut names = BTreeSet::new();
        for node in &member.nodes {
            if !names.insert(&node.name) {
                return Err(GenesisError::NodeTwice { member: member.id.clone(), node: node.name.clone() });
            }
            for address in [&node.peer_address, &node.client_address] {
                if !addresses.insert(address) {
                    let (member, address) = (member.id.clone(), address.clone());
                    return Err(GenesisError::AddressTwice { member, address });
                }
            }
        }
    }
    Ok(())
}

fn check_bundle(genesis: &Genesis, member: &Member) -> Result<(), GenesisError> {
    let at = unix_seconds(genesis);
    if bundle_of(member)?.certificates().iter().all(|ca| ca.is_valid_at(at)) {
        Ok(())
    } else {
        Err(GenesisError::CaNotValid { member: member.id.clone() })
    }
}

/// Checks that every member has endorsed the document, once, in the members'
/// order, by an administrator under its own CA bundle, and nobody else has.
///
/// # Errors
/// The first problem found.
pub fn verify_endorsements(genesis: &Genesis) -> Result<Vec<Endorser>, GenesisError> {
    let endorsers =
        genesis.endorsements.iter().map(|e| verify_endorsement(genesis, e)).collect::<Result<Vec<_>, _>>()?;
    if let Some(pair) = endorsers.windows(2).find(|pair| pair[0].member >= pair[1].member) {
        return Err(GenesisError::Order { member: pair[1].member.clone() });
    }
    let missing: Vec<MemberId> = genesis.missing_endorsements().into_iter().cloned().collect();
    if missing.is_empty() { Ok(endorsers) } else { Err(GenesisError::NotEndorsed { members: missing }) }
}

/// Checks one endorsement.
///
/// # Errors
/// Why it does not count.
pub fn verify_endorsement(genesis: &Genesis, endorsement: &pb::Endorsement) -> Result<Endorser, GenesisError> {
    let stranger = || GenesisError::Stranger { member: endorsement.member.clone() };
    let member = genesis.member(&endorsement.member).ok_or_else(stranger)?;
    let id = || member.id.clone();
    let chain: Vec<_> = endorsement.certificate_chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
    let (at, policy) = (unix_seconds(genesis), RevocationPolicy::default());
    let administrator = verify_chain(&chain, &bundle_of(member)?, &[], policy, at, Purpose::Client)
        .map_err(|cause| GenesisError::Certificate { member: id(), cause })?
        .identity;
    if administrator.spiffe_id().role() != Role::Admin {
        return Err(GenesisError::NotAdmin { member: id(), found: administrator.spiffe_id().role() });
    }
    let key = certificate_key(&administrator).ok_or_else(|| GenesisError::Key { member: id() })?;
    signature_from_slice(&endorsement.signature)
        .and_then(|signature| key.verify(&endorsement_input(&genesis.ledger_id), &signature))
        .map_err(|cause| GenesisError::Signature { member: id(), cause })?;
    Ok(Endorser { member: id(), administrator: administrator.spiffe_id().clone() })
}

fn bundle_of(member: &Member) -> Result<CaBundle, GenesisError> {
    CaBundle::of_member(&member.id, &member.ca_bundle)
        .map_err(|cause| GenesisError::Bundle { member: member.id.clone(), cause })
}

fn unix_seconds(genesis: &Genesis) -> i64 {
    i64::try_from(genesis.time.0 / 1_000).unwrap_or(i64::MAX)
}

fn list(members: &[MemberId]) -> String {
    members.iter().map(MemberId::as_str).collect::<Vec<_>>().join(", ")
}
