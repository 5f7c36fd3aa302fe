//! Custody: wraps that a custodian adds, asked for or not, and who acts in a custodian's place.

use std::collections::BTreeSet;

use super::access::{VersionRef, hash, member, optional};
use crate::error::{FieldError, fixed, in_range, length_in};
use crate::hash::Hash;
use crate::ids::{KeyId, RecordId};
use crate::limits::{ADDED_WRAPS_MAX, CUSTODY_MISSING_MAX};
use crate::names::MemberId;
use crate::pb;

/// A key wrap that a custodian adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedWrap {
    /// The number of the request in the member's list of work.
    pub request: u64,
    /// The version, as the custodian names it: the request must be for it.
    pub version: VersionRef,
    /// The reader's key.
    pub recipient: KeyId,
    /// Commitment.
    pub wrap_hash: Hash,
}

/// What a custodian does with requests for wraps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddWraps {
    /// Answers.
    pub wraps: Vec<AddedWrap>,
    /// Requests for what is not permitted any more.
    pub dropped: Vec<u64>,
    /// Own records for a custody key.
    pub rewraps: Vec<Rewrap>,
    /// Requests for wraps that are owed.
    pub owed: Vec<OwedWrap>,
    /// Whose records; `None`: the author's member's.
    pub member: Option<MemberId>,
    /// All of it answers requests with an emergency.
    pub emergency: bool,
}

/// An action about who acts in a custodian's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustodyAction {
    /// See `NameDeputy`; `None`: nobody any more.
    NameDeputy(Option<MemberId>),
    /// See `AcceptCustody`.
    Accept {
        /// Whose records.
        member: MemberId,
        /// How many versions may lack a wrap.
        missing_max: u64,
    },
    /// The same, withdrawn.
    TakeBack(MemberId),
}

impl CustodyAction {
    pub(super) fn name_deputy(m: &pb::NameDeputy) -> Result<Self, FieldError> {
        member("deputy", &m.deputy).map(Self::NameDeputy)
    }

    pub(super) fn accept(m: &pb::AcceptCustody) -> Result<Self, FieldError> {
        let member = MemberId::parse("member", &m.member)?;
        in_range("missing_max", m.missing_max, 0, CUSTODY_MISSING_MAX)?;
        Ok(match m.withdrawn {
            true => Self::TakeBack(member),
            false => Self::Accept { member, missing_max: m.missing_max },
        })
    }
}

/// A version of an own record wrapped for a custody key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrap {
    /// The version.
    pub version: VersionRef,
    /// The custody key.
    pub recipient: KeyId,
    /// Commitment; `None`: it is wrapped for the key already.
    pub wrap_hash: Option<Hash>,
}

/// A request for a wrap that is owed to a version's patient, or to the person who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedWrap {
    /// The version.
    pub version: VersionRef,
    /// The person's newest key.
    pub recipient: KeyId,
}

impl AddWraps {
    pub(super) fn parse(m: &pb::AddWraps) -> Result<Self, FieldError> {
        length_in("wraps", m.wraps.len(), 0, ADDED_WRAPS_MAX)?;
        length_in("rewraps", m.rewraps.len(), 0, ADDED_WRAPS_MAX)?;
        length_in("owed", m.owed.len(), 0, ADDED_WRAPS_MAX)?;
        let is_empty = m.wraps.is_empty() && m.rewraps.is_empty() && m.owed.is_empty();
        length_in("dropped", m.dropped.len(), usize::from(is_empty), ADDED_WRAPS_MAX)?;
        let wraps = m.wraps.iter().map(|wrap| AddedWrap::parse(wrap).map_err(|e| e.within("wraps")));
        let wraps: Vec<AddedWrap> = wraps.collect::<Result<_, _>>()?;
        let requests: Vec<_> = wraps.iter().map(|wrap| wrap.request).chain(m.dropped.iter().copied()).collect();
        if requests.iter().collect::<BTreeSet<_>>().len() != requests.len() {
            return Err(FieldError::malformed("wraps", "answers a request twice"));
        }
        let rewraps = m.rewraps.iter().map(|wrap| Rewrap::parse(wrap).map_err(|e| e.within("rewraps")));
        let rewraps: Vec<Rewrap> = rewraps.collect::<Result<_, _>>()?;
        let owed = m.owed.iter().map(|owed| OwedWrap::parse(owed).map_err(|e| e.within("owed")));
        let owed: Vec<OwedWrap> = owed.collect::<Result<_, _>>()?;
        if m.emergency && !(m.dropped.is_empty() && rewraps.is_empty() && owed.is_empty()) {
            return Err(FieldError::malformed("emergency", "is for nothing but answers"));
        }
        let (dropped, member) = (m.dropped.clone(), member("member", &m.member)?);
        Ok(Self { wraps, dropped, rewraps, owed, member, emergency: m.emergency })
    }
}

