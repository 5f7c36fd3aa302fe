//! Records as one reader may have them: metadata of those that the reader's own member has written,
//! or keeps since their member has left, decided by
//! [`access`](crate::access), and what a request for access permitted, decided by the rules of
//! the ledger. All of it from one snapshot. What is denied is left out as if it did not exist.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::custody::Kept;
use consilium_ledger::lookup::RecordProver;
use consilium_ledger::missing::is_wanted;
use consilium_ledger::{Table, custody, keys};
use consilium_proto::ids::{KeyId, PetitionId, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{
    CommittedVersion, EncryptionKeyState, IdentityState, KeyWrap, KeyWrapRef, RecordState, RecordVersion,
    ReleasedRecord, WrapState,
};
use consilium_proto::record::RecordProof;
use consilium_proto::state::WrapName;
use consilium_proto::transaction::Slot;

use crate::access::{Request, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// What is said of one version.
pub(super) struct Said {
    pub(super) record: RecordVersion,
    /// The search tags; empty if it has none, or they were erased.
    pub(super) descriptor: Bytes,
    /// Some of it is not on this node, and was not erased either.
    pub(super) missing: bool,
}

/// Reads for one reader from one snapshot.
pub(super) struct RecordReader<'a> {
    ledger: &'a LedgerSnapshot<'a>,
    reader: &'a SpiffeId,
    prover: RecordProver<'a, LedgerSnapshot<'a>>,
    /// Whose keys are, as far as they were looked up: records of one page are
    /// mostly wrapped for the same few.
    owners: BTreeMap<KeyId, Option<String>>,
    /// The reader's newest key, once it was looked up.
    newest_key: Option<Option<KeyId>>,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(ledger: &'a LedgerSnapshot<'a>, reader: &'a SpiffeId) -> Self {
        let prover = RecordProver::new(ledger, ledger.tip_header());
        Self { ledger, reader, prover, owners: BTreeMap::new(), newest_key: None }
    }

    /// One version, the newest if `number` is 0.
    pub(super) fn get(&mut self, id: &RecordId, number: u32) -> Result<Option<Said>, StorageError> {
        let Some(state) = self.named(id)? else { return Ok(None) };
        let number = if number == 0 { state.version } else { number };
        let Some(record) = self.ledger.message(Table::Versions, &keys::version(id, number))? else {
            return Ok(None);
        };
        let mut missing = false;
        let descriptor = self.described(id, &record, &mut missing)?;
        Ok(Some(Said { record, descriptor, missing }))
    }

    /// A version that the rules permitted to be read, with its contents; and whether some of it
    /// is not on this node.
    pub(super) fn release(
        &mut self,
        id: &RecordId,
        record: RecordVersion,
    ) -> Result<(ReleasedRecord, bool), StorageError> {
        let proof = self.prove(id, std::slice::from_ref(&record))?;
        let state = prost::Message::decode(proof.state.clone()).map_err(|e| StorageError::corrupt("state", e))?;
        let (released, missing) = self.contents(id, record, &state)?;
        Ok((ReleasedRecord { proof: Some((&proof).into()), ..released }, missing))
    }

    /// The same without proof; the record's row is given.
    pub(super) fn contents(
        &mut self,
        id: &RecordId,
        record: RecordVersion,
        state: &RecordState,
    ) -> Result<(ReleasedRecord, bool), StorageError> {
        let mut missing = false;
        let slot = Slot::Payload { record: *id, version: record.version };
        let payload = match record.retraction {
            true => None,
            false => self.attachment(&slot, &mut missing)?,
        };
        let mut wraps = self.own_wraps(id, &record, &mut missing)?;
        // The version may have been written for a key that the reader has no more.
        if let Some(newest) = self.newest_key()?
            && !wraps.iter().any(|wrap| wrap.recipient_key_id == newest.as_bytes()[..])
        {
            wraps.extend(self.added_wrap(id, &record, newest, &mut missing)?);
        }
        let descriptor = self.described(id, &record, &mut missing)?;
        let disagreements = self.disagreements(state, &record, &mut missing)?;
        let payload = payload.unwrap_or_default();
        Ok((ReleasedRecord { record: Some(record), payload, wraps, descriptor, proof: None, disagreements }, missing))
    }

    /// The statements of the patient about a version: whoever may read it gets them.
    fn disagreements(
        &self,
        state: &RecordState,
        record: &RecordVersion,
        missing: &mut bool,
    ) -> Result<Vec<Bytes>, StorageError> {
        let about = state.disagreements.iter().filter(|stated| stated.version == record.version);
        let statement = about.map(|stated| {
            let petition = PetitionId::parse("petition_id", &stated.petition_id);
            let petition = petition.map_err(|e| StorageError::corrupt("state", e))?;
            Ok(self.attachment(&Slot::PetitionText { petition }, missing)?.unwrap_or_default())
        });
        statement.collect()
    }

    /// Versions of a record without their contents, oldest first. The first one comes with the
    /// proof of all.
    pub(super) fn show(
        &mut self,
        id: &RecordId,
        shown: Vec<RecordVersion>,
    ) -> Result<Vec<ReleasedRecord>, StorageError> {
        let mut proof = match shown.is_empty() {
            true => None,
            false => Some((&self.prove(id, &shown)?).into()),
        };
        let released = shown.into_iter().map(|record| {
            let descriptor = self.described(id, &record, &mut false)?;
            Ok(ReleasedRecord { record: Some(record), descriptor, proof: proof.take(), ..ReleasedRecord::default() })
        });
        released.collect()
    }

    /// Proof of versions of a record.
    pub(super) fn prove(&mut self, id: &RecordId, shown: &[RecordVersion]) -> Result<RecordProof, StorageError> {
        self.prover.prove(id, shown).map_err(|e| StorageError::corrupt("record", e))
    }

    /// The descriptor of a version, if it has one and it is here.
    pub(super) fn descriptor(&self, id: &RecordId, record: &RecordVersion) -> Result<Option<Bytes>, StorageError> {
        match descriptor_slot(id, record) {
            Some(slot) => self.attachment(&slot, &mut false),
            None => Ok(None),
        }
    }

    fn described(&self, id: &RecordId, record: &RecordVersion, missing: &mut bool) -> Result<Bytes, StorageError> {
        let descriptor = match descriptor_slot(id, record) {
            Some(slot) => self.attachment(&slot, missing)?,
            None => None,
        };
        Ok(descriptor.unwrap_or_default())
    }

    fn attachment(&self, slot: &Slot, missing: &mut bool) -> Result<Option<Bytes>, StorageError> {
        let (table, key) = keys::attachment(slot);
        let content = self.ledger.read(table, &key)?;
        if content.is_none() {
            *missing |= is_wanted(self.ledger, slot).map_err(|e| StorageError::corrupt("attachment", e))?;
        }
        Ok(content)
    }

    /// Versions of a record that the reader's member has written or keeps, from one on, at most so
    /// many; and the number of the next one, if there is one.
    pub(super) fn history(
        &mut self,
        id: &RecordId,
        (first, max): (u32, u32),
    ) -> Result<(Vec<RecordVersion>, Option<u32>), StorageError> {
        let Some(state) = self.named(id)? else { return Ok((Vec::new(), None)) };
        let end = state.version.min(first.saturating_add(max - 1));
        let versions = (first..=end).map(|number| self.version(id, number)).collect::<Result<_, _>>()?;
        Ok((versions, (end < state.version).then_some(end + 1)))
    }

    /// The newest version, if it is wanted and of the reader's member.
    pub(super) fn newest(
        &mut self,
        id: &RecordId,
        wanted: impl FnOnce(&RecordState, &RecordVersion) -> bool,
    ) -> Result<Option<RecordVersion>, StorageError> {
        let Some(state) = self.state(id)?.filter(|state| self.may_read(state, None)) else { return Ok(None) };
        let version = self.version(id, state.version)?;
        Ok(wanted(&state, &version).then_some(version))
    }

    pub(super) fn state(&self, id: &RecordId) -> Result<Option<RecordState>, StorageError> {
        self.ledger.state(&keys::record(id))
    }

    pub(super) fn version(&self, id: &RecordId, number: u32) -> Result<RecordVersion, StorageError> {
        let version = self.ledger.message(Table::Versions, &keys::version(id, number))?;
        version.ok_or_else(|| StorageError::corrupt("version", "absent"))
    }

    /// A record that the reader names and may be told of. Who keeps it is looked up before it is known
    /// whether there is such a record.
    fn named(&self, id: &RecordId) -> Result<Option<RecordState>, StorageError> {
        let kept = Kept::load(self.ledger).map_err(|e| StorageError::corrupt("custody", e))?;
        let told = |state: &RecordState| self.may_read(state, Some(kept.custodians(&state.member).present()));
        Ok(self.state(id)?.filter(told))
    }

    fn may_read(&self, state: &RecordState, kept_by: Option<&str>) -> bool {
        let what = What::Record { author_member: &state.member, kept_by };
        decide(&Request { reader: self.reader, what }).allows()
    }

    /// Whether a custodian was asked to wrap a version for the newest key of the reader, and has
    /// not done it yet.
    pub(super) fn awaits_wrap(&mut self, id: &RecordId, record: &RecordVersion) -> Result<bool, StorageError> {
        let Some(recipient) = self.newest_key()? else { return Ok(false) };
        // Nobody is asked for what the version was written with.
        if record.wraps.iter().any(|wrap| wrap.recipient_key_id == recipient.as_bytes()[..]) {
            return Ok(false);
        }
        let name = WrapName { record: *id, version: record.version, recipient };
        let asked: Option<WrapState> = self.ledger.state(&keys::wrap_state(&name))?;
        Ok(asked.is_some_and(|state| state.wrap_sha256.is_empty()))
    }

    /// The wrap that a custodian has added for a key of the reader, with the row that commits to
    /// it.
    fn added_wrap(
        &mut self,
        id: &RecordId,
        record: &RecordVersion,
        recipient: KeyId,
        missing: &mut bool,
    ) -> Result<Option<KeyWrap>, StorageError> {
        let name = WrapName { record: *id, version: record.version, recipient };
        let row = keys::wrap_state(&name);
        let Some(state) = self.ledger.read(Table::State, &row)? else { return Ok(None) };
        let added: WrapState = prost::Message::decode(state.clone()).map_err(|e| StorageError::corrupt("state", e))?;
        if added.wrap_sha256.is_empty() {
            return Ok(None);
        }
        let slot = Slot::Wrap { record: *id, version: record.version, recipient };
        let Some(wrap) = self.attachment(&slot, missing)? else { return Ok(None) };
        let proof = self.prover.prove_state(&row).map_err(|e| StorageError::corrupt("trie", e))?;
        let recipient_key_id = recipient.to_bytes();
        Ok(Some(KeyWrap { recipient_key_id, wrap, state, state_proof: proof.encode().into() }))
    }

    /// A version's wrap for a key of the reader, or one that is or was the custody key of its
    /// member, if it has one and it is here: for the first of these keys that there is one for,
    /// or for any if none are named. With what commits to it.
    pub(super) fn custody_wrap(
        &mut self,
        id: &RecordId,
        record: &RecordVersion,
        keys: &[KeyId],
    ) -> Result<Option<(KeyWrap, CommittedVersion)>, StorageError> {
        let mut tried = keys.to_vec();
        if tried.is_empty() {
            tried.extend(self.newest_key()?);
            tried.extend(record.wraps.iter().map(key_id).collect::<Result<Vec<_>, _>>()?);
        }
        for key in tried {
            if !self.may_open(key)? {
                continue;
            }
            let found = match record.wraps.iter().any(|wrap| wrap.recipient_key_id == key.as_bytes()[..]) {
                true => self.written_wrap(id, record, key)?,
                false => self.added_wrap(id, record, key, &mut false)?.map(|wrap| (wrap, CommittedVersion::default())),
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A wrap that a version was written with, with what commits to the version.
    fn written_wrap(
        &mut self,
        id: &RecordId,
        record: &RecordVersion,
        recipient: KeyId,
    ) -> Result<Option<(KeyWrap, CommittedVersion)>, StorageError> {
        let slot = Slot::Wrap { record: *id, version: record.version, recipient };
        let Some(wrap) = self.attachment(&slot, &mut false)? else { return Ok(None) };
        let proof = self.prover.prove_contents(id, std::slice::from_ref(record));
        let proof = proof.map_err(|e| StorageError::corrupt("record", e))?;
        let committed = CommittedVersion { record: Some(record.clone()), proof: Some((&proof).into()) };
        Ok(Some((KeyWrap { recipient_key_id: recipient.to_bytes(), wrap, ..KeyWrap::default() }, committed)))
    }

    fn may_open(&mut self, key: KeyId) -> Result<bool, StorageError> {
        let owner = self.owner(key)?;
        let of_custody = custody::was_custody_key(self.ledger, self.reader.member().as_str(), key);
        let of_custody = of_custody.map_err(|e| StorageError::corrupt("state", e))?;
        let what = What::CustodyWrap { owner: owner.as_deref(), of_custody };
        Ok(decide(&Request { reader: self.reader, what }).allows())
    }

    /// The newest encryption key of the reader.
    fn newest_key(&mut self) -> Result<Option<KeyId>, StorageError> {
        if let Some(known) = self.newest_key {
            return Ok(known);
        }
        let identity: Option<IdentityState> = self.ledger.state(&keys::identity(&self.reader.to_string()))?;
        let key = identity.and_then(|identity| KeyId::try_from(identity.encryption_key_id.as_ref()).ok());
        self.newest_key = Some(key);
        Ok(key)
    }

    fn own_wraps(
        &mut self,
        id: &RecordId,
        record: &RecordVersion,
        missing: &mut bool,
    ) -> Result<Vec<KeyWrap>, StorageError> {
        let mut wraps = Vec::new();
        for wrap in &record.wraps {
            let key = key_id(wrap)?;
            let owner = self.owner(key)?;
            let what = What::Wrap { owner: owner.as_deref() };
            if !decide(&Request { reader: self.reader, what }).allows() {
                continue;
            }
            let slot = Slot::Wrap { record: *id, version: record.version, recipient: key };
            if let Some(bytes) = self.attachment(&slot, missing)? {
                let recipient_key_id = wrap.recipient_key_id.clone();
                wraps.push(KeyWrap { recipient_key_id, wrap: bytes, ..KeyWrap::default() });
            }
        }
        Ok(wraps)
    }

    /// SPIFFE id of whose key it is.
    fn owner(&mut self, key: KeyId) -> Result<Option<String>, StorageError> {
        if let Some(owner) = self.owners.get(&key) {
            return Ok(owner.clone());
        }
        let state: Option<EncryptionKeyState> = self.ledger.state(&keys::encryption_key(&key))?;
        let owner = state.map(|state| state.spiffe_id);
        self.owners.insert(key, owner.clone());
        Ok(owner)
    }
}

/// Where the search tags of a version are: a retraction has those of what it retracts.
fn descriptor_slot(id: &RecordId, record: &RecordVersion) -> Option<Slot> {
    let version = if record.retraction { record.version.saturating_sub(1) } else { record.version };
    (!record.descriptor_sha256.is_empty()).then_some(Slot::Descriptor { record: *id, version })
}

fn key_id(wrap: &KeyWrapRef) -> Result<KeyId, StorageError> {
    KeyId::try_from(wrap.recipient_key_id.as_ref()).map_err(|e| StorageError::corrupt("version", e))
}

#[cfg(test)]
mod tests;
