//! A hospital's ledger on a disk, as a node keeps it: records of many patients, and some of whom
//! fifty were written together. Its EHR reads them, as the author.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use consilium_consensus::{LogHash, LogIndex, LogPosition, Term};
use consilium_kit::keys::vote;
use consilium_kit::people::{Identity, body, write_record};
use consilium_kit::{Action, MemberSpec, Rules, START, genesis};
use consilium_ledger::rights::Claim;
use consilium_ledger::{BlockInput, CheckedTransaction, Executed, Tip, execute, genesis_block};
use consilium_node::api::record_lists::{parse, read};
use consilium_node::api::release::{Page, Released, answer};
use consilium_node::storage::ledger_port::LedgerPort;
use consilium_node::storage::ledger_store::LedgerStore;
use consilium_proto::genesis::Genesis;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{LedgerId, NodeId, PatientPseudonym, RecordId, TimeMs};
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::names::SpiffeId;
use consilium_proto::observed::Observed;
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, AccessKind, Outcome, PurposeOfUse};
use consilium_proto::transaction::{Transaction, encryption_key_id};
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::{BlockCertificate, CertifiedHeader, Vote};
use consilium_replica::CachedLedger;
use consilium_replica::ports::Ledger;
use prost::Message;

const MEMBERS: [MemberSpec<'static>; 3] = [("a.example", 10, 1), ("b.example", 10, 1), ("c.example", 10, 1)];
/// Transactions in a block of records that nobody reads.
const BLOCK: usize = 500;
/// Bytes of a wrap for an X-Wing key.
pub const WRAP_BYTES: usize = 1_171;
/// Bytes of an encrypted payload of 1 KiB.
pub const PAYLOAD_BYTES: usize = 1_024 + 64;
/// Patients whose records are read.
pub const SHELVES: usize = 64;
/// Records of each of them.
pub const SHELF: usize = 50;
/// The block cache of a node, as it is configured by default.
const CACHE_BYTES: usize = 256 * 1024 * 1024;

pub struct Hospital {
    ledger: CachedLedger<LedgerPort>,
    genesis: Genesis,
    tip: Tip,
    ehr: Identity,
    name: SpiffeId,
    wrapped_for: Vec<Bytes>,
    /// Transactions and records so far: each has a number.
    made: u64,
    /// Number of the first record on a shelf.
    shelved_from: u64,
}

/// A request for access that was executed.
pub struct Asked(Transaction);

impl Hospital {
    /// With so many records that nobody reads.
    #[must_use]
    pub fn open(folder: &Path, others: usize) -> Self {
        let parameters = pb::Parameters { epoch_ms: 30 * 24 * 3_600_000, ..recommended_parameters() };
        let genesis = genesis("bench", START, parameters, &MEMBERS);
        let ledger = CachedLedger::new(LedgerPort(Arc::new(LedgerStore::open(folder, CACHE_BYTES).unwrap())));
        let executed = genesis_block(&ledger, &genesis).unwrap();
        let (tip, ehr) = (executed.tip.clone(), Identity::new("a.example", "service", "ehr"));
        let name = "spiffe://a.example/service/ehr".parse().unwrap();
        let mut hospital = Self { ledger, genesis, tip, ehr, name, wrapped_for: Vec::new(), made: 0, shelved_from: 0 };
        hospital.store(&executed);
        let [.., custodian] = ["ehr", "custodian"].map(|name| hospital.enroll("service", name));
        hospital.enroll("admin", "root");
        hospital.name_custodian(custodian);
        hospital.shelved_from = hospital.made + 1;
        let shelves = (0..SHELVES).map(|shelf| hospital.written((0..SHELF).map(|_| shelf_of(shelf))));
        let shelves: Vec<_> = shelves.collect();
        shelves.chunks(8).for_each(|block| drop(hospital.block(block)));
        for first in (0..others).step_by(BLOCK) {
            let patient = |n: usize| PatientPseudonym(short(b"another", (n / 20) as u64));
            let all: Vec<_> = (first..others.min(first + BLOCK)).map(|n| hospital.written([patient(n)])).collect();
            hospital.block(&all);
        }
        hospital
    }

    /// Gives the id of the encryption key.
    fn enroll(&mut self, role: &str, name: &str) -> Bytes {
        let who = Identity::new("a.example", role, name);
        let key = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap().public_key();
        let Action::EnrollIdentity(enroll) = who.enrollment(self.genesis.ledger_id) else { unreachable!() };
        let enroll = pb::EnrollIdentity { encryption_key: key.encode().into(), ..enroll };
        let body = self.body(vec![Action::EnrollIdentity(enroll)]);
        let enrollment = self.check(&who.sign_enrollment(body));
        self.block(&[enrollment]);
        let id = encryption_key_id(&key).to_bytes();
        if role == "service" {
            self.wrapped_for.push(id.clone());
        }
        id
    }

    fn name_custodian(&mut self, encryption_key_id: Bytes) {
        let admin = Identity::new("a.example", "admin", "root");
        let body = self.body(vec![Action::SetCustodyKey(pb::SetCustodyKey { encryption_key_id })]);
        let named = CheckedTransaction { verified_under: None, ..self.check(&admin.sign(body, Vec::new())) };
        self.block(&[named]);
    }

    /// A transaction that writes a record of each of these patients.
    fn written(&mut self, patients: impl IntoIterator<Item = PatientPseudonym>) -> CheckedTransaction {
        let (mut actions, mut attachments) = (Vec::new(), Vec::new());
        for patient in patients {
            self.made += 1;
            let id = short(b"record", self.made);
            let payload = noise(self.made, PAYLOAD_BYTES);
            let Action::WriteRecord(mut write) = write_record(id, 1, "Observation", &payload) else { unreachable!() };
            write.patient = Bytes::copy_from_slice(&patient.0);
            attachments.push(payload);
            for key in &self.wrapped_for {
                let wrap = noise(u64::from(key[0]) << 40 | self.made, WRAP_BYTES);
                let wrap_sha256 = Bytes::copy_from_slice(&sha256(&[&wrap]));
                write.wraps.push(pb::KeyWrapRef { recipient_key_id: key.clone(), wrap_sha256 });
                attachments.push(wrap);
            }
            actions.push(Action::WriteRecord(write));
        }
        let body = self.body(actions);
        self.check(&self.ehr.sign(body, attachments))
    }

    fn body(&mut self, actions: Vec<Action>) -> pb::TransactionBody {
        self.made += 1;
        body(self.genesis.ledger_id.to_bytes(), self.made, self.now() + 3_600_000, actions)
    }

    fn now(&self) -> u64 {
        self.tip.header.time.0
    }

    fn check(&self, signed: &pb::SignedTransaction) -> CheckedTransaction {
        let transaction = Transaction::parse(signed, self.genesis.ledger_id).unwrap();
        CheckedTransaction { transaction, verified_under: Some(self.ehr.key.verifying_key()) }
    }

    /// A request to read the first records of a shelf, as it travels.
    #[must_use]
    pub fn request(&mut self, shelf: usize, records: usize) -> Bytes {
        let first = self.shelved_from + shelf as u64 * (SHELF as u64 + 1);
        let record = |n| RecordId(short(b"record", first + n));
        let record = |n| pb::VersionRef { record_id: Bytes::copy_from_slice(&record(n).0), version: 0 };
        let request = pb::RequestAccess {
            patient: Bytes::copy_from_slice(&shelf_of(shelf).0),
            purpose: PurposeOfUse::Treat.into(),
            kind: AccessKind::Read.into(),
            records: (0..records as u64).map(record).collect(),
            ..pb::RequestAccess::default()
        };
        let body = self.body(vec![Action::RequestAccess(request)]);
        self.ehr.sign(body, Vec::new()).encode_to_vec().into()
    }

    /// What every node does with the requests of a block: parses, decides, and stores them. That
    /// their signatures are good was found out before.
    pub fn apply(&mut self, requests: &[Bytes]) -> (Vec<Asked>, Executed) {
        let parse = |signed: &Bytes| self.check(&pb::SignedTransaction::decode(signed.clone()).unwrap());
        let checked: Vec<_> = requests.iter().map(parse).collect();
        let executed = self.block(&checked);
        (checked.into_iter().map(|checked| Asked(checked.transaction)).collect(), executed)
    }

    /// The ledger's id.
    #[must_use]
    pub fn ledger_id(&self) -> LedgerId {
        self.genesis.ledger_id
    }

    /// The newest header with its certificate, and who signed that.
    #[must_use]
    pub fn certified(&self) -> (CertifiedHeader, ValidatorSet) {
        let header = self.tip.header.clone();
        let certificate = certify(&header);
        (CertifiedHeader { header, certificate }, self.genesis.validators().unwrap())
    }

    /// From now on records have a wrap for their custodian alone.
    pub fn wrap_for_custodian(&mut self) {
        self.wrapped_for.drain(..self.wrapped_for.len() - 1);
    }

    /// A transaction that writes a record of one of so many patients.
    pub fn record_of_one_of(&mut self, patients: u64) -> CheckedTransaction {
        let patient = self.made * 7_919 % patients;
        self.written([PatientPseudonym(short(b"one of many", patient))])
    }

    /// What every node does with a block: executes and stores it.
    pub fn take(&mut self, transactions: &[CheckedTransaction]) {
        let mut executed = self.execute(transactions);
        self.write(&mut executed);
    }

    fn block(&mut self, transactions: &[CheckedTransaction]) -> Executed {
        let executed = self.execute(transactions);
        self.store(&executed);
        executed
    }

    /// All of it is applied.
    fn execute(&self, transactions: &[CheckedTransaction]) -> Executed {
        let input = BlockInput {
            time: TimeMs(self.now() + 10),
            proposer: NodeId(1),
            transactions,
            observed: &Observed::default(),
            log_hash: Hash::from_bytes([0; 32]),
        };
        let executed = execute(&self.ledger, &Rules, &self.tip, &input).unwrap();
        assert_eq!(executed.leaves.len(), transactions.len());
        executed.leaves.iter().for_each(|(_, leaf)| assert_eq!(leaf.outcome, Outcome::Applied));
        executed
    }

    fn store(&mut self, executed: &Executed) {
        self.write(&mut executed.clone());
        self.ledger.write_certificate(&certify(&self.tip.header)).unwrap();
    }

    fn write(&mut self, executed: &mut Executed) {
        let index = LogIndex(executed.tip.header.height.0 + 1);
        let position = LogPosition { index, term: Term(1), hash: LogHash::NONE };
        self.ledger.write_block(position, executed, None).unwrap();
        self.tip = executed.tip.clone();
    }

    /// What the node that was asked answers, once the request's block is certified, as it travels.
    #[must_use]
    pub fn answer(&self, asked: &Asked) -> Vec<u8> {
        let Released { records, next_page_token, .. } = self.released(asked);
        let height = self.tip.header.height.0;
        pb::ReadRecordsResponse { height, records, header: None, next_page_token }.encode_to_vec()
    }

    /// What is answered.
    ///
    /// # Panics
    /// If nothing is.
    #[must_use]
    pub fn released(&self, asked: &Asked) -> Released {
        let snapshot = self.store_of().snapshot().unwrap();
        let claim = Claim {
            transaction: asked.0.id,
            author: asked.0.head.author,
            reader: &self.name,
            certified: self.tip.header.height,
            time: self.tip.header.time,
        };
        let request = asked.0.access_request().unwrap();
        let released = answer(&snapshot, &claim, request, Page::default()).unwrap().unwrap();
        assert_eq!(released.records.len(), request.records.len());
        released
    }

    /// The patient of a shelf with all its records, listed with proof, as it travels.
    #[must_use]
    pub fn listed(&self, patient: PatientPseudonym) -> Vec<u8> {
        let snapshot = self.store_of().snapshot().unwrap();
        let wanted = parse(patient, &pb::ListPatientRecordsRequest::default()).unwrap();
        read(&snapshot, &patient, &wanted).unwrap().encode_to_vec()
    }

    /// Writes so many records of a patient, a hundred in a transaction.
    pub fn write_records(&mut self, patient: PatientPseudonym, records: usize) {
        for first in (0..records).step_by(100) {
            let batch = self.written(std::iter::repeat_n(patient, 100.min(records - first)));
            self.block(&[batch]);
        }
    }

    fn store_of(&self) -> &LedgerStore {
        &self.ledger.inner().0
    }
}

/// By the nodes of all members.
fn certify(header: &Header) -> BlockCertificate {
    let sign = |node| (NodeId(node), Vote::sign(NodeId(node), header, &vote(node)).unwrap().signature);
    BlockCertificate::new(header.height, header.hash(), (1..=MEMBERS.len() as u64).map(sign).collect())
}

fn shelf_of(shelf: usize) -> PatientPseudonym {
    PatientPseudonym(short(b"shelf", shelf as u64))
}

fn short(what: &[u8], number: u64) -> [u8; 16] {
    *sha256(&[what, &number.to_be_bytes()]).first_chunk().unwrap()
}

/// Bytes that do not compress, as ciphertexts.
fn noise(seed: u64, len: usize) -> Bytes {
    let blocks = (0..len.div_ceil(32) as u64).map(|n| sha256(&[b"noise", &seed.to_be_bytes(), &n.to_be_bytes()]));
    let mut bytes = blocks.collect::<Vec<_>>().concat();
    bytes.truncate(len);
    bytes.into()
}
