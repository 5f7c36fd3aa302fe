//! Founding a network: each member makes its part from public material, one
//! of them puts the parts together, every administrator endorses the result,
//! and the endorsed document is what everyone starts from. No step ever needs
//! a private key of another member; a part refuses to swallow one by mistake.

use bytes::Bytes;
use consilium_certs::CaBundle;
use consilium_certs::contract::genesis::{check_members, verify_endorsement};
use consilium_proto::genesis::{Genesis, Member, endorsement_input};
use consilium_proto::names::MemberId;
use consilium_proto::parameters;
use consilium_proto::pb;
use consilium_proto::signing::SigningKey;
use prost::Message;

use crate::error::ClientError;

/// Bytes of a member's part.
pub const PART_BYTES_MAX: u64 = 256 * 1024;

/// What a member's part is made of.
#[derive(Debug, Clone)]
pub struct PartRequest {
    /// SPIFFE trust domain.
    pub id: String,
    /// For people.
    pub display_name: String,
    /// The CA bundle, PEM.
    pub ca_pem: Vec<u8>,
    /// Standing, above 0.
    pub stake: u64,
    /// Its nodes.
    pub nodes: Vec<NodeRequest>,
}

/// A node of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRequest {
    /// Name in the SPIFFE id.
    pub name: String,
    /// host:port for peers.
    pub peer_address: String,
    /// host:port for clients.
    pub client_address: String,
    /// The vote key: hexadecimal of the 65-byte uncompressed point.
    pub vote_key: Vec<u8>,
}

/// Makes a member's part.
///
/// # Errors
/// A field outside its limits, a bundle outside the profile or of another
/// member, or an input that holds a private key.
pub fn make_part(request: PartRequest) -> Result<pb::GenesisMember, ClientError> {
    refuse_private_key("the CA file", &request.ca_pem)?;
    let id = MemberId::parse("id", &request.id)?;
    let bundle = CaBundle::from_pem(&request.ca_pem)
        .and_then(|bundle| bundle.belonging_to(&id))
        .map_err(|e| ClientError::Usage(format!("CA bundle: {e}")))?;
    let part = pb::GenesisMember {
        id: request.id,
        display_name: request.display_name,
        ca_bundle: bundle.to_ders().into_iter().map(Bytes::from).collect(),
        stake: request.stake,
        nodes: request.nodes.into_iter().map(make_node).collect::<Result<_, _>>()?,
    };
    Member::parse(part.clone())?;
    Ok(part)
}

fn make_node(request: NodeRequest) -> Result<pb::GenesisNode, ClientError> {
    let vote_key = public_vote_key(&format!("vote key of {}", request.name), &request.vote_key)?;
    Ok(pb::GenesisNode {
        name: request.name,
        raft_id: 0,
        peer_address: request.peer_address,
        client_address: request.client_address,
        vote_key,
    })
}

/// The public half of a vote key from the file that `keys vote` writes beside
/// it: hexadecimal of the 65-byte uncompressed point.
///
/// # Errors
/// If it is something else, above all the private half. `what` names it.
pub fn public_vote_key(what: &str, text: &[u8]) -> Result<Bytes, ClientError> {
    refuse_private_key(what, text)?;
    let point = std::str::from_utf8(text).ok().and_then(|text| hex::decode(text.trim()).ok());
    let point = point.filter(|point| point.len() == 65);
    point.map(Bytes::from).ok_or_else(|| ClientError::Usage(format!("{what}: not 130 hexadecimal digits")))
}

/// Refuses input that holds a private key in any usual armour: parts travel
/// between members.
///
/// # Errors
/// [`ClientError::Usage`] that names `what`, never the key.
pub fn refuse_private_key(what: &str, bytes: &[u8]) -> Result<(), ClientError> {
    const MARK: &[u8] = b"PRIVATE KEY";
    if bytes.windows(MARK.len()).any(|window| window.eq_ignore_ascii_case(MARK)) {
        return Err(ClientError::Usage(format!("{what} holds a private key; give only public material")));
    }
    Ok(())
}

