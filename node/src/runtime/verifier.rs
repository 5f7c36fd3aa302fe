//! Verifies signatures, away from the network and from the applier: of
//! submissions before they are queued, and of blocks as they arrive, before
//! they commit. Ed25519 signatures are verified in batches across everything
//! that waits.
//!
//! A key's fingerprint is a hash of the key, or of the certificate that holds
//! it, so the cache of keys never goes stale; whether the author may still
//! sign is for the rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use consilium_consensus::LogPosition;
use consilium_ledger::{CheckedTransaction, Table, keys};
use consilium_proto::ids::{Fingerprint, TransactionId};
use consilium_proto::pb::SignerState;
use consilium_proto::signing::{BatchVerifier, VerifyingKey};
use consilium_proto::transaction::Transaction;
use crossbeam_channel::{Receiver, Sender};

use super::blocks::{BlockQueue, CheckedBlock};
use super::driver::DriverMsg;
use super::shared::Shared;
use super::waiters::Refused;

/// Signatures verified at once.
const BATCH_MAX: usize = 128;
/// Keys remembered.
const KEYS_MAX: usize = 100_000;
/// Submissions remembered as verified, per generation.
const VERIFIED_MAX: usize = 16_384;

/// Work for the pool.
#[derive(Debug)]
pub enum VerifyJob {
    /// A transaction from a client, or from a peer that forwards one.
    Submission(Transaction),
    /// A log entry, announced to the block queue.
    Entry(LogPosition, Bytes),
    /// One thread of the pool ends.
    Stop,
}

/// What the threads of the pool share.
pub struct Verifier {
    shared: Arc<Shared>,
    blocks: Arc<BlockQueue>,
    driver: Sender<DriverMsg>,
    keys: Mutex<HashMap<Fingerprint, VerifyingKey>>,
    verified: Mutex<Generations>,
}

/// Verified submissions, in two generations so that old ones go away.
#[derive(Default)]
struct Generations {
    young: HashMap<TransactionId, ([u8; 64], VerifyingKey)>,
    old: HashMap<TransactionId, ([u8; 64], VerifyingKey)>,
}

impl Verifier {
    /// Prepares the pool.
    #[must_use]
    pub fn new(shared: Arc<Shared>, blocks: Arc<BlockQueue>, driver: Sender<DriverMsg>) -> Self {
        Self { shared, blocks, driver, keys: Mutex::default(), verified: Mutex::default() }
    }

    /// One thread of the pool: until all senders are gone.
    pub fn run(&self, jobs: &Receiver<VerifyJob>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            let mut stop = false;
            while batch.len() < BATCH_MAX {
                stop = matches!(batch.last(), Some(VerifyJob::Stop));
                let (false, Ok(job)) = (stop, jobs.try_recv()) else { break };
                batch.push(job);
            }
            self.work(batch);
            if stop {
                return;
            }
        }
    }

    fn work(&self, jobs: Vec<VerifyJob>) {
        let mut submissions = Vec::new();
        let mut blocks = Vec::new();
        for job in jobs {
            match job {
                VerifyJob::Submission(transaction) => {
                    submissions.push(CheckedTransaction { transaction, verified_under: None });
                }
                VerifyJob::Stop => {}
                VerifyJob::Entry(position, bytes) => {
                    if self.blocks.start(position) {
                        blocks.push((position, CheckedBlock::decode(bytes, self.shared.genesis.ledger_id)));
                    }
                }
            }
        }
        let in_blocks = blocks.iter_mut().filter_map(|(_, b)| b.as_mut()).flat_map(|b| b.transactions.iter_mut());
        self.verify(submissions.iter_mut().chain(in_blocks));
        for (position, block) in blocks {
            self.blocks.finish(position, block);
        }
        self.dispatch(submissions);
    }

    /// Verifies all transactions whose author is known; marks the good ones.
    pub(super) fn verify<'a>(&self, transactions: impl Iterator<Item = &'a mut CheckedTransaction>) {
        let mut waiting = Vec::new();
        for checked in transactions {
            if checked.transaction.enrollment().is_some() {
                continue;
            }
            if let Some(key) = self.recall(&checked.transaction) {
                checked.verified_under = Some(key);
            } else if let Some(key) = self.key_of(&checked.transaction.author) {
                waiting.push((checked, key));
            }
        }
        for chunk in waiting.chunks_mut(BATCH_MAX) {
            let mut batch = BatchVerifier::new();
            for (checked, key) in chunk.iter() {
                batch.push(key, &checked.transaction.signing_bytes(), &checked.transaction.signature);
            }
            for ((checked, key), good) in chunk.iter_mut().zip(batch.verify()) {
                checked.verified_under = good.then(|| key.clone());
            }
        }
    }

    fn dispatch(&self, submissions: Vec<CheckedTransaction>) {
        let mut good = Vec::with_capacity(submissions.len());
        for checked in submissions {
            let id = checked.transaction.id;
            if checked.verified_under.is_some() || checked.transaction.enrollment().is_some() {
                self.remember(&checked);
                self.shared.waiters.keep(&checked);
                good.push(checked);
            } else if self.key_of(&checked.transaction.author).is_some() {
                self.shared.waiters.refuse(&id, Refused::BadSignature);
            } else {
                self.shared.waiters.refuse(&id, Refused::UnknownAuthor);
            }
        }
        if !good.is_empty() {
            // The driver is gone only when the node stops.
            let _ = self.driver.send(DriverMsg::Submit(good));
        }
    }

    fn key_of(&self, author: &Fingerprint) -> Option<VerifyingKey> {
        if let Some(key) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(author) {
            return Some(key.clone());
        }
        let signer: SignerState = self.shared.ledger.message(Table::State, &keys::signer(author)).ok()??;
        let key = VerifyingKey::from_bytes(&signer.signing_key).ok()?;
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(*author, key.clone());
        Some(key)
    }

    fn recall(&self, transaction: &Transaction) -> Option<VerifyingKey> {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *verified;
        let (signature, key) = young.remove(&transaction.id).or_else(|| old.remove(&transaction.id))?;
        let same_author = self.key_of(&transaction.author).is_some_and(|k| k == key);
        (signature == transaction.signature && same_author).then_some(key)
    }

    fn remember(&self, checked: &CheckedTransaction) {
        let Some(key) = &checked.verified_under else { return };
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.young.len() >= VERIFIED_MAX {
            verified.old = std::mem::take(&mut verified.young);
        }
        verified.young.insert(checked.transaction.id, (checked.transaction.signature, key.clone()));
    }
}
