//! Writing records: seals drafts, signs transactions, submits them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consilium_proto::consent::Custodians;
use consilium_proto::ids::{PatientPseudonym, PolicyTag, RecordId, TransactionId};
use consilium_proto::names::MemberId;
use consilium_proto::patient::PatientSalt;
use consilium_proto::pb;
use consilium_proto::transaction::transaction_id;
use tokio::sync::Mutex;

use super::{
    PackLimits, Recipient, RecordDraft, RecordReader, Size, custodians, new_record_id, pack, patient_keys,
    patient_keys_for, seal, size_of,
};
use crate::client::Client;
use crate::error::ClientError;
use crate::submit::Submitted;

/// Patients whose keys a writer remembers, at most.
const PATIENTS_KNOWN_MAX: usize = 100_000;

/// Which version of which record a draft becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The record.
    pub record_id: RecordId,
    /// From 1.
    pub version: u32,
}

/// What becomes of the labels of the version that is amended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelsBefore {
    /// The new one has them, too.
    Kept,
    /// The new one has its own alone.
    Dropped,
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

/// What drafts are sealed with, by patient.
#[derive(Debug, Clone, Default)]
pub struct PatientKeys {
    own: BTreeMap<PatientPseudonym, Vec<Recipient>>,
    salts: BTreeMap<PatientPseudonym, PatientSalt>,
    /// Labels that each draft has as they are, beside its own.
    taken_over: BTreeSet<PolicyTag>,
}

impl PatientKeys {
    /// The patients themselves, of those that have a key.
    pub fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.own.values().flatten()
    }

    /// The labels of a draft, blinded: all of them, or it is not to be written.
    fn blind(&self, draft: &RecordDraft) -> Result<BTreeSet<PolicyTag>, ClientError> {
        let mut tags = self.taken_over.clone();
        if !draft.labels.is_empty() {
            let salt = self.salts.get(&draft.patient);
            let salt =
                salt.ok_or_else(|| ClientError::Usage("the salt of the patient's labels is not known".into()))?;
            tags.extend(draft.labels.iter().map(|code| salt.label(code)));
        }
        Ok(tags)
    }
}

impl Sealer {
    /// Seals drafts into one transaction and signs it. About 0.4 ms per
    /// recipient and record.
    ///
    /// # Errors
    /// A draft that cannot be stored, or a key that cannot sign.
    pub fn prepare(&self, drafts: &[Draft], keys: &PatientKeys) -> Result<Prepared, ClientError> {
        self.prepare_after(Vec::new(), drafts, keys)
    }

    /// The same behind other actions, which have no attachments.
    fn prepare_after(
        &self,
        mut actions: Vec<pb::Action>,
        drafts: &[Draft],
        keys: &PatientKeys,
    ) -> Result<Prepared, ClientError> {
        let ledger_id = self.client.genesis().ledger_id;
        let mut attachments = Vec::with_capacity(3 * drafts.len());
        let mut records = Vec::with_capacity(drafts.len());
        for Draft { target, draft } in drafts {
            let recipients = self.recipients_of(draft, keys);
            let labels = keys.blind(draft)?;
            let sealed = seal(draft, ledger_id, target.record_id, target.version, &recipients, &labels)?;
            actions.push(sealed.action);
            attachments.extend(sealed.attachments);
            records.push(sealed.record_id);
        }
        sign(&self.client, actions, attachments, records)
    }

    fn recipients_of(&self, draft: &RecordDraft, keys: &PatientKeys) -> Vec<Recipient> {
        let mut recipients = self.recipients.to_vec();
        for own in keys.own.get(&draft.patient).into_iter().flatten() {
            if !recipients.iter().any(|known| known.key == own.key) {
                recipients.push(own.clone());
            }
        }
        recipients
    }

