//! Which records a patient has: its lists, one for each kind and confidentiality, with proof that
//! nothing is left out of them, and that there are no others. A node can hide neither an entry nor
//! a whole list: "this is all there is of P up to height N".
//!
//! It is complete for what is on the ledger, and says nothing of copies elsewhere. An entry says
//! that a record was listed at a version: where it began, came to this confidentiality, or was
//! retracted; which of these, the record says.

mod kept;
pub(crate) mod verify;

use std::collections::BTreeMap;

use consilium_proto::header::Header;
use consilium_proto::ids::{PatientPseudonym, RecordId, TimeMs};
use consilium_proto::limits::RECORD_LIST_ENTRIES_SHOWN_MAX;
use consilium_proto::pb::{self, Confidentiality};

use crate::access_log::{KeptLog, at, service};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;

pub use kept::{KeptLists, ParseKeptListsError};
use verify::Gathering;

/// The lists of a patient's records, proven to be all up to a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLists {
    /// The patient.
    pub patient: PatientPseudonym,
    /// The lists that there are, in the order in which they began; of one kind, by confidentiality.
    pub lists: Vec<RecordList>,
    /// All that was listed up to this header's block is there.
    pub header: Header,
}

/// The records of one kind and confidentiality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordList {
    /// Kind of the records.
    pub kind: String,
    /// Their confidentiality.
    pub confidentiality: Confidentiality,
    /// The place of the first entry, from 0: as many were known before.
    pub from: u64,
    /// In the order in which they were listed.
    pub entries: Vec<RecordEntry>,
    /// How many entries the list has, and the root of its tree.
    pub log: KeptLog,
}

/// A record in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordEntry {
    /// The record.
    pub record: RecordId,
    /// The version that brought it there.
    pub version: u32,
    /// Number of the record on the ledger.
    pub sequence: u64,
    /// Time of the version's block.
    pub time: TimeMs,
}

impl RecordLists {
    /// Each record that is shown, once, by its number: with the list in which it stands now. One
    /// whose confidentiality was changed stands in several.
    #[must_use]
    pub fn records(&self) -> Vec<(&RecordList, &RecordEntry)> {
        let mut newest = BTreeMap::new();
        for list in &self.lists {
            for entry in &list.entries {
                let place = newest.entry((entry.sequence, entry.record)).or_insert((list, entry));
                if place.1.version < entry.version {
                    *place = (list, entry);
                }
            }
        }
        newest.into_values().collect()
    }

    /// What to keep, so that the next look shows that nothing was taken away. Lists that were not
    /// asked for stay as they were kept.
    #[must_use]
    pub fn keep(&self, kept: &KeptLists) -> KeptLists {
        self.lists.iter().fold(kept.clone(), |kept, list| kept.with(&list.kind, list.confidentiality, list.log))
    }
}

type ListsAnswer = Answered<pb::ListPatientRecordsRequest, pb::ListPatientRecordsResponse>;

impl Client {
    /// The lists of a patient's records, all of them or those of one kind, after what was kept:
    /// with proof that nothing is missing, that there are no other lists, and that what was kept is
    /// their beginning. For auditors, and for identities that the registering member has accepted
    /// to read.
    ///
    /// # Errors
    /// As [`Self::read`]; [`crate::access_log::LogFault`] if anything was left out, changed or
    /// swapped.
    pub async fn record_lists(
        &self,
        patient: PatientPseudonym,
        kind: Option<&str>,
        kept: &KeptLists,
    ) -> Result<RecordLists, ClientError> {
        self.whole_lists(patient, kind, kept, |_| ()).await
    }

    /// The same, and the answers that show them as they come.
    pub(crate) async fn whole_lists(
        &self,
        patient: PatientPseudonym,
        kind: Option<&str>,
        kept: &KeptLists,
        mut each: impl FnMut(pb::ListPatientRecordsResponse) + Send,
    ) -> Result<RecordLists, ClientError> {
        let mut gathering = Gathering::new(patient, kind, kept);
        let mut at_least = None;
        loop {
            let request = pb::ListPatientRecordsRequest {
                patient: patient.0.to_vec().into(),
                lists: gathering.wanted(),
                page_size: RECORD_LIST_ENTRIES_SHOWN_MAX as u32,
                read: at_least,
            };
            let (answered, header) = self.recent(|| self.fetch_lists(request.clone())).await?;
            let whole = gathering.add(&answered.answer, &header);
            let whole = self.judged(&answered, whole)?;
            each(answered.answer);
            if whole {
                return Ok(gathering.into_lists(header));
            }
            at_least = at(header.height);
        }
    }

    async fn fetch_lists(&self, request: pb::ListPatientRecordsRequest) -> Result<(ListsAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).list_patient_records(request).await };
        let answered = self.ask("ListPatientRecords", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}