/// Reads an encoded part and checks it.
///
/// # Errors
/// What is wrong with it; also if it already has raft ids.
pub fn parse_part(bytes: &[u8]) -> Result<pb::GenesisMember, ClientError> {
    refuse_private_key("the part", bytes)?;
    let part = pb::GenesisMember::decode(Bytes::copy_from_slice(bytes))
        .map_err(|_| ClientError::Usage("not a member's part".into()))?;
    if part.nodes.iter().any(|node| node.raft_id != 0) {
        return Err(ClientError::Usage("a part must not choose raft ids".into()));
    }
    Member::parse(part.clone())?;
    Ok(part)
}

/// Puts parts together: members ascending by id, raft ids from 1 in document
/// order, no endorsements yet. The same parts in any order give the same
/// document.
///
/// # Errors
/// What the checks of a genesis find, two parts of one member among them.
pub fn assemble(
    network: &str,
    time_ms: u64,
    mut parts: Vec<pb::GenesisMember>,
    parameters: pb::Parameters,
) -> Result<pb::GenesisDocument, ClientError> {
    parts.sort_by(|a, b| a.id.cmp(&b.id));
    let nodes = parts.iter_mut().flat_map(|part| part.nodes.iter_mut());
    for (node, raft_id) in nodes.zip(1..) {
        node.raft_id = raft_id;
    }
    let body = pb::Genesis {
        format_version: 1,
        network: network.to_owned(),
        time_ms,
        parameters: Some(parameters),
        members: parts,
    };
    let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
    let genesis = Genesis::parse(&document.encode_to_vec())?;
    check_members(&genesis).map_err(|e| ClientError::Usage(e.to_string()))?;
    Ok(document)
}

/// Signs a genesis for a member. The result is checked like anyone's.
///
/// # Errors
/// If the certificate is not of an administrator of a member in the document,
/// or does not verify under that member's bundle.
pub fn endorse(genesis: &Genesis, chain: Vec<Bytes>, key: &SigningKey) -> Result<pb::Endorsement, ClientError> {
    let leaf = chain.first().ok_or_else(|| ClientError::Usage("the certificate file is empty".into()))?;
    let certificate = consilium_certs::IdentityCertificate::parse(leaf)
        .map_err(|e| ClientError::Usage(format!("certificate: {e}")))?;
    let signature = key.sign(&endorsement_input(&genesis.ledger_id))?;
    let endorsement = pb::Endorsement {
        member: certificate.spiffe_id().member().to_string(),
        certificate_chain: chain,
        signature: Bytes::copy_from_slice(&signature),
    };
    verify_endorsement(genesis, &endorsement).map_err(|e| ClientError::Usage(e.to_string()))?;
    Ok(endorsement)
}

/// Adds endorsements to a document, each verified under its member's bundle.
/// One given again replaces nothing: the document's own stays.
///
/// # Errors
/// The first endorsement that does not count.
pub fn add_endorsements(
    document: &[u8],
    endorsements: Vec<pb::Endorsement>,
) -> Result<pb::GenesisDocument, ClientError> {
    let genesis = Genesis::parse(document)?;
    let mut document = pb::GenesisDocument::decode(Bytes::copy_from_slice(document))
        .map_err(|_| ClientError::Usage("not a genesis document".into()))?;
    for endorsement in endorsements {
        verify_endorsement(&genesis, &endorsement)
            .map_err(|e| ClientError::Verification(crate::Unverified::Contradiction(e.to_string())))?;
        if !document.endorsements.iter().any(|held| held.member == endorsement.member) {
            document.endorsements.push(endorsement);
        }
    }
    document.endorsements.sort_by(|a, b| a.member.cmp(&b.member));
    Ok(document)
}

/// Reads an encoded endorsement.
///
/// # Errors
/// If it is none.
pub fn parse_endorsement(bytes: &[u8]) -> Result<pb::Endorsement, ClientError> {
    refuse_private_key("the endorsement", bytes)?;
    pb::Endorsement::decode(Bytes::copy_from_slice(bytes)).map_err(|_| ClientError::Usage("not an endorsement".into()))
}

/// What `network init` proposes; see [`parameters::recommended_parameters`].
#[must_use]
pub fn recommended_parameters() -> pb::Parameters {
    parameters::recommended_parameters()
}

#[cfg(test)]
mod tests;
