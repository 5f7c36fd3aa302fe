//! What a certified request for access opens, put together from one snapshot: the versions that
//! its event permits, with contents, keys and proofs. Whether anything is opened, and to whom, is
//! for the ledger's rules to say ([`open`]).

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_ledger::rights::{Claim, Decider, Opened, Reading, Withheld, open, open_late};
use consilium_policy::Engine;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::ids::{Height, RecordId};
use consilium_proto::limits::DESCRIPTOR_BYTES_MAX;
use consilium_proto::pb::{self, AccessKind, ReleasedRecord};
use consilium_proto::transaction::{RequestAccess, VersionRef};
use prost::Message;

use super::pages::Filled;
use super::query::Query;
use super::record_reader::RecordReader;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Versions of histories in an answer.
pub(super) const SHOWN_MAX: usize = 1_000;
/// What the descriptor of a version takes, and more.
const DESCRIBED_BYTES: usize = 2 * DESCRIPTOR_BYTES_MAX;
/// Versions that are decided for one answer, beside those that the event names: it is given before
/// the caller gives up.
pub(super) const DECIDED_MAX: usize = 10_000;

/// Which part of what a request opens is answered.
#[derive(Default, Clone, Copy)]
pub struct Page<'a> {
    /// Conditions of a query, with the place where it goes on.
    pub query: Option<&'a Query>,
    /// Where it begins, if it is none of a query.
    pub from: Place,
}

/// Where a page begins: at which of the records that were asked for, or of the histories that are
/// permitted, and of that history at which version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    index: u32,
    version: u32,
}

impl Place {
    pub(super) fn parse(token: &[u8]) -> Result<Self, FieldError> {
        if token.is_empty() {
            return Ok(Self::default());
        }
        let token = u64::from_be_bytes(fixed("page_token", token)?);
        Ok(Self { index: (token >> 32) as u32, version: token as u32 })
    }

    fn token(self) -> Bytes {
        Bytes::copy_from_slice(&((u64::from(self.index) << 32) | u64::from(self.version)).to_be_bytes())
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
    /// Versions that were looked at, whether they are in the answer or not.
    pub(super) looked_at: usize,
    filled: Filled,
}

impl Released {
    /// Adds records if all of them fit on the page; whether they did.
    pub(super) fn takes(&mut self, records: Vec<ReleasedRecord>) -> bool {
        let bytes = records.iter().map(Message::encoded_len).sum();
        if !records.is_empty() && !self.filled.takes(bytes) {
            return false;
        }
        self.records.extend(records);
        true
    }
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
    for version in asked.records.iter().flat_map(|asked| wanted(asked, &opened.versions)) {
        let record = records.version(&version.record, version.version)?;
        if records.awaits_wrap(&version.record, &record)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is permitted of a version that was asked for.
fn wanted<'a>(asked: &'a VersionRef, permitted: &'a BTreeSet<VersionRef>) -> impl Iterator<Item = &'a VersionRef> + 'a {
    // Where the newest was asked for, the event says which one that was.
    let of = |version| VersionRef { record: asked.record, version };
    let of_record = permitted.range(of(0)..=of(u32::MAX));
    of_record.filter(|version| asked.version == 0 || asked.version == version.version)
}

/// What a request opens that cannot come onto the ledger now, as of the snapshot ([`open_late`]).
pub(super) fn answer_late(
    ledger: &LedgerSnapshot<'_>,
    claim: &Claim<'_>,
    asked: &RequestAccess,
    from: Place,
) -> Result<Result<Released, Withheld>, StorageError> {
    let opened = open_late(ledger, Engine::shared(), (claim, asked));
    match opened.map_err(|e| StorageError::corrupt("state", e))? {
        Ok(versions) => {
            Release { ledger, claim, asked }.contents(RecordReader::new(ledger, claim.reader), &versions, from).map(Ok)
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
            (None, AccessKind::History) => self.histories(records, &opened.versions, page.from),
            (None, _) => self.contents(records, &opened.versions, page.from),
        }
    }

    fn contents(
        &self,
        mut records: RecordReader<'_>,
        permitted: &BTreeSet<VersionRef>,
        from: Place,
    ) -> Result<Released, StorageError> {
        let mut released = Released::default();
        for (index, asked) in (0_u32..).zip(&self.asked.records).skip(from.index as usize) {
            let (mut found, mut missed, mut awaits) = (Vec::new(), None, false);
            for version in wanted(asked, permitted) {
                let record = records.version(&version.record, version.version)?;
                let height = Height(record.height);
                awaits |= records.awaits_wrap(&version.record, &record)?;
                let (record, missing) = records.release(&version.record, record)?;
                missed = missed.or(missing.then_some(height));
                found.push(record);
            }
            let looked_at = found.len();
            if !released.takes(found) {
                released.next_page_token = Place { index, version: 0 }.token();
                break;
            }
            released.looked_at += looked_at;
            released.missing = released.missing.or(missed);
            released.awaits_wrap |= awaits;
        }
        Ok(released)
    }

    fn histories(
        &self,
        mut records: RecordReader<'_>,
        permitted: &BTreeSet<VersionRef>,
        from: Place,
    ) -> Result<Released, StorageError> {
        let mut decider = self.decider()?;
        let mut released = Released::default();
        for (index, version) in (0..).zip(permitted).skip(from.index as usize) {
            let newest = records.state(&version.record)?.map_or(0, |state| state.version);
            let first = if index == from.index { from.version.max(1) } else { 1 };
            let mut shown = Vec::new();
            for number in first..=newest {
                let full = released.records.len() + shown.len() >= SHOWN_MAX;
                if full || released.looked_at >= DECIDED_MAX {
                    released.next_page_token = Place { index, version: number }.token();
                    break;
                }
                released.looked_at += 1;
                let Some(shows) = decide(self.ledger, &mut decider, &version.record, number)? else { continue };
                // Before the proof is made, which is of all that are shown of a record.
                if !released.filled.takes(shows.encoded_len() + DESCRIBED_BYTES) {
                    released.next_page_token = Place { index, version: number }.token();
                    break;
                }
                shown.push(shows);
            }
            released.records.extend(records.show(&version.record, shown)?);
            if !released.next_page_token.is_empty() {
                break;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_told_by_tokens_that_grow() {
        let places = [(0, 7), (1, 0), (1, 2), (300, 0), (u32::MAX, u32::MAX)];
        let places = places.map(|(index, version)| Place { index, version });
        let tokens = places.map(Place::token);
        assert!(tokens.is_sorted() && tokens.iter().all(|token| !token.is_empty()));
        assert_eq!(tokens.map(|token| Place::parse(&token).unwrap()), places);
        assert_eq!(Place::parse(&[]), Ok(Place::default()));
        assert!(Place::parse(&[0; 7]).is_err());
    }
}