    /// Bytes that a draft will need; see [`size_of`].
    #[must_use]
    pub fn size_of(&self, draft: &RecordDraft, keys: &PatientKeys) -> Size {
        size_of(draft, &self.recipients_of(draft, keys))
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

/// Writes records that this identity, its member's custodian if there is one, and their patients
/// can open. Whoever else may read them asks, and gets a key once that is on the ledger.
#[derive(Debug, Clone)]
pub struct RecordWriter {
    client: Client,
    sealer: Sealer,
    /// The member's custodian and its deputy.
    custodians: Arc<[Recipient]>,
    looked_up: Arc<Mutex<Instant>>,
    patients: Arc<Mutex<BTreeMap<PatientPseudonym, Found>>>,
}

/// What was found of a patient.
#[derive(Debug)]
struct Found {
    since: Instant,
    own: Vec<Recipient>,
    salt: Option<PatientSalt>,
}

impl RecordWriter {
    /// A writer. The keys of the custodian and of its deputy are looked up with proof; see
    /// [`Self::recheck`].
    ///
    /// # Errors
    /// A custodian that has lost its rights (see [`custodian`]), or nobody who could open it.
    pub async fn new(client: Client) -> Result<Self, ClientError> {
        let identity = client.identity().spiffe_id();
        let member = identity.member();
        let own = client.identity().encryption_key().map(|key| Recipient {
            name: identity.to_string(),
            member: member.clone(),
            key: key.public_key(),
        });
        let looked_up = Arc::new(Mutex::new(Instant::now()));
        let custodians: Arc<[Recipient]> = custodians(&client, member).await?.into();
        let mut recipients: Vec<Recipient> = own.into_iter().collect();
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
        Ok(Self { client, sealer, custodians, looked_up, patients: Arc::default() })
    }

    /// Looks the custodian up again if that was longer ago than the profile
    /// allows: whoever seals for hours must not go on sealing for one who has
    /// lost its rights. To be called before sealing; [`Self::prepare`] does.
    ///
    /// # Errors
    /// As [`custodian`]; a member that has named another custody key meanwhile.
    pub async fn recheck(&self) -> Result<(), ClientError> {
        let mut looked_up = self.looked_up.lock().await;
        if looked_up.elapsed() < self.client.refresh() {
            return Ok(());
        }
        let now = Instant::now();
        // What is sealed for the key before is taken for an hour more, and then refused.
        let found = custodians(&self.client, self.client.identity().spiffe_id().member()).await?;
        if found[..] != self.custodians[..] {
            let why = "the member has named another custody key, or another deputy, meanwhile; start again";
            return Err(ClientError::Usage(why.into()));
        }
        *looked_up = now;
        Ok(())
    }

    /// What drafts are sealed with, not looked up longer ago than the profile allows: the keys of
    /// patients themselves ([`patient_keys`]), and the salts of those that get labels
    /// ([`Client::ensure_salt`]).
    ///
    /// # Errors
    /// As [`patient_keys`] and [`Client::ensure_salt`].
    pub async fn keys_of<'a>(
        &self,
        drafts: impl IntoIterator<Item = &'a RecordDraft>,
    ) -> Result<PatientKeys, ClientError> {
        let mut found = PatientKeys::default();
        let mut known = self.patients.lock().await;
        for draft in drafts {
            let patient = draft.patient;
            let fresh = |found: &Found| found.since.elapsed() < self.client.refresh();
            let mut entry = match known.remove(&patient).filter(fresh) {
                Some(entry) => entry,
                None => Found { since: Instant::now(), own: patient_keys(&self.client, patient).await?, salt: None },
            };
            if !draft.labels.is_empty() && entry.salt.is_none() {
                entry.salt = Some(self.client.ensure_salt(patient).await?);
            }
            if !entry.own.is_empty() {
                found.own.insert(patient, entry.own.clone());
            }
            found.salts.extend(entry.salt.clone().map(|salt| (patient, salt)));
            if known.len() >= PATIENTS_KNOWN_MAX {
                known.clear();
            }
            known.insert(patient, entry);
        }
        Ok(found)
    }

    /// The part that may be moved to blocking threads.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Who will be able to open all that is written, besides each record's patient.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.sealer.recipients
    }

