//! Queries of `RecordsService.ReadRecords`: what a permitted query of a patient shows. It looks at
//! nothing but records of which the reader may have some ([`Decider::in_sight`]), and a page says
//! that there are more only where there is something to show on the next, or where
//! [thousands](DECIDED_MAX) were decided for it.

use std::ops::Bound;

use bytes::Bytes;
use consilium_ledger::rights::Decider;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::hash::Hash;
use consilium_proto::ids::{RecordId, SearchTag};
use consilium_proto::pb;
use consilium_proto::record::Descriptor;
use consilium_proto::transaction::{RequestAccess, check_kind};
use prost::Message;

use super::record_reader::RecordReader;
use super::release::{DECIDED_MAX, Released, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

const PAGE_DEFAULT: u32 = 100;
const PAGE_MAX: u32 = 1_000;

/// Refuses conditions that nothing can meet: an empty answer would look like one to what was meant.
/// An empty kind, and a time of 0, are no conditions.
pub(super) fn check_conditions(kind: &str, (from_ms, to_ms): (u64, u64)) -> Result<(), FieldError> {
    if !kind.is_empty() {
        check_kind(kind)?;
    }
    if to_ms != 0 && from_ms >= to_ms {
        return Err(FieldError::malformed("to_ms", "is not after from_ms: no record is of such a time"));
    }
    Ok(())
}

/// A parsed query.
#[derive(Debug)]
pub struct Query {
    /// Behind which record the page begins, by the order in which they came onto the ledger.
    after: Bound<u64>,
    tag: Option<SearchTag>,
    page: usize,
    conditions: pb::RecordQuery,
}

impl Query {
    /// `None` if the request is not one.
    pub(super) fn parse(m: &pb::ReadRecordsRequest, asked: &RequestAccess) -> Result<Option<Self>, FieldError> {
        let Some(committed) = &asked.query else { return Ok(None) };
        if m.page_size > PAGE_MAX {
            return Err(FieldError::range("page_size", 0, PAGE_MAX.into(), m.page_size.into()));
        }
        let salt: [u8; 16] = fixed("query_salt", &m.query_salt)?;
        if Hash::of(&[&salt, &m.query]) != *committed {
            return Err(FieldError::malformed("query", "is not what the request commits to"));
        }
        let conditions = pb::RecordQuery::decode(m.query.clone());
        let conditions = conditions.map_err(|_| FieldError::malformed("query", "is not a RecordQuery"))?;
        check_conditions(&conditions.kind, (conditions.from_ms, conditions.to_ms)).map_err(|e| e.within("query"))?;
        let tag = (!conditions.tag.is_empty()).then(|| SearchTag::parse("query.tag", &conditions.tag)).transpose()?;
        let after = match m.page_token.is_empty() {
            true => Bound::Unbounded,
            false => Bound::Excluded(u64::from_be_bytes(fixed("page_token", &m.page_token)?)),
        };
        let page = if m.page_size == 0 { PAGE_DEFAULT } else { m.page_size } as usize;
        Ok(Some(Self { after, tag, page, conditions }))
    }

    /// The newest versions that may be read and are looked for, if the event permits a query.
    pub(super) fn run(
        &self,
        ledger: &LedgerSnapshot<'_>,
        (mut decider, mut records): (Decider<'_>, RecordReader<'_>),
        permitted: bool,
    ) -> Result<Released, StorageError> {
        let kind = (!self.conditions.kind.is_empty()).then_some(self.conditions.kind.as_str());
        let in_sight = decider.in_sight(ledger, kind).map_err(|e| StorageError::corrupt("index", e))?;
        let mut released = Released::default();
        let (mut decided, mut last) = (0, 0);
        let in_sight = in_sight.range((self.after, Bound::Unbounded)).filter(|_| permitted);
        for (sequence, id) in in_sight {
            if released.looked_at >= DECIDED_MAX {
                released.next_page_token = Bytes::copy_from_slice(&u64::to_be_bytes(decided));
                return Ok(released);
            }
            released.looked_at += 1;
            decided = *sequence;
            let Some(version) = decide(ledger, &mut decider, id, 0)? else { continue };
            let state = records.state(id)?.ok_or_else(|| StorageError::corrupt("record", "absent"))?;
            if !self.matches(&state, &version) || !self.is_tagged(&records, id, &version)? {
                continue;
            }
            if released.records.len() >= self.page || !released.takes(records.show(id, vec![version])?) {
                released.next_page_token = Bytes::copy_from_slice(&u64::to_be_bytes(last));
                return Ok(released);
            }
            last = *sequence;
        }
        Ok(released)
    }

    fn is_tagged(
        &self,
        records: &RecordReader<'_>,
        id: &RecordId,
        version: &pb::RecordVersion,
    ) -> Result<bool, StorageError> {
        let Some(tag) = &self.tag else { return Ok(true) };
        let Some(bytes) = records.descriptor(id, version)? else { return Ok(false) };
        let descriptor = Descriptor::decode(&bytes).map_err(|e| StorageError::corrupt("descriptor", e))?;
        Ok(descriptor.tags().contains(tag))
    }

    fn matches(&self, state: &pb::RecordState, version: &pb::RecordVersion) -> bool {
        let q = &self.conditions;
        (q.kind.is_empty() || q.kind == state.kind)
            && (q.author.is_empty() || q.author == version.author)
            && (q.author_member.is_empty() || q.author_member == state.member)
            && (q.from_ms == 0 || version.time_ms >= q.from_ms)
            && (q.to_ms == 0 || version.time_ms < q.to_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_nothing_can_meet_are_refused() {
        for good in [("", (0, 0)), ("Observation", (0, 1)), ("x-scan", (1, 2)), ("", (5, 0))] {
            assert_eq!(check_conditions(good.0, good.1), Ok(()), "{good:?}");
        }
        for (kind, times, field) in [("a b", (0, 0), "kind"), ("", (1, 1), "to_ms"), ("", (2, 1), "to_ms")] {
            assert_eq!(check_conditions(kind, times).map_err(|e| e.field), Err(field.to_owned()));
        }
        assert!(check_conditions(&"a".repeat(65), (0, 0)).is_err());
    }
}
