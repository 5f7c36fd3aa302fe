//! Verifies signatures, away from the network and from the replica: of submissions
//! before they are queued, and of blocks as they arrive, before they commit.
//! Ed25519 signatures are verified in batches across everything that waits.
//!
//! A key's fingerprint is a hash of the key, or of the certificate that holds it,
//! so the cache of keys never goes stale; whether the author may still sign is for
//! the rules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use consilium_consensus::LogPosition;
use consilium_ledger::{CheckedTransaction, Table, is_signed_enrollment, keys};
use consilium_proto::ids::{Fingerprint, LedgerId, TransactionId};
use consilium_proto::pb::SignerState;
use consilium_proto::signing::{BatchVerifier, VerifyingKey};
use consilium_proto::transaction::Transaction;
use consilium_replica::block::CheckedBlock;
use consilium_replica::submission::{Submission, Verdict, WaitFor};
use consilium_replica::{Input, RequestId};

use crate::handle::{Handle, LaneEnds, Permit, Stopping, VerifyJob};
use crate::identity::rules::X509Rules;
use crate::storage::ledger_store::LedgerStore;

/// Signatures verified at once.
const BATCH_MAX: usize = 128;
/// Keys remembered.
const KEYS_MAX: usize = 100_000;
/// Submissions remembered as verified, per generation.
const VERIFIED_MAX: usize = 16_384;

/// What the threads of the pool share.
pub(super) struct Verifier {
    ledger: Arc<LedgerStore>,
    ledger_id: LedgerId,
    handle: Handle,
    keys: Mutex<HashMap<Fingerprint, VerifyingKey>>,
    verified: Mutex<Generations>,
}

/// Verified submissions, in two generations so that old ones go away.
#[derive(Default)]
struct Generations {
    young: HashMap<TransactionId, ([u8; 64], VerifyingKey)>,
    old: HashMap<TransactionId, ([u8; 64], VerifyingKey)>,
}

/// Work that was taken apart, so that all signatures in it are one batch.
enum Work {
    Submission {
        checked: Box<CheckedTransaction>,
        request: RequestId,
        wait_for: WaitFor,
        deadline_ms: u64,
        permit: Permit,
    },
    Forwarded(Vec<Option<CheckedTransaction>>, RequestId, Permit),
    Entry(LogPosition, Option<CheckedBlock>),
}

impl Work {
    fn signatures(&self) -> usize {
        match self {
            Self::Submission { .. } => 1,
            Self::Forwarded(transactions, ..) => transactions.len(),
            Self::Entry(_, block) => block.as_ref().map_or(0, |block| block.transactions.len()),
        }
    }
}

impl Verifier {
    /// Prepares the pool.
    pub(super) fn new(ledger: Arc<LedgerStore>, ledger_id: LedgerId, handle: Handle) -> Self {
        Self { ledger, ledger_id, handle, keys: Mutex::default(), verified: Mutex::default() }
    }

    /// One thread of the pool, until it is told to stop or all who ask are gone.
    pub(super) fn run(&self, jobs: &LaneEnds<VerifyJob>) {
        while let Some(first) = jobs.recv() {
            let (mut batch, mut signatures) = (Vec::new(), 0);
            let mut stop = false;
            for job in std::iter::once(first).chain(jobs.waiting(BATCH_MAX - 1)) {
                let Some(work) = self.prepare(job) else {
                    // What follows may tell another thread to end.
                    stop = true;
                    break;
                };
                signatures += work.signatures();
                batch.push(work);
                // What is urgent waits for one batch at most, be there calls of hundreds each.
                if signatures >= BATCH_MAX {
                    break;
                }
            }
            if self.work(batch).is_err() || stop {
                return;
            }
        }
    }

