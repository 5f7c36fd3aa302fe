//! Verification of ledgers built here: a good one, and one per thing that can
//! be wrong, certified by the validators all the same, so that each check is
//! shown to stand on its own.
#![allow(clippy::unwrap_used)]

mod epochs;
mod good;
mod headers;
mod hostile;
mod logs;
mod rows;
mod transactions;

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_certs::{IdentityRequest, MemberCa, SubjectKey, Validity};
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Epoch, Fingerprint, HeaderHash, Height, NodeId, TimeMs, VotingPower};
use consilium_proto::limits::ARCHIVE_FORMAT;
use consilium_proto::merkle::Frontier;
use consilium_proto::names::Role;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::record::version_hash;
use consilium_proto::signing::{SignatureAlgorithm, SigningKey};
use consilium_proto::state_tree::{KeyHash, ValueHash, root_of_sorted};
use consilium_proto::transaction::{self, SignedHead, enrollment_proof_input, signing_key_fingerprint, transaction_id};
use consilium_proto::validators::{Validator, ValidatorSet};
use consilium_proto::vote::{BlockCertificate, Vote};
use pb::archive_entry::Entry;
use prost::Message;
use time::{Duration, OffsetDateTime};

use super::*;

const NOW_S: i64 = 1_790_000_000;
const NOW_MS: u64 = NOW_S as u64 * 1_000;
const RECORD_ID: [u8; 16] = [5; 16];
/// Seats that are elected: raft ids and powers.
const FIRST: &[(u64, u64)] = &[(1, 100), (2, 100), (4, 100)];
const SECOND: &[(u64, u64)] = &[(4, 70), (5, 70)];

/// A network of one member with three validators, and its ledger so far.
struct Ledger {
    document: pb::GenesisDocument,
    genesis: Genesis,
    /// Keys that vote, of raft ids from 1; the first three are founders'.
    votes: Vec<SigningKey>,
    /// Of each epoch, from 0.
    sets: Vec<ValidatorSet>,
    certificate_key: SigningKey,
    certificate: Bytes,
    author: SigningKey,
    frontier: Frontier,
    blocks: Vec<pb::ArchiveBlock>,
    headers: Vec<Header>,
    rows: Vec<pb::ArchiveRow>,
}

fn validity() -> Validity {
    let now = OffsetDateTime::from_unix_timestamp(NOW_S).unwrap();
    Validity { not_before: now - Duration::days(1), not_after: now + Duration::days(300) }
}

impl Ledger {
    fn new() -> Self {
        let ca = MemberCa::create(&"a.example".parse().unwrap(), validity()).unwrap();
        let issued = ca.issue(&service_request()).unwrap();
        let votes: Vec<_> = (0..5).map(|_| SigningKey::generate(SignatureAlgorithm::Es256).unwrap()).collect();
        let node = |(i, key): (usize, &SigningKey)| pb::GenesisNode {
            name: format!("n{i}"),
            raft_id: i as u64 + 1,
            peer_address: format!("127.0.0.1:{}", 7500 + i),
            client_address: format!("127.0.0.1:{}", 7400 + i),
            vote_key: key.verifying_key().raw().to_vec().into(),
        };
        let member = pb::GenesisMember {
            id: "a.example".into(),
            display_name: "A".into(),
            ca_bundle: ca.bundle().to_ders().into_iter().map(Bytes::from).collect(),
            stake: 300,
            nodes: votes.iter().take(3).enumerate().map(node).collect(),
        };
        let body = pb::Genesis {
            format_version: 1,
            network: "test".into(),
            time_ms: NOW_MS,
            parameters: Some(recommended_parameters()),
            members: vec![member],
        };
        let document = pb::GenesisDocument { body: body.encode_to_vec().into(), endorsements: Vec::new() };
        let genesis = Genesis::parse(&document.encode_to_vec()).unwrap();
        let mut ledger = Self {
            sets: vec![genesis.validators().unwrap()],
            genesis,
            document,
            votes,
            certificate_key: SigningKey::from_pem(&issued.key_pem.unwrap()).unwrap(),
            certificate: Bytes::copy_from_slice(issued.certificate.der()),
            author: SigningKey::from_ed25519_seed(&[9; 32]),
            frontier: Frontier::new(),
            blocks: Vec::new(),
            headers: Vec::new(),
            rows: Vec::new(),
        };
        for leaf in Leaf::genesis(ledger.genesis.ledger_id) {
            ledger.frontier.append(leaf.hash()).unwrap();
        }
        ledger.put_epoch(0, 1, NOW_MS, ledger.sets[0].clone());
        ledger.append(0, Vec::new(), |_| ());
        ledger
    }

