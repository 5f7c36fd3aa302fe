//! Records as one reader may have them: gathers the facts from a snapshot, has
//! [`access`](crate::access) decide, and releases from the same snapshot. What
//! is denied is left out as if it did not exist.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_ledger::missing::is_wanted;
use consilium_ledger::{Table, keys};
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{EncryptionKeyState, KeyWrap, KeyWrapRef, RecordState, RecordVersion};
use consilium_proto::transaction::Slot;

use crate::access::{Record, Request, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// One version with all that the reader gets of it.
pub(super) struct Released {
    pub(super) record: RecordVersion,
    /// Empty if it was erased.
    pub(super) payload: Bytes,
    /// Those for the reader's own keys.
    pub(super) wraps: Vec<KeyWrap>,
    /// The search tags; empty if it has none, or they were erased.
    pub(super) descriptor: Bytes,
    /// Some of it is not on this node, and was not erased either.
    pub(super) missing: bool,
}

/// Reads for one reader from one snapshot.
pub(super) struct RecordReader<'a> {
    ledger: &'a LedgerSnapshot<'a>,
    reader: &'a SpiffeId,
    /// Whose keys are, as far as they were looked up: records of one page are
    /// mostly wrapped for the same few.
    owners: BTreeMap<KeyId, Option<String>>,
}

impl<'a> RecordReader<'a> {
    pub(super) fn new(ledger: &'a LedgerSnapshot<'a>, reader: &'a SpiffeId) -> Self {
        Self { ledger, reader, owners: BTreeMap::new() }
    }

    /// One version, the newest if `number` is 0.
    pub(super) fn get(&mut self, id: &RecordId, number: u32) -> Result<Option<Released>, StorageError> {
        let Some(state) = self.state(id)? else { return Ok(None) };
        let number = if number == 0 { state.version } else { number };
        let Some(record) = self.ledger.message(Table::Versions, &keys::version(id, number))? else {
            return Ok(None);
        };
        if !self.may_read(&state, id, &record)? {
            return Ok(None);
        }
        let mut missing = false;
        let slot = Slot::Payload { record: *id, version: number };
        let payload = match record.retraction {
            true => None,
            false => self.attachment(&slot, &mut missing)?,
        };
        let wraps = self.own_wraps(id, &record, &mut missing)?;
        let descriptor = match descriptor_slot(id, &record) {
            Some(slot) => self.attachment(&slot, &mut missing)?,
            None => None,
        };
        let (payload, descriptor) = (payload.unwrap_or_default(), descriptor.unwrap_or_default());
        Ok(Some(Released { record, payload, wraps, descriptor, missing }))
    }

    /// The descriptor of a version, if it has one and it is here.
    pub(super) fn descriptor(&self, id: &RecordId, record: &RecordVersion) -> Result<Option<Bytes>, StorageError> {
        match descriptor_slot(id, record) {
            Some(slot) => self.attachment(&slot, &mut false),
            None => Ok(None),
        }
    }

    fn attachment(&self, slot: &Slot, missing: &mut bool) -> Result<Option<Bytes>, StorageError> {
        let (table, key) = keys::attachment(slot);
        let content = self.ledger.read(table, &key)?;
        let wanted = is_wanted(self.ledger, slot).map_err(|e| StorageError::corrupt("attachment", e))?;
        *missing |= content.is_none() && wanted;
        Ok(content)
    }

    /// All versions that the reader may have, from the first on.
    pub(super) fn history(&mut self, id: &RecordId) -> Result<Vec<RecordVersion>, StorageError> {
        let Some(state) = self.state(id)? else { return Ok(Vec::new()) };
        let mut versions = Vec::new();
        for number in 1..=state.version {
            let version = self.version(id, number)?;
            if self.may_read(&state, id, &version)? {
                versions.push(version);
            }
        }
        Ok(versions)
    }

    /// The newest version, if it is wanted and the reader may have it.
    pub(super) fn newest(
        &mut self,
        id: &RecordId,
        wanted: impl FnOnce(&RecordState, &RecordVersion) -> bool,
    ) -> Result<Option<RecordVersion>, StorageError> {
        let Some(state) = self.state(id)? else { return Ok(None) };
        let version = self.version(id, state.version)?;
        let released = wanted(&state, &version) && self.may_read(&state, id, &version)?;
        Ok(released.then_some(version))
    }

    fn state(&self, id: &RecordId) -> Result<Option<RecordState>, StorageError> {
        self.ledger.state(&keys::record(id))
    }

    fn version(&self, id: &RecordId, number: u32) -> Result<RecordVersion, StorageError> {
        let version = self.ledger.message(Table::Versions, &keys::version(id, number))?;
        version.ok_or_else(|| StorageError::corrupt("version", "absent"))
    }

    fn may_read(&mut self, state: &RecordState, id: &RecordId, version: &RecordVersion) -> Result<bool, StorageError> {
        let recipients = match version.retraction {
            false => self.recipients(&version.wraps)?,
            // It is wrapped for nobody: whoever had what it retracts may know.
            true => {
                let before = self.version(id, version.version.saturating_sub(1))?;
                self.recipients(&before.wraps)?
            }
        };
        let what = What::Record(Record { author_member: &state.member, recipients: &recipients });
        Ok(decide(&Request { reader: self.reader, what }).allows())
    }

    fn recipients(&mut self, wraps: &[KeyWrapRef]) -> Result<Vec<String>, StorageError> {
        let mut recipients = Vec::with_capacity(wraps.len());
        for wrap in wraps {
            recipients.extend(self.owner(key_id(wrap)?)?);
        }
        Ok(recipients)
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
                wraps.push(KeyWrap { recipient_key_id: wrap.recipient_key_id.clone(), wrap: bytes });
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