    /// `None` if the thread is to end.
    fn prepare(&self, job: VerifyJob) -> Option<Work> {
        let checked = |transaction| CheckedTransaction { transaction, verified_under: None };
        match job {
            VerifyJob::Submission { transaction, request, wait_for, deadline_ms, permit } => {
                let checked = Box::new(checked(*transaction));
                Some(Work::Submission { checked, request, wait_for, deadline_ms, permit })
            }
            VerifyJob::Forwarded { transactions, request, permit } => {
                let transactions = transactions.into_iter().map(|t| t.map(checked)).collect();
                Some(Work::Forwarded(transactions, request, permit))
            }
            VerifyJob::Entry(position, entry) => {
                Some(Work::Entry(position, CheckedBlock::decode(entry, self.ledger_id)))
            }
            VerifyJob::Stop => None,
        }
    }

    fn work(&self, mut batch: Vec<Work>) -> Result<(), Stopping> {
        self.verify(batch.iter_mut().flat_map(transactions));
        for work in batch {
            match work {
                Work::Submission { checked, request, wait_for, deadline_ms, permit } => {
                    let submission = self.submission(*checked);
                    let input = Input::Submit { request, submission, wait_for, deadline_ms };
                    self.handle.verified(input, permit)?;
                }
                Work::Forwarded(transactions, request, permit) => {
                    let submissions = transactions.into_iter().map(|t| t.map(|t| self.submission(t))).collect();
                    self.handle.verified(Input::Forwarded { request, submissions }, permit)?;
                }
                Work::Entry(position, block) => self.handle.report(Input::Checked { position, block })?,
            }
        }
        Ok(())
    }

    /// Verifies all transactions whose author is known; marks the good ones.
    fn verify<'a>(&self, transactions: impl Iterator<Item = &'a mut CheckedTransaction>) {
        let mut waiting = Vec::new();
        for checked in transactions {
            if checked.transaction.enrollment().is_some() {
                continue;
            }
            if let Some(key) = self.recall(&checked.transaction) {
                checked.verified_under = Some(key);
            } else if let Some(key) = self.key_of(&checked.transaction.head.author) {
                waiting.push((checked, key));
            }
        }
        for chunk in waiting.chunks_mut(BATCH_MAX) {
            let mut batch = BatchVerifier::new();
            for (checked, key) in chunk.iter() {
                batch.push(key, &checked.transaction.head.signing_bytes(), &checked.transaction.signature);
            }
            for ((checked, key), good) in chunk.iter_mut().zip(batch.verify()) {
                checked.verified_under = good.then(|| key.clone());
            }
        }
    }

    fn submission(&self, checked: CheckedTransaction) -> Submission {
        let CheckedTransaction { transaction, verified_under } = checked;
        let verdict = match verified_under {
            Some(key) => {
                self.note_verified(&transaction, &key);
                Verdict::Good(key)
            }
            None if is_signed_enrollment(&X509Rules, &transaction) == Some(true) => Verdict::Enrollment,
            None if transaction.enrollment().is_some() => Verdict::BadSignature,
            None if self.key_of(&transaction.head.author).is_some() => Verdict::BadSignature,
            None => Verdict::UnknownAuthor,
        };
        Submission { transaction, verdict }
    }

    fn key_of(&self, author: &Fingerprint) -> Option<VerifyingKey> {
        if let Some(key) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(author) {
            return Some(key.clone());
        }
        let signer: SignerState = self.ledger.message(Table::State, &keys::signer(author)).ok()??;
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
        let same_author = self.key_of(&transaction.head.author).is_some_and(|k| k == key);
        (signature == transaction.signature && same_author).then_some(key)
    }

    fn note_verified(&self, transaction: &Transaction, key: &VerifyingKey) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.young.len() >= VERIFIED_MAX {
            verified.old = std::mem::take(&mut verified.young);
        }
        verified.young.insert(transaction.id, (transaction.signature, key.clone()));
    }
}

fn transactions(work: &mut Work) -> Box<dyn Iterator<Item = &mut CheckedTransaction> + '_> {
    match work {
        Work::Submission { checked, .. } => Box::new(std::iter::once(&mut **checked)),
        Work::Forwarded(transactions, ..) => Box::new(transactions.iter_mut().flatten()),
        Work::Entry(_, block) => Box::new(block.iter_mut().flat_map(|b| b.transactions.iter_mut())),
    }
}