    /// The usual: an enrolment, a record with its attachments, refusals, and a
    /// certificate over the last block.
    fn usual() -> Self {
        let mut ledger = Self::new();
        let enroll = ledger.enroll();
        ledger.push(vec![(enroll, Outcome::Applied)]);
        let attachments = vec![Bytes::from_static(b"payload"), Bytes::from_static(b"wrap")];
        let write = ledger.sign(1, NOW_MS + 60_000, vec![write_action(&attachments)]);
        let refused = ledger.sign(3, NOW_MS + 60_000, vec![retract_action()]);
        ledger.push(vec![(write.clone(), Outcome::Applied), (refused, Outcome::RecordNotFound)]);
        ledger.blocks[2].attachments = attachments;
        ledger.certify(2);
        ledger.write_rows(&write);
        let root = ledger.state_root();
        let observed = ledger.blocks[2].certificate.clone();
        ledger.append(3, Vec::new(), |header| header.state_root = root);
        ledger.blocks[3].block.as_mut().unwrap().observed_certificate = observed;
        ledger.certify(3);
        ledger
    }

    /// The usual, and three elections: at 4 node 4 comes in place of 3, at 6 the
    /// same are seated again, at 8 nodes 4 and 5 are left.
    fn across_epochs() -> Self {
        let mut ledger = Self::usual();
        for seats in [FIRST, FIRST, SECOND] {
            ledger.elect(seats);
            ledger.push(Vec::new());
        }
        ledger.certify(9);
        ledger
    }

    fn set_of(&self, seats: &[(u64, u64)]) -> ValidatorSet {
        let seat = |(id, power): &(u64, u64)| Validator {
            id: NodeId(*id),
            power: VotingPower(*power),
            key: self.votes[*id as usize - 1].verifying_key(),
        };
        ValidatorSet::new(seats.iter().map(seat).collect(), self.sets[0].quorum()).unwrap()
    }

    /// Appends a block that ends the epoch, as it should be.
    fn elect(&mut self, seats: &[(u64, u64)]) {
        let (height, set) = (self.blocks.len(), self.set_of(seats));
        self.put_epoch(self.sets.len() as u64, height as u64 + 1, time_of(height as u64), set.clone());
        self.append(height as u64, Vec::new(), |header| header.next_validators_hash = set.hash());
        if self.sets.last() != Some(&set) {
            self.certify(height);
            self.blocks[height].next_validators = Some((&set).into());
        }
        self.sets.push(set);
    }

    fn put_epoch(&mut self, epoch: u64, first_height: u64, start_ms: u64, set: ValidatorSet) {
        let validators = Some((&set).into());
        let state = pb::EpochState { epoch, first_height, start_ms, validators, ..Default::default() };
        self.put_row("state", epoch_key(epoch), state.encode_to_vec());
    }

    fn put_row(&mut self, table: &str, key: Vec<u8>, value: Vec<u8>) {
        let row = pb::ArchiveRow { table: table.into(), key: key.into(), value: value.into() };
        self.rows.retain(|r| (&r.table, &r.key) != (&row.table, &row.key));
        self.rows.push(row);
        let table = |row: &pb::ArchiveRow| ["state", "versions", "logs"].iter().position(|table| *table == row.table);
        self.rows.sort_by(|a, b| (table(a), &a.key).cmp(&(table(b), &b.key)));
    }

    fn body(&self, nonce: u8, valid_until_ms: u64, actions: Vec<pb::Action>) -> pb::TransactionBody {
        pb::TransactionBody {
            ledger_id: self.genesis.ledger_id.to_bytes(),
            nonce: vec![nonce; 16].into(),
            valid_until_ms,
            actions: transaction::encode_actions(&actions),
            author: Bytes::new(),
        }
    }

    fn sign(&self, nonce: u8, valid_until_ms: u64, actions: Vec<pb::Action>) -> pb::SignedTransaction {
        self.sign_as(&self.author, nonce, valid_until_ms, actions)
    }

