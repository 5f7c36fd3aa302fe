//! Answers that are put together from several rows: for whoever serves them over
//! a snapshot. Nothing here is part of the rules.

mod patients;
mod records;

pub use patients::resolve_patient;
pub use records::{RecordProver, prove_record, transaction_of};

use consilium_proto::header::Header;
use consilium_proto::ids::{Fingerprint, KeyId, NodeId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{self, EncryptionKeyState, IdentityState, MemberStatus, ProposalState, SignerState};

use crate::governance::tally;
use crate::keys;
use crate::roster::corrupt;
use crate::table::Table;
use crate::view::{StateReader, StoreFault, View};

/// The newest enrolment of an identity, with its keys.
///
/// # Errors
/// If the store fails.
pub fn identity<R: StateReader>(reader: &R, spiffe_id: &str) -> Result<Option<pb::GetIdentityResponse>, StoreFault> {
    let view = View::new(reader);
    let identity: Option<IdentityState> = view.message(Table::State, &keys::identity(spiffe_id))?;
    let Some(identity) = identity else { return Ok(None) };
    let id = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).map_err(|_| corrupt(format!("the keys of {spiffe_id}")));
    let signer = Fingerprint::from_bytes(id(&identity.signing_key_id)?);
    let signer = view.message(Table::State, &keys::signer(&signer))?;
    let encryption_key: Option<EncryptionKeyState> = match identity.encryption_key_id.as_ref() {
        [] => None,
        key => view.message(Table::State, &keys::encryption_key(&KeyId::from_bytes(id(key)?)))?,
    };
    let encryption_key = encryption_key.map(|key| key.encryption_key).unwrap_or_default();
    Ok(Some(pb::GetIdentityResponse { identity: Some(identity), signer, encryption_key }))
}

/// Whose key an author's is, as far as the state goes: the member is active, and the author's
/// certificate is not revoked.
///
/// # Errors
/// If the store fails.
pub fn standing_author<R: StateReader>(reader: &R, author: &Fingerprint) -> Result<Option<SpiffeId>, StoreFault> {
    let view = View::new(reader);
    let signer: Option<SignerState> = view.message(Table::State, &keys::signer(author))?;
    let Some(signer) = signer.filter(|signer| signer.revoked_ms == 0) else { return Ok(None) };
    let id: SpiffeId = signer.spiffe_id.parse().map_err(|e| corrupt(format!("signer: {e}")))?;
    let member = view.member(id.member().as_str())?;
    Ok(member.is_some_and(|m| m.status == MemberStatus::Active as i32).then_some(id))
}

/// A proposal and how it stands after `tip`.
///
/// # Errors
/// If the store fails.
pub fn proposal<R: StateReader>(
    reader: &R,
    tip: &Header,
    number: u64,
) -> Result<Option<pb::GetProposalResponse>, StoreFault> {
    let proposal: Option<ProposalState> = View::new(reader).message(Table::State, &keys::proposal(number))?;
    let Some(proposal) = proposal else { return Ok(None) };
    let tally = Some(tally(reader, &proposal)?);
    Ok(Some(pb::GetProposalResponse { proposal: Some(proposal), tally, time_ms: tip.time.0 }))
}

/// All members with their nodes.
///
/// # Errors
/// If the store fails.
pub fn members<R: StateReader>(reader: &R) -> Result<pb::ListMembersResponse, StoreFault> {
    let view = View::new(reader);
    let roster = view.roster()?;
    let mut members = Vec::with_capacity(roster.members.len());
    for id in &roster.members {
        members.push(pb::MemberEntry { member: view.member(id)?, nodes: Vec::new() });
    }
    for id in &roster.nodes {
        let Some(node) = view.node(NodeId(*id))? else { continue };
        let owner = roster.members.binary_search(&node.member).ok();
        if let Some(entry) = owner.and_then(|position| members.get_mut(position)) {
            entry.nodes.push(node);
        }
    }
    Ok(pb::ListMembersResponse { members })
}
