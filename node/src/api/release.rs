//! What a certified request for access opens, put together from one snapshot: the versions that
//! its event permits, with contents, keys and proofs. Whether anything is opened, and to whom, is
//! for the ledger's rules to say ([`open`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_ledger::rights::{Claim, Decider, Opened, Reading, Withheld, open, open_late};
use consilium_policy::Engine;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{Height, RecordId};
use consilium_proto::pb::{self, AccessKind, ReleasedRecord};
use consilium_proto::transaction::{RequestAccess, VersionRef};
use prost::Message;

use super::query::Query;
use super::record_reader::RecordReader;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Bytes of records in an answer, and what more there is of the last one: a reader can receive it.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Which part of what a request opens is answered.
#[derive(Default, Clone, Copy)]
pub struct Page<'a> {
    /// Conditions of a query, with the place where it goes on.
    pub query: Option<&'a Query>,
    /// Of contents: behind how many of the versions that are permitted it begins.
    pub from: u64,
}

/// Where a page of contents begins.
pub(super) fn parse_place(token: &[u8]) -> Result<u64, FieldError> {
    match token.is_empty() {
        true => Ok(0),
        false => fixed("page_token", token).map(u64::from_be_bytes),
    }
}

/// What is answered.
#[derive(Debug, Default)]
pub struct Released {
    /// In the order in which they were asked for.
    pub records: Vec<ReleasedRecord>,
    /// Where the same request goes on.
    pub next_page_token: Bytes,
    /// The block of a version of which something is not on this node.
    pub(super) missing: Option<Height>,
    /// A custodian is about to wrap something of it for the reader's newest key, whether it is
    /// wrapped for an older one or not: the reader may have that one no more.
    pub(super) awaits_wrap: bool,
}

/// What a request opens, as of the snapshot.
///
/// # Errors
/// If the disk fails, or holds what cannot be.
pub fn answer(
    ledger: &LedgerSnapshot<'_>,
    claim: &Claim<'_>,
    asked: &RequestAccess,
    page: Page<'_>,
) -> Result<Result<Released, Withheld>, StorageError> {
    match open(ledger, claim).map_err(|e| StorageError::corrupt("state", e))? {
        Ok(opened) => Release { ledger, claim, asked }.of(page, &opened).map(Ok),
        Err(withheld) => Ok(Err(withheld)),
    }
}

/// Whether a custodian has still to wrap something that a request opens. Nothing is put together
/// for that, so that it may be asked at every block.
pub(super) fn awaits_wrap(
    ledger: &LedgerSnapshot<'_>,
    claim: &Claim<'_>,
    asked: &RequestAccess,
) -> Result<bool, StorageError> {
    let opened = open(ledger, claim).map_err(|e| StorageError::corrupt("state", e))?;
    // What is withheld since, the answer says.
    let Ok(opened) = opened else { return Ok(false) };
    let mut records = RecordReader::new(ledger, claim.reader);
    for version in wanted(asked, &opened.versions) {
        let record = records.version(&version.record, version.version)?;
        if records.awaits_wrap(&version.record, &record)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The versions that are permitted, in the order in which they were asked for.
fn wanted<'a>(
    asked: &'a RequestAccess,
    permitted: &'a BTreeSet<VersionRef>,
) -> impl Iterator<Item = &'a VersionRef> + 'a {
    asked.records.iter().flat_map(|asked| {
        // Where the newest was asked for, the event says which one that was.
        let of = |version| VersionRef { record: asked.record, version };
        let of_record = permitted.range(of(0)..=of(u32::MAX));
        of_record.filter(|version| asked.version == 0 || asked.version == version.version)
    })
}

/// What a request opens that cannot come onto the ledger now, as of the snapshot ([`open_late`]).
pub(super) fn answer_late(
    ledger: &LedgerSnapshot<'_>,
    claim: &Claim<'_>,
    asked: &RequestAccess,
) -> Result<Result<Released, Withheld>, StorageError> {
    let opened = open_late(ledger, Engine::shared(), (claim, asked));
    match opened.map_err(|e| StorageError::corrupt("state", e))? {
        Ok(versions) => {
            // It is read once, and has no pages.
            let whole = (0, usize::MAX);
            Release { ledger, claim, asked }.contents(RecordReader::new(ledger, claim.reader), &versions, whole).map(Ok)
        }
        Err(withheld) => Ok(Err(withheld)),
    }
}

/// A request that is answered.
struct Release<'a> {
    ledger: &'a LedgerSnapshot<'a>,
    claim: &'a Claim<'a>,
    asked: &'a RequestAccess,
}

impl Release<'_> {
    fn of(&self, page: Page<'_>, opened: &Opened) -> Result<Released, StorageError> {
        let records = RecordReader::new(self.ledger, self.claim.reader);
        match (page.query, self.asked.kind) {
            (Some(query), _) => query.run(self.ledger, (self.decider()?, records), opened.permits()),
            (None, AccessKind::History) => self.histories(records, &opened.versions),
            (None, _) => self.contents(records, &opened.versions, (page.from, ANSWER_BYTES)),
        }
    }

    fn contents(
        &self,
        mut records: RecordReader<'_>,
        permitted: &BTreeSet<VersionRef>,
        (from, bytes_max): (u64, usize),
    ) -> Result<Released, StorageError> {
        let mut released = Released::default();
        let mut bytes = 0_usize;
        for (number, version) in (0_u64..).zip(wanted(self.asked, permitted)) {
            if number < from {
                continue;
            }
            if bytes >= bytes_max {
                released.next_page_token = Bytes::copy_from_slice(&number.to_be_bytes());
                break;
            }
            let record = records.version(&version.record, version.version)?;
            let height = Height(record.height);
            released.awaits_wrap |= records.awaits_wrap(&version.record, &record)?;
            let (record, missing) = records.release(&version.record, record)?;
            released.missing = released.missing.or(missing.then_some(height));
            bytes = bytes.saturating_add(record.encoded_len());
            released.records.push(record);
        }
        Ok(released)
    }

    fn histories(
        &self,
        mut records: RecordReader<'_>,
        permitted: &BTreeSet<VersionRef>,
    ) -> Result<Released, StorageError> {
        let mut decider = self.decider()?;
        let mut released = Released::default();
        for version in permitted.iter() {
            let newest = records.state(&version.record)?.map_or(0, |state| state.version);
            for number in 1..=newest {
                if let Some(shown) = decide(self.ledger, &mut decider, &version.record, number)? {
                    released.records.push(records.show(&version.record, shown)?);
                }
            }
        }
        Ok(released)
    }

    fn decider(&self) -> Result<Decider<'_>, StorageError> {
        let reading = Reading {
            reader: self.claim.reader,
            patient: self.asked.patient,
            kind: self.asked.kind,
            purpose: self.asked.purpose,
            project: self.asked.project,
            emergency: self.asked.emergency,
            time: self.claim.time,
        };
        Decider::new(self.ledger, Engine::shared(), reading).map_err(|e| StorageError::corrupt("state", e))
    }
}

/// A version of a record, if it may be read now.
pub(super) fn decide(
    ledger: &LedgerSnapshot<'_>,
    decider: &mut Decider<'_>,
    id: &RecordId,
    number: u32,
) -> Result<Option<pb::RecordVersion>, StorageError> {
    let (decided, version) = decider.decide(ledger, id, number).map_err(|e| StorageError::corrupt("state", e))?;
    Ok(version.filter(|_| decided.permits()))
}