    fn sign_as(
        &self,
        key: &SigningKey,
        nonce: u8,
        valid_until_ms: u64,
        actions: Vec<pb::Action>,
    ) -> pb::SignedTransaction {
        let body = self.body(nonce, valid_until_ms, actions);
        transaction::sign(body, signing_key_fingerprint(&key.verifying_key()), key, Vec::new()).unwrap()
    }

    fn enroll(&self) -> pb::SignedTransaction {
        let fingerprint = Fingerprint::from_bytes(sha256(&[&self.certificate]));
        let enroll = pb::EnrollIdentity {
            certificate_chain: vec![self.certificate.clone()],
            signing_key: self.author.verifying_key().to_bytes().into(),
            encryption_key: Bytes::new(),
            signing_key_proof: Bytes::copy_from_slice(
                &self.author.sign(&enrollment_proof_input(self.genesis.ledger_id, &fingerprint)).unwrap(),
            ),
        };
        let action = pb::Action { action: Some(pb::action::Action::EnrollIdentity(enroll)) };
        transaction::sign(self.body(0, NOW_MS + 60_000, vec![action]), fingerprint, &self.certificate_key, Vec::new())
            .unwrap()
    }

    fn push(&mut self, transactions: Vec<(pb::SignedTransaction, Outcome)>) {
        self.append(self.blocks.len() as u64, transactions, |_| ());
    }

    /// Appends a block whose header `adjust` may falsify before it counts.
    fn append(
        &mut self,
        height: u64,
        transactions: Vec<(pb::SignedTransaction, Outcome)>,
        adjust: impl FnOnce(&mut Header),
    ) {
        let first_leaf = if height == 0 { 0 } else { self.frontier.size() };
        let mut executed = Vec::new();
        for (signed, outcome) in transactions {
            let SignedHead { head, signature } = transaction::signed_head(&signed).unwrap();
            let (transaction_id, signature_hash) = (head.id(), transaction::signature_hash(&signature));
            let leaf = Leaf { transaction_id, height: Height(height), outcome, signature_hash };
            self.frontier.append(leaf.hash()).unwrap();
            executed.push(pb::ExecutedTransaction {
                transaction: Some(signed),
                outcome: outcome.into(),
                withheld: None,
            });
        }
        let set = self.sets.last().unwrap().hash();
        let mut header = Header {
            ledger_id: self.genesis.ledger_id,
            height: Height(height),
            previous_hash: self.headers.last().map_or(HeaderHash::from_bytes([0; 32]), Header::hash),
            time: TimeMs(time_of(height)),
            epoch: Epoch(self.sets.len() as u64 - 1),
            tree_size: self.frontier.size(),
            tree_root: self.frontier.root(),
            state_root: self.state_root(),
            validators_hash: set,
            next_validators_hash: set,
            proposer: NodeId(u64::from(height > 0)),
            log_hash: Hash::from_bytes([0; 32]),
        };
        adjust(&mut header);
        let block =
            pb::Block { header: Some((&header).into()), first_leaf, transactions: executed, ..Default::default() };
        self.headers.push(header);
        self.blocks.push(pb::ArchiveBlock { block: Some(block), ..Default::default() });
    }

    fn certify(&mut self, height: usize) {
        let set = &self.sets[self.headers[height].epoch.0 as usize];
        let signers: Vec<u64> = set.seats().iter().map(|seat| seat.id.0).collect();
        self.blocks[height].certificate = Some(self.certificate(height, &signers));
    }

    /// A certificate with the signatures of these raft ids.
    fn certificate(&self, height: usize, signers: &[u64]) -> pb::BlockCertificate {
        let header = &self.headers[height];
        let sign = |id: &u64| {
            let vote = Vote::sign(NodeId(*id), header, &self.votes[*id as usize - 1]).unwrap();
            (NodeId(*id), vote.signature)
        };
        let signatures: BTreeMap<_, _> = signers.iter().map(sign).collect();
        (&BlockCertificate::new(header.height, header.hash(), signatures)).into()
    }