    /// Seals and signs drafts, in order, in as few transactions as they fit.
    ///
    /// # Errors
    /// As [`Sealer::prepare`], [`Self::recheck`] and [`Self::keys_of`].
    pub async fn prepare(&self, mut drafts: Vec<Draft>) -> Result<Vec<Prepared>, ClientError> {
        self.recheck().await?;
        let keys = self.keys_of(drafts.iter().map(|d| &d.draft)).await?;
        let sizes: Vec<Size> = drafts.iter().map(|d| self.sealer.size_of(&d.draft, &keys)).collect();
        let mut prepared = Vec::new();
        for range in pack(&sizes, self.sealer.limits()) {
            let part: Vec<Draft> = drafts.drain(..range.len()).collect();
            let (sealer, keys) = (self.sealer.clone(), keys.clone());
            let sealed = tokio::task::spawn_blocking(move || sealer.prepare(&part, &keys)).await;
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

    /// Amends a record: the next version, for the same patient and kind. It keeps the labels of the
    /// version before, so that no correction opens what a consent closes by them, unless the draft is
    /// to have its own alone. A record of a member that has left is amended by who keeps it.
    ///
    /// # Errors
    /// If the record cannot be seen, is retracted, or the draft is of another
    /// patient or kind; as [`Self::labels_of`], and else as [`Self::write`].
    pub async fn amend(
        &self,
        record_id: RecordId,
        mut draft: RecordDraft,
        before: LabelsBefore,
        wait: pb::WaitFor,
    ) -> Result<(Submitted, u32), ClientError> {
        let (current, member) = RecordReader::new(self.client.clone()).current_of(record_id).await?;
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
        let own = member == *self.client.identity().spiffe_id().member();
        match before {
            LabelsBefore::Kept if own => draft.labels.extend(self.labels_of(&current).await?),
            LabelsBefore::Kept | LabelsBefore::Dropped => {}
        }
        self.recheck().await?;
        let mut keys = self.keys_of([&draft]).await?;
        if !own {
            self.change_keys(&mut keys, &member, (&current, before)).await?;
        }
        let draft = Draft { target: Target { record_id, version }, draft };
        Ok((self.write_one(Vec::new(), draft, (keys, wait)).await?, version))
    }

    /// For a version of a record of a member that has left: its patient is whom its custodians have
    /// accepted, and its labels are under salts that nobody here need keep.
    async fn change_keys(
        &self,
        keys: &mut PatientKeys,
        member: &MemberId,
        (current, before): (&pb::RecordVersion, LabelsBefore),
    ) -> Result<(), ClientError> {
        let patient = PatientPseudonym::parse("patient", &current.patient)?;
        let keepers = self.client.custody_of(member).await?.map(|custody| custody.keepers).unwrap_or_default();
        let custodians = Custodians::new(member.as_str(), &keepers);
        keys.own.insert(patient, patient_keys_for(&self.client, patient, custodians).await?);
        if before == LabelsBefore::Kept {
            let tags = current.policy_tags.iter().map(|tag| PolicyTag::parse("policy_tags", tag));
            keys.taken_over = tags.collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Seals, signs and submits one version behind other actions, which have no attachments.
    async fn write_one(
        &self,
        before: Vec<pb::Action>,
        draft: Draft,
        (keys, wait): (PatientKeys, pb::WaitFor),
    ) -> Result<Submitted, ClientError> {
        let sealer = self.sealer.clone();
        let sealed = tokio::task::spawn_blocking(move || sealer.prepare_after(before, &[draft], &keys)).await;
        let prepared = sealed.map_err(|_| ClientError::Usage("sealing was interrupted".into()))??;
        self.client.submit(prepared.transaction, wait).await?.into_applied()
    }

    /// The sensitivity labels of a version of the own member.
    ///
    /// # Errors
    /// If this identity does not keep the salt under which one of them is blinded.
    pub async fn labels_of(&self, version: &pb::RecordVersion) -> Result<BTreeSet<&'static str>, ClientError> {
        if version.policy_tags.is_empty() {
            return Ok(BTreeSet::new());
        }
        let labels = self.client.labels(PatientPseudonym::parse("patient", &version.patient)?).await?;
        let code = |tag: &Bytes| Ok(labels.code(&PolicyTag::parse("policy_tags", tag)?));
        let codes = version.policy_tags.iter().map(code).collect::<Result<Option<_>, ClientError>>()?;
        let why = "the record has labels under a salt that this identity does not keep: who does, hands it on \
                   (`consilium patient salt`)";
        codes.ok_or_else(|| ClientError::Usage(why.into()))
    }

    /// Files a record under the patient whose it is: retracts it where it was filed, where nobody
    /// reads it any more, and writes `draft` as a new record, both or neither. Nothing in the new
    /// one leads to the other patient: the labels of the record are blinded anew, for the right one.
    ///
    /// # Errors
    /// If the record cannot be seen or is retracted; if the draft is of the same patient or another
    /// kind; as [`Self::labels_of`], and else as [`Self::write`].
    pub async fn refile(
        &self,
        record_id: RecordId,
        mut draft: RecordDraft,
        wait: pb::WaitFor,
    ) -> Result<(Submitted, RecordId), ClientError> {
        let current = RecordReader::new(self.client.clone()).current(record_id).await?;
        next_version(&current)?;
        if current.kind != draft.kind {
            return Err(ClientError::Usage(format!("the record is of kind {}, not {}", current.kind, draft.kind)));
        }
        if current.patient == draft.patient.0[..] {
            return Err(ClientError::Usage("the record is that patient's already".into()));
        }
        self.recheck().await?;
        draft.labels.extend(self.labels_of(&current).await?);
        let keys = self.keys_of([&draft]).await?;
        let retract = retraction(record_id, current.version, pb::RetractionReason::WrongPatient);
        let new = Draft::new(draft);
        let filed = new.target.record_id;
        Ok((self.write_one(vec![retract], new, (keys, wait)).await?, filed))
    }
}

/// Marks a record as entered in error.
///
/// # Errors
/// If the record cannot be seen or is retracted already, or the rules refuse.
pub async fn retract(client: &Client, record_id: RecordId, wait: pb::WaitFor) -> Result<(Submitted, u32), ClientError> {
    let current = RecordReader::new(client.clone()).current(record_id).await?;
    let next = next_version(&current)?;
    let action = retraction(record_id, current.version, pb::RetractionReason::Unspecified);
    let prepared = sign(client, vec![action], Vec::new(), vec![record_id])?;
    let submitted = client.submit(prepared.transaction, wait).await?.into_applied()?;
    Ok((submitted, next))
}

/// Confirms, as a second person, that a record was filed under the wrong patient: from then on
/// nobody reads it there.
///
/// # Errors
/// If the record cannot be seen, or the rules refuse.
pub async fn confirm_misfiled(
    client: &Client,
    record_id: RecordId,
    wait: pb::WaitFor,
) -> Result<(Submitted, u32), ClientError> {
    let version = RecordReader::new(client.clone()).current(record_id).await?.version;
    let confirm = pb::ConfirmRetraction { record_id: Bytes::copy_from_slice(&record_id.0), version };
    let action = pb::Action { action: Some(pb::action::Action::ConfirmRetraction(confirm)) };
    let prepared = sign(client, vec![action], Vec::new(), vec![record_id])?;
    Ok((client.submit(prepared.transaction, wait).await?.into_applied()?, version))
}

fn retraction(record_id: RecordId, version: u32, reason: pb::RetractionReason) -> pb::Action {
    let record_id = Bytes::copy_from_slice(&record_id.0);
    let retract = pb::RetractRecord { record_id, version, reason: reason.into() };
    pb::Action { action: Some(pb::action::Action::RetractRecord(retract)) }
}

fn next_version(current: &pb::RecordVersion) -> Result<u32, ClientError> {
    if current.retraction {
        return Err(ClientError::Usage("the record is retracted".into()));
    }
    current.version.checked_add(1).ok_or_else(|| ClientError::contradiction("the record has no next version"))
}