impl Rewrap {
    fn parse(m: &pb::Rewrap) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        Ok(Self {
            version: VersionRef { record: RecordId::parse("record_id", &m.record_id)?, version: m.version },
            recipient: KeyId::from_bytes(fixed("recipient_key_id", &m.recipient_key_id)?),
            wrap_hash: optional("wrap_sha256", &m.wrap_sha256, hash)?,
        })
    }
}

impl OwedWrap {
    fn parse(m: &pb::OwedWrap) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        Ok(Self {
            version: VersionRef { record: RecordId::parse("record_id", &m.record_id)?, version: m.version },
            recipient: KeyId::from_bytes(fixed("recipient_key_id", &m.recipient_key_id)?),
        })
    }
}

impl AddedWrap {
    fn parse(m: &pb::AddedWrap) -> Result<Self, FieldError> {
        in_range("version", m.version.into(), 1, u32::MAX.into())?;
        Ok(Self {
            request: m.request,
            version: VersionRef { record: RecordId::parse("record_id", &m.record_id)?, version: m.version },
            recipient: KeyId::from_bytes(fixed("recipient_key_id", &m.recipient_key_id)?),
            wrap_hash: hash("wrap_sha256", &m.wrap_sha256)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_successor_accepts_to_lack_so_many_versions_and_no_more() {
        let accept = |missing_max| {
            CustodyAction::accept(&pb::AcceptCustody { member: "a.example".into(), missing_max, withdrawn: false })
        };
        assert!(accept(0).is_ok() && accept(CUSTODY_MISSING_MAX).is_ok());
        for missing_max in [CUSTODY_MISSING_MAX + 1, u64::MAX] {
            assert!(accept(missing_max).unwrap_err().to_string().contains("missing_max"));
        }
    }

    #[test]
    fn owed_wraps_are_refused_by_the_field_that_is_wrong() {
        let parse = |change: fn(&mut pb::OwedWrap), emergency| {
            let (record_id, recipient_key_id) = (vec![1; 16].into(), vec![2; 32].into());
            let mut owed = pb::OwedWrap { record_id, version: 1, recipient_key_id };
            change(&mut owed);
            let add = pb::AddWraps { owed: vec![owed], emergency, ..pb::AddWraps::default() };
            AddWraps::parse(&add).map_err(|e| e.field)
        };
        assert_eq!(parse(|_| (), false).unwrap().owed.len(), 1);
        assert_eq!(parse(|_| (), true).unwrap_err(), "emergency");
        type Change = fn(&mut pb::OwedWrap);
        let cases: [(&str, Change); 3] = [
            ("owed.record_id", |o| o.record_id.clear()),
            ("owed.version", |o| o.version = 0),
            ("owed.recipient_key_id", |o| o.recipient_key_id.clear()),
        ];
        for (field, change) in cases {
            assert_eq!(parse(change, false).unwrap_err(), field);
        }
    }
}