    /// One record with two versions, and another row.
    fn write_rows(&mut self, write: &pb::SignedTransaction) {
        let first = pb::RecordVersion {
            record_id: RECORD_ID.to_vec().into(),
            version: 1,
            transaction_id: transaction_id(write).unwrap().to_bytes(),
            ..Default::default()
        };
        let second = pb::RecordVersion {
            record_id: RECORD_ID.to_vec().into(),
            version: 2,
            previous_sha256: Bytes::copy_from_slice(&version_hash(&first)),
            retraction: true,
            ..Default::default()
        };
        let state = pb::RecordState {
            member: "a.example".into(),
            version: 2,
            version_sha256: Bytes::copy_from_slice(&version_hash(&second)),
            ..Default::default()
        };
        self.put_row("state", b"\x01a.example".to_vec(), b"member".to_vec());
        self.put_row("state", [&[6u8][..], &RECORD_ID].concat(), state.encode_to_vec());
        self.put_row("versions", version_key(1), first.encode_to_vec());
        self.put_row("versions", version_key(2), second.encode_to_vec());
    }

    /// The row of a version of the record.
    fn version(&mut self, number: u32) -> &mut pb::ArchiveRow {
        let key = version_key(number);
        self.rows.iter_mut().find(|row| row.table == "versions" && row.key == key).unwrap()
    }

    fn state_root(&self) -> Hash {
        let state = self.rows.iter().filter(|r| r.table == "state");
        let map: BTreeMap<_, _> = state.map(|r| (KeyHash::of(&r.key), ValueHash::of(&r.value))).collect();
        root_of_sorted(map).unwrap()
    }

    fn entries(&self) -> Vec<Entry> {
        let header = pb::ArchiveHeader { format_version: ARCHIVE_FORMAT, genesis: Some(self.document.clone()) };
        let blocks = self.blocks.iter().cloned().map(Entry::Block);
        let rows = self.rows.iter().cloned().map(Entry::Row);
        let end = pb::ArchiveEnd { height: self.blocks.len() as u64 - 1, rows: self.rows.len() as u64 };
        std::iter::once(Entry::Header(header)).chain(blocks).chain(rows).chain([Entry::End(end)]).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        encode(self.entries())
    }

    fn report(&self) -> Report {
        verify(&self.bytes(), &self.genesis)
    }

    fn failure(&self) -> VerifyFailure {
        self.report().failure.unwrap()
    }
}

fn service_request() -> IdentityRequest {
    IdentityRequest {
        role: Role::Service,
        name: "ehr".into(),
        dns_names: Vec::new(),
        ip_addrs: Vec::new(),
        validity: validity(),
        key: SubjectKey::Generate,
    }
}

fn time_of(height: u64) -> u64 {
    NOW_MS + 10 * height
}

fn epoch_key(epoch: u64) -> Vec<u8> {
    [&[0x0c][..], &epoch.to_be_bytes()].concat()
}

fn version_key(number: u32) -> Vec<u8> {
    [&RECORD_ID[..], &number.to_be_bytes()].concat()
}

fn encode(entries: Vec<Entry>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for entry in entries {
        out.extend(pb::ArchiveEntry { entry: Some(entry) }.encode_length_delimited_to_vec());
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = ArchiveReader::new(bytes);
    let mut out = Vec::new();
    while let Some(entry) = reader.next_entry().ok()? {
        out.push(entry);
    }
    Some(out)
}

fn verify(bytes: &[u8], genesis: &Genesis) -> Report {
    verify_archive(bytes, genesis, Options::default(), |_| ()).unwrap()
}

fn write_action(attachments: &[Bytes]) -> pb::Action {
    let hash = |b: &Bytes| Bytes::copy_from_slice(&sha256(&[b]));
    let wraps = vec![pb::KeyWrapRef { recipient_key_id: vec![1; 32].into(), wrap_sha256: hash(&attachments[1]) }];
    let write = pb::WriteRecord {
        record_id: RECORD_ID.to_vec().into(),
        version: 1,
        patient: vec![2; 16].into(),
        kind: "Observation".into(),
        confidentiality: pb::Confidentiality::Normal.into(),
        payload_sha256: hash(&attachments[0]),
        payload_size: attachments[0].len() as u32,
        descriptor_sha256: Bytes::new(),
        wraps,
        policy_tags: Vec::new(),
    };
    pb::Action { action: Some(pb::action::Action::WriteRecord(write)) }
}

fn retract_action() -> pb::Action {
    let retract = pb::RetractRecord { record_id: vec![3; 16].into(), version: 1, reason: 0 };
    pb::Action { action: Some(pb::action::Action::RetractRecord(retract)) }
}
