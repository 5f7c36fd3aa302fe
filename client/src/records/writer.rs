//! Writing records: seals drafts, signs transactions, submits them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consilium_proto::ids::{RecordId, TransactionId};
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use tokio::sync::Mutex;

use super::{
    PackLimits, Recipient, RecordDraft, RecordReader, Size, custodians, new_record_id, pack, recipient, seal, size_of,
};
use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// Which version of which record a draft becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The record.
    pub record_id: RecordId,
    /// From 1.
    pub version: u32,
}

/// A draft and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Which version of which record.
    pub target: Target,
    /// What to store.
    pub draft: RecordDraft,
}

impl Draft {
    /// The first version of a new record.
    #[must_use]
    pub fn new(draft: RecordDraft) -> Self {
        Self { target: Target { record_id: new_record_id(), version: 1 }, draft }
    }
}

/// A signed transaction that writes records.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// Its id.
    pub transaction_id: TransactionId,
    /// To be submitted, as often as needed: it executes once.
    pub transaction: pb::SignedTransaction,
    /// The records that it writes, in order.
    pub records: Vec<RecordId>,
}

/// The part of a writer that works on blocking threads: it does no I/O.
#[derive(Debug, Clone)]
pub struct Sealer {
    client: Client,
    recipients: Arc<[Recipient]>,
    limits: PackLimits,
}

impl Sealer {
    /// Seals drafts into one transaction and signs it. About 0.4 ms per
    /// recipient and record.
    ///
    /// # Errors
    /// A draft that cannot be stored, or a key that cannot sign.
    pub fn prepare(&self, drafts: &[Draft]) -> Result<Prepared, ClientError> {
        let ledger_id = self.client.genesis().ledger_id;
        let mut actions = Vec::with_capacity(drafts.len());
        let mut attachments = Vec::with_capacity(2 * drafts.len());
        let mut records = Vec::with_capacity(drafts.len());
        for Draft { target, draft } in drafts {
            let sealed = seal(draft, ledger_id, target.record_id, target.version, &self.recipients)?;
            actions.push(sealed.action);
            attachments.extend(sealed.attachments);
            records.push(sealed.record_id);
        }
        sign(&self.client, actions, attachments, records)
    }

    /// Bytes that a draft will need; see [`size_of`].
    #[must_use]
    pub fn size_of(&self, draft: &RecordDraft) -> Size {
        size_of(draft, &self.recipients)
    }

    /// What fits into one transaction of this ledger.
    #[must_use]
    pub fn limits(&self) -> &PackLimits {
        &self.limits
    }
}

fn sign(
    client: &Client,
    actions: Vec<pb::Action>,
    attachments: Vec<Bytes>,
    records: Vec<RecordId>,
) -> Result<Prepared, ClientError> {
    let transaction = client.sign(actions, attachments)?;
    Ok(Prepared { transaction_id: transaction_id(&transaction)?, transaction, records })
}

/// Writes records for a fixed set of recipients.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    client: Client,
    sealer: Sealer,
    /// The recipients' names, without this identity's own.
    others: Arc<[String]>,
    /// The member's custodian and its deputy.
    custodians: Arc<[Recipient]>,
    looked_up: Arc<Mutex<Instant>>,
}

impl RecordWriter {
    /// A writer whose records this identity, its member's custodian if there is one, that one's
    /// deputy, and the identities in `spiffe_ids` can open. Keys are looked up with proof; see
    /// [`Self::recheck`].
    ///
    /// # Errors
    /// A recipient without a proven encryption key, one that has lost its rights
    /// (see [`recipient`]), or no recipient at all.
    pub async fn new(client: Client, spiffe_ids: &[String]) -> Result<Self, ClientError> {
        let identity = client.identity().spiffe_id();
        let own = identity.to_string();
        let mut recipients: Vec<Recipient> = Vec::new();
        if let Some(key) = client.identity().encryption_key() {
            let member = identity.member().clone();
            recipients.push(Recipient { name: own.clone(), member, key: key.public_key() });
        }
        let others: Arc<[String]> = spiffe_ids.iter().filter(|id| **id != own).cloned().collect();
        let looked_up = Arc::new(Mutex::new(Instant::now()));
        for spiffe_id in others.iter() {
            let found = recipient(&client, spiffe_id).await?;
            if !recipients.contains(&found) {
                recipients.push(found);
            }
        }
        let custodians: Arc<[Recipient]> = custodians(&client, identity.member()).await?.into();
        for found in custodians.iter() {
            if !recipients.iter().any(|known| known.key == found.key) {
                recipients.push(found.clone());
            }
        }
        if recipients.is_empty() {
            return Err(ClientError::Setting { setting: "encryption_key" });
        }
        let limits = PackLimits::of(&client.genesis().parameters);
        let sealer = Sealer { client: client.clone(), recipients: recipients.into(), limits };
        Ok(Self { client, sealer, others, custodians, looked_up })
    }

