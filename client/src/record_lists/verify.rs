//! Answers held against headers that are final. Lists only grow, and so does the row that names
//! them: what is whole at a later block holds all that there was at an earlier one. So lists may
//! be shown in several answers, and are all that there is up to the earliest of their headers.

use std::collections::BTreeSet;

use bytes::Bytes;
use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::{PatientPseudonym, RecordId, TimeMs};
use consilium_proto::limits::RECORD_LISTS_SHOWN_MAX;
use consilium_proto::pb::{self, Confidentiality};
use consilium_proto::state::{ListName, keys};
use prost::Message;

use super::{KeptLists, RecordEntry, RecordList, RecordLists};
use crate::access_log::pages::LogPages;
use crate::access_log::verify::{log_row, message};
use crate::access_log::{KeptLog, LogFault};
use crate::error::ClientError;

/// Every level that a record can have.
const LEVELS: [Confidentiality; 6] = [
    Confidentiality::Unrestricted,
    Confidentiality::Low,
    Confidentiality::Moderate,
    Confidentiality::Normal,
    Confidentiality::Restricted,
    Confidentiality::VeryRestricted,
];

/// The lists, answer by answer.
pub(crate) struct Gathering {
    patient: PatientPseudonym,
    /// Whether all lists are wanted, and no answer has said yet which there are.
    names_wanted: bool,
    parts: Vec<Part>,
    /// The earliest that an answer was proven at.
    earliest: Option<Header>,
}

/// A list as far as it was shown.
struct Part {
    kind: String,
    confidentiality: Confidentiality,
    pages: LogPages,
    entries: Vec<RecordEntry>,
    whole: bool,
}

impl Gathering {
    pub(crate) fn new(patient: PatientPseudonym, kind: Option<&str>, kept: &KeptLists) -> Self {
        let parts = match kind {
            Some(kind) => LEVELS.map(|level| Part::new(kind, level, kept.of(kind, level))).into(),
            None => kept.names().map(|(kind, level)| Part::new(kind, level, kept.of(kind, level))).collect(),
        };
        Self { patient, names_wanted: kind.is_none(), parts, earliest: None }
    }

    /// What to ask for next. Nothing: the first lists that there are.
    pub(crate) fn wanted(&self) -> Vec<pb::WantedRecordList> {
        let want = |part: &Part| pb::WantedRecordList {
            kind: part.kind.clone(),
            confidentiality: part.confidentiality as u32,
            from_entry: part.pages.known().count,
        };
        self.parts.iter().filter(|part| !part.whole).take(RECORD_LISTS_SHOWN_MAX).map(want).collect()
    }

    /// Adds an answer to [`Self::wanted`]. True: that was the last one, and nothing is missing.
    pub(crate) fn add(
        &mut self,
        answer: &pb::ListPatientRecordsResponse,
        header: &Header,
    ) -> Result<bool, ClientError> {
        let row = message(&keys::record_lists(&self.patient), answer.record_lists.as_ref(), header)?;
        let row: pb::RecordListsState = row.unwrap_or_default();
        let asked = self.wanted().len();
        let unnamed = std::mem::take(&mut self.names_wanted);
        if unnamed {
            self.name(&row)?;
        }
        // Those that were not asked for by name are shown from the first on.
        let shown = if asked == 0 && unnamed { self.wanted().len() } else { asked };
        if answer.lists.len() != shown {
            let (count, shown) = (shown as u64, answer.lists.len() as u64);
            return Err(LogFault::Count { count, shown }.into());
        }
        let open = self.parts.iter_mut().filter(|part| !part.whole);
        let mut progress = self.earliest.is_none();
        for (part, list) in open.zip(&answer.lists) {
            part.add(self.patient, list, header)?;
            progress |= part.whole || !list.entries.is_empty();
        }
        if self.earliest.as_ref().is_none_or(|earliest| header.height < earliest.height) {
            self.earliest = Some(header.clone());
        }
        let whole = self.parts.iter().all(|part| part.whole);
        match progress || whole {
            true => Ok(whole),
            false => Err(ClientError::contradiction("the answer shows nothing of the lists that were asked for")),
        }
    }

    /// Takes the names of all lists; those that were kept are among them.
    fn name(&mut self, row: &pb::RecordListsState) -> Result<(), ClientError> {
        let known: BTreeSet<_> = self.parts.iter().map(|part| (part.kind.clone(), part.confidentiality)).collect();
        for list in &row.lists {
            let level = i32::try_from(list.confidentiality).ok().and_then(|code| Confidentiality::try_from(code).ok());
            let level = level.filter(|level| *level != Confidentiality::Unspecified);
            let level = level.ok_or_else(|| FieldError::malformed("confidentiality", "is not a known level"))?;
            if !known.contains(&(list.kind.clone(), level)) {
                self.parts.push(Part::new(&list.kind, level, KeptLog::nothing()));
            }
        }
        Ok(())
    }

    /// Once all is there. Lists that do not exist are proven not to.
    pub(crate) fn into_lists(self, last: Header) -> RecordLists {
        let lists = self.parts.into_iter().map(Part::into_list).filter(|list| list.log.count > 0);
        RecordLists { patient: self.patient, lists: lists.collect(), header: self.earliest.unwrap_or(last) }
    }
}

impl Part {
    fn new(kind: &str, confidentiality: Confidentiality, kept: KeptLog) -> Self {
        let (kind, pages) = (kind.to_owned(), LogPages::new(kept));
        Self { kind, confidentiality, pages, entries: Vec::new(), whole: false }
    }

    fn add(
        &mut self,
        patient: PatientPseudonym,
        list: &pb::ShownRecordList,
        header: &Header,
    ) -> Result<(), ClientError> {
        let key = keys::record_list(&ListName::new(patient, self.confidentiality, &self.kind));
        let row = log_row(&key, list.list.as_ref(), header)?;
        self.pages.grow(row, &list.consistency_path)?;
        for entry in &list.entries {
            self.pages.append(entry)?;
            self.entries.push(decode(entry)?);
        }
        self.whole = self.pages.is_whole()?;
        Ok(())
    }

    fn into_list(self) -> RecordList {
        let Self { kind, confidentiality, pages, entries, .. } = self;
        RecordList { kind, confidentiality, from: pages.kept().count, entries, log: pages.known() }
    }
}

fn decode(entry: &Bytes) -> Result<RecordEntry, FieldError> {
    let entry = pb::RecordListEntry::decode(entry.clone());
    let entry = entry.map_err(|_| FieldError::malformed("entries", "is not a RecordListEntry"))?;
    Ok(RecordEntry {
        record: RecordId::parse("record_id", &entry.record_id).map_err(|e| e.within("entries"))?,
        version: entry.version,
        sequence: entry.sequence,
        time: TimeMs(entry.time_ms),
    })
}

#[cfg(test)]
mod tests;
