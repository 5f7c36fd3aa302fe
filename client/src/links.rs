//! What happened while two pseudonyms were taken for one person's: for whoever finds that they were
//! not, and for whoever links them. What was read is proven by the logs of both, and what was
//! written by each record's history; that there are no other records is a node's word.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use consilium_proto::ids::{Height, PatientPseudonym, RecordId};
use consilium_proto::pb::{PatientLink, RecordVersion};
use futures::TryStreamExt;

use crate::access_log::{AccessEvent, KeptLog};
use crate::client::Client;
use crate::error::ClientError;
use crate::records::{QueryFilter, RecordReader};

/// A time in which a member took another pseudonym for the same person's.
#[derive(Debug, Clone, PartialEq)]
pub struct WhileLinked {
    /// The other pseudonym.
    pub other: PatientPseudonym,
    /// The member that said so: for its records the consents of both counted.
    pub member: String,
    /// The block since which it held.
    pub from: Height,
    /// The block since which it holds no more; `None`: it does still.
    pub to: Option<Height>,
    /// Requests to read records of either, oldest first.
    pub events: Vec<AccessEvent>,
    /// Versions of records of either that were written, oldest first.
    pub versions: Vec<RecordVersion>,
}

/// What there is of one pseudonym.
struct Happened {
    events: Vec<AccessEvent>,
    versions: Vec<RecordVersion>,
}

impl Client {
    /// What happened to a patient's records, and to those of its other pseudonyms, while they were
    /// linked, link by link. For auditors of the network, who may see both logs and all records.
    ///
    /// # Errors
    /// As [`Self::access_log`] and [`RecordReader::history`].
    pub async fn while_linked(&self, patient: PatientPseudonym) -> Result<Vec<WhileLinked>, ClientError> {
        let links = self.patient_rows(patient).await?.state.unwrap_or_default().links;
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = BTreeMap::from([(patient, self.happened(patient).await?)]);
        let mut times = Vec::with_capacity(links.len());
        for link in &links {
            let other = PatientPseudonym::parse("links.other", &link.other)?;
            if let Entry::Vacant(place) = known.entry(other) {
                place.insert(self.happened(other).await?);
            }
            let both = [patient, other].into_iter().filter_map(|one| known.get(&one)).collect::<Vec<_>>();
            times.push(between(link, other, &both));
        }
        Ok(times)
    }

    async fn happened(&self, patient: PatientPseudonym) -> Result<Happened, ClientError> {
        let events = self.access_log(patient, KeptLog::nothing()).await?.events;
        let reader = RecordReader::new(self.clone());
        let filter = QueryFilter { patient: Some(patient), ..QueryFilter::default() };
        let found: Vec<_> = reader.query(filter).try_collect().await?;
        let mut versions = Vec::new();
        for record in found {
            let id = RecordId::parse("record_id", &record.record_id)?;
            versions.extend(reader.history(id).await?.into_value().versions);
        }
        Ok(Happened { events, versions })
    }
}

/// What of both falls into the time of a link.
fn between(link: &PatientLink, other: PatientPseudonym, both: &[&Happened]) -> WhileLinked {
    let (from, to) = (Height(link.from_height), (link.to_height != 0).then_some(Height(link.to_height)));
    let within = |height: Height| height >= from && to.is_none_or(|to| height < to);
    let requests = both.iter().flat_map(|one| &one.events).filter(|event| event.change.is_none());
    let events = requests.filter(|event| within(event.height));
    let versions = both.iter().flat_map(|one| &one.versions).filter(|version| within(Height(version.height)));
    let (mut events, mut versions): (Vec<_>, Vec<_>) = (events.cloned().collect(), versions.cloned().collect());
    events.sort_by_key(|event| (event.height, event.patient, event.sequence));
    versions.sort_by_key(|version| (version.height, version.record_id.clone(), version.version));
    WhileLinked { other, member: link.member.clone(), from, to, events, versions }
}

#[cfg(test)]
mod tests;
