//! Members and the genesis ceremony, through the libraries: each member makes
//! its part from public material and endorses the joint document.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use consilium_certs::{CaStore, IdentityRequest, IssuedFiles, SubjectKey, Validity, pem};
use consilium_proto::genesis::{endorsement_input, ledger_id};
use consilium_proto::names::Role;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use prost::Message;
use time::{Duration, OffsetDateTime};

/// A member organisation with its CA, in a folder of its own.
#[derive(Debug)]
pub struct Member {
    /// SPIFFE trust domain.
    pub id: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its CA.
    pub ca: CaStore,
}

/// From an hour ago to ten days ahead.
#[must_use]
pub fn around_now() -> Validity {
    at_offset(Duration::hours(-1), Duration::days(10))
}

/// A validity relative to now.
#[must_use]
pub fn at_offset(from: Duration, to: Duration) -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity { not_before: now + from, not_after: now + to }
}

impl Member {
    pub(crate) fn create(id: &str, dir: PathBuf) -> anyhow::Result<Self> {
        // The CA is older than any identity, so that expired ones can be made.
        let validity = at_offset(Duration::days(-90), Duration::days(900));
        let ca = CaStore::init(&dir.join("ca"), &id.parse()?, validity)?;
        Ok(Self { id: id.to_owned(), dir, ca })
    }

    /// Issues an identity; files `ROLE-NAME.pem` and `.key` in the member's folder.
    ///
    /// # Errors
    /// If there is one of that name already.
    pub fn issue(&self, role: Role, name: &str, validity: Validity) -> anyhow::Result<IssuedFiles> {
        let request = IdentityRequest {
            role,
            name: name.to_owned(),
            dns_names: Vec::new(),
            ip_addrs: Vec::new(),
            validity,
            key: SubjectKey::Generate,
        };
        Ok(self.ca.issue(&request, &self.dir)?)
    }

    /// Makes the node's identity and vote key, and the member's public part.
    ///
    /// # Errors
    /// If they exist already.
    pub fn part(&self, stake: u64, client: SocketAddr, peer: SocketAddr) -> anyhow::Result<pb::GenesisMember> {
        // Longer than the time before its end at which a node raises an alarm.
        self.issue(Role::Node, "n1", at_offset(Duration::hours(-1), Duration::days(60)))?;
        let vote_key = SigningKey::generate(SignatureAlgorithm::Es256)?;
        write_secret(&self.dir.join("vote.key"), &vote_key.to_pem()?)?;
        Ok(pb::GenesisMember {
            id: self.id.clone(),
            display_name: format!("Hospital {}", self.id),
            ca_bundle: self.ca.ca().bundle().to_ders().into_iter().map(Bytes::from).collect(),
            stake,
            nodes: vec![pb::GenesisNode {
                name: "n1".into(),
                raft_id: 0,
                peer_address: peer.to_string(),
                client_address: client.to_string(),
                vote_key: Bytes::copy_from_slice(vote_key.verifying_key().raw()),
            }],
        })
    }

    fn endorse(&self, body: &[u8]) -> anyhow::Result<pb::Endorsement> {
        let (certificate, key) = (self.dir.join("admin-founder.pem"), self.dir.join("admin-founder.key"));
        if !certificate.exists() {
            self.issue(Role::Admin, "founder", around_now())?;
        }
        let chain = pem::certificates(&fs::read(&certificate)?)?;
        let key = SigningKey::from_pem(&fs::read_to_string(key)?)?;
        let signature = key.sign(&endorsement_input(&ledger_id(body)))?;
        Ok(pb::Endorsement {
            member: self.id.clone(),
            certificate_chain: chain.iter().map(|der| Bytes::copy_from_slice(der)).collect(),
            signature: Bytes::copy_from_slice(&signature),
        })
    }
}

/// Puts the parts together (members ascending by id) and has all endorse.
pub(crate) fn document(
    members: &[Member],
    mut parts: Vec<pb::GenesisMember>,
    parameters: Option<pb::Parameters>,
) -> anyhow::Result<Vec<u8>> {
    for (part, raft_id) in parts.iter_mut().zip(1..) {
        part.nodes[0].raft_id = raft_id;
    }
    let now_ms = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let genesis = pb::Genesis {
        format_version: 1,
        network: "e2e".into(),
        time_ms: u64::try_from(now_ms)?,
        parameters: Some(parameters.unwrap_or(recommended_parameters())),
        members: parts,
    };
    endorsed(members, &genesis)
}

/// The document with a change, endorsed again: another ledger.
pub(crate) fn changed(
    members: &[Member],
    document: &[u8],
    change: impl FnOnce(&mut pb::Genesis),
) -> anyhow::Result<Vec<u8>> {
    let document = pb::GenesisDocument::decode(document)?;
    let mut genesis = pb::Genesis::decode(document.body)?;
    change(&mut genesis);
    endorsed(members, &genesis)
}

fn endorsed(members: &[Member], genesis: &pb::Genesis) -> anyhow::Result<Vec<u8>> {
    let body = Bytes::from(genesis.encode_to_vec());
    let endorsements = members.iter().map(|m| m.endorse(&body)).collect::<Result<_, _>>()?;
    Ok(pb::GenesisDocument { body, endorsements }.encode_to_vec())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
