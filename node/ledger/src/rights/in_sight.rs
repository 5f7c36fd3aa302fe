//! Which records of a patient a query looks at: those of members whose records, of that kind and
//! confidentiality, the floor may let the reader have. All others cost no look, so that the time
//! of an answer does not tell how many there are.
//!
//! It goes by an index that no header covers, and decides nothing: what is in sight is decided
//! record by record.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::access::RecordFacts;
use consilium_proto::consent::Asked;
use consilium_proto::ids::{PatientPseudonym, RecordId};
use consilium_proto::pb::Confidentiality;
use consilium_proto::state::ListName;

use super::{Decider, Reading};
use crate::keys;
use crate::roster::corrupt;
use crate::view::{StateReader, StoreFault, View};

/// Scans the table `index`.
pub trait IndexScan {
    /// All rows whose keys start with a prefix, in order of their keys.
    ///
    /// # Errors
    /// If the store fails.
    fn index(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>, StoreFault>;
}

/// A member's records of a patient, of one kind and confidentiality.
struct Part {
    list: ListName,
    kind: String,
    confidentiality: Confidentiality,
    member: String,
}

impl Decider<'_> {
    /// Records of the patient that are to be decided one by one, of a kind if one is given, by
    /// the order in which they came onto the ledger. All that may be read are among them.
    ///
    /// # Errors
    /// If the store fails.
    pub fn in_sight<R: IndexScan + StateReader>(
        &mut self,
        store: &R,
        kind: Option<&str>,
    ) -> Result<BTreeMap<u64, RecordId>, StoreFault> {
        let (view, patient) = (View::new(store), self.reading.patient);
        collect(store, &patient, |part| {
            Ok(kind.is_none_or(|kind| kind == part.kind) && self.may_permit_of(&view, part)?)
        })
    }

    fn may_permit_of<R: StateReader>(&mut self, view: &View<'_, R>, part: &Part) -> Result<bool, StoreFault> {
        self.facts.hear(view, &part.member)?;
        let record = RecordFacts {
            id: RecordId([0; 16]),
            kind: &part.kind,
            confidentiality: part.confidentiality,
            custodian: &part.member,
            author: "",
            tags: &[],
            restricted: false,
        };
        let Reading { reader, purpose, project, time, .. } = &self.reading;
        let asked = Asked { reader, purpose: *purpose, project: *project, time: *time, record: &record };
        Ok(self.facts.may_permit_such(&asked))
    }
}

/// A member's records of a patient, by the order in which they came onto the ledger.
///
/// # Errors
/// If the store fails.
pub fn records_of_member(
    index: &impl IndexScan,
    patient: &PatientPseudonym,
    member: &str,
) -> Result<BTreeMap<u64, RecordId>, StoreFault> {
    collect(index, patient, |part| Ok(part.member == member))
}

fn collect(
    index: &impl IndexScan,
    patient: &PatientPseudonym,
    mut wanted: impl FnMut(&Part) -> Result<bool, StoreFault>,
) -> Result<BTreeMap<u64, RecordId>, StoreFault> {
    let mut found = BTreeMap::new();
    for (key, kind) in index.index(&keys::index_writers(patient))? {
        let part = Part::parse(*patient, &key, &kind).ok_or_else(|| corrupt("a damaged entry of the index"))?;
        if wanted(&part)? {
            let prefix = keys::index_listed(&part.list, &part.member);
            for (key, id) in index.index(&prefix)? {
                let sequence = key.last_chunk().copied().map(u64::from_be_bytes);
                let sequence = sequence.ok_or_else(|| corrupt("an entry of the index without a place"))?;
                found.insert(sequence, RecordId::parse("index", &id).map_err(|e| corrupt(e.to_string()))?);
            }
        }
    }
    Ok(found)
}

impl Part {
    fn parse(patient: PatientPseudonym, key: &[u8], kind: &[u8]) -> Option<Self> {
        let (level, member) = keys::writer_of_index(key)?;
        let confidentiality = Confidentiality::try_from(i32::from(level)).ok()?;
        let kind = std::str::from_utf8(kind).ok()?.to_owned();
        let list = ListName::new(patient, confidentiality, &kind);
        Some(Self { list, kind, confidentiality, member: member.to_owned() })
    }
}