    /// Looks the recipients up again if that was longer ago than the profile
    /// allows: whoever seals for hours must not go on sealing for one who has
    /// lost its rights. To be called before sealing; [`Self::prepare`] does.
    ///
    /// # Errors
    /// As [`recipient`]; a recipient that has enrolled another key meanwhile.
    pub async fn recheck(&self) -> Result<(), ClientError> {
        let mut looked_up = self.looked_up.lock().await;
        if looked_up.elapsed() < self.client.refresh() {
            return Ok(());
        }
        let now = Instant::now();
        for spiffe_id in self.others.iter() {
            let found = recipient(&self.client, spiffe_id).await?;
            if !self.sealer.recipients.contains(&found) {
                return Err(ClientError::Usage(format!("{spiffe_id} has enrolled another key meanwhile; start again")));
            }
        }
        // What is sealed for the key before is taken for an hour more, and then refused.
        let found = custodians(&self.client, self.client.identity().spiffe_id().member()).await?;
        if found[..] != self.custodians[..] {
            let why = "the member has named another custody key, or another deputy, meanwhile; start again";
            return Err(ClientError::Usage(why.into()));
        }
        *looked_up = now;
        Ok(())
    }

    /// The part that may be moved to blocking threads.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Who will be able to open the records.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.sealer.recipients
    }

    /// Seals and signs drafts, in order, in as few transactions as they fit.
    ///
    /// # Errors
    /// As [`Sealer::prepare`] and [`Self::recheck`].
    pub async fn prepare(&self, mut drafts: Vec<Draft>) -> Result<Vec<Prepared>, ClientError> {
        self.recheck().await?;
        let sizes: Vec<Size> = drafts.iter().map(|d| self.sealer.size_of(&d.draft)).collect();
        let mut prepared = Vec::new();
        for range in pack(&sizes, self.sealer.limits()) {
            let part: Vec<Draft> = drafts.drain(..range.len()).collect();
            let sealer = self.sealer.clone();
            let sealed = tokio::task::spawn_blocking(move || sealer.prepare(&part)).await;
            prepared.push(sealed.map_err(|_| ClientError::Usage("sealing was interrupted".into()))??);
        }
        Ok(prepared)
    }

    /// Prepares and submits, one transaction after the other. All records of
    /// a transaction are written or none; between transactions there is no
    /// such promise.
    ///
    /// # Errors
    /// The first failure, also when the rules refuse a transaction.
    pub async fn write(
        &self,
        drafts: Vec<Draft>,
        wait: pb::WaitFor,
    ) -> Result<Vec<(Submitted, Vec<RecordId>)>, ClientError> {
        let mut done = Vec::new();
        for prepared in self.prepare(drafts).await? {
            let submitted = self.client.submit(prepared.transaction, wait).await?.into_applied()?;
            done.push((submitted, prepared.records));
        }
        Ok(done)
    }

    /// Amends a record: the next version, for the same patient and kind.
    ///
    /// # Errors
    /// If the record cannot be seen, is retracted, or the draft is of another
    /// patient or kind; else as [`Self::write`].
    pub async fn amend(
        &self,
        record_id: RecordId,
        draft: RecordDraft,
        wait: pb::WaitFor,
    ) -> Result<(Submitted, u32), ClientError> {
        let current = RecordReader::new(self.client.clone()).current(record_id).await?;
        if current.kind != draft.kind {
            return Err(ClientError::Usage(format!(
                "the record is of kind {}, the file of kind {}",
                current.kind, draft.kind
            )));
        }
        if current.patient != draft.patient.0[..] {
            return Err(ClientError::Usage("the record and the file are about different patients".into()));
        }
        let version = next_version(&current)?;
        let mut written = self.write(vec![Draft { target: Target { record_id, version }, draft }], wait).await?;
        let (submitted, _) = written.pop().ok_or_else(|| ClientError::contradiction("nothing was written"))?;
        Ok((submitted, version))
    }
}

/// Marks a record as entered in error.
///
/// # Errors
/// If the record cannot be seen or is retracted already, or the rules refuse.
pub async fn retract(client: &Client, record_id: RecordId, wait: pb::WaitFor) -> Result<(Submitted, u32), ClientError> {
    let current = RecordReader::new(client.clone()).current(record_id).await?;
    let next = next_version(&current)?;
    let retract = pb::RetractRecord { record_id: Bytes::copy_from_slice(&record_id.0), version: current.version };
    let action = pb::Action { action: Some(pb::action::Action::RetractRecord(retract)) };
    let prepared = sign(client, vec![action], Vec::new(), vec![record_id])?;
    let submitted = client.submit(prepared.transaction, wait).await?.into_applied()?;
    Ok((submitted, next))
}

fn next_version(current: &pb::RecordVersion) -> Result<u32, ClientError> {
    if current.retraction {
        return Err(ClientError::Usage("the record is retracted".into()));
    }
    current.version.checked_add(1).ok_or_else(|| ClientError::contradiction("the record has no next version"))
}
