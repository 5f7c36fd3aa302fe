//! What has changed since this identity has read it: a record was amended, retracted, or moved to
//! another patient. How it has changed is proven; that this identity has read it is proven by its
//! own events ([`Client::decision`]); that nothing was left out is a node's word.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::error::{FieldError, fixed};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, PatientPseudonym, RecordId, TimeMs, TransactionId};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{self, RecordChangeState, RetractionReason};
use consilium_proto::state::StateKey;

use crate::access_log::verify::message;
use crate::access_log::{LogFault, at, service};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;

/// Records that a node is asked for at once.
const PAGE_SIZE: u32 = 256;

/// A record that has changed since it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownChange {
    /// The record.
    pub record: RecordId,
    /// Its newest version.
    pub version: u32,
    /// What became of it.
    pub fate: Fate,
    /// Time of the newest version's block.
    pub time: TimeMs,
    /// Height of that block.
    pub height: Height,
    /// By whom an earlier version was read, and which: this identity; for services, also others of
    /// their member.
    pub reads: Vec<VersionRead>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// There is a newer version.
    Amended,
    /// It was entered in error.
    Retracted,
    /// It was filed under the wrong patient.
    Misfiled,
}

/// A version that was read. A node's word, until the event of the request is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRead {
    /// The version.
    pub version: u32,
    /// By whom.
    pub reader: SpiffeId,
    /// As in the request.
    pub patient: PatientPseudonym,
    /// The request.
    pub transaction_id: TransactionId,
    /// When.
    pub time: TimeMs,
    /// Height of its block.
    pub height: Height,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Each record once, in the order of the ledger.
    pub records: Vec<KnownChange>,
    /// All of them up to this block.
    pub up_to: Height,
}

type ChangesAnswer = Answered<pb::ListChangesRequest, pb::ListChangesResponse>;

impl Client {
    /// Records of which this identity has read, in a version that does not count any more, and
    /// that have changed after a block; for services, also what others of their member have read.
    ///
    /// # Errors
    /// As [`Self::read`]; an answer that proves nothing.
    pub async fn changes(&self, after: Height) -> Result<Changes, ClientError> {
        self.changes_at(after, None).await
    }

    /// The same as of a block or later.
    pub(crate) async fn changes_at(
        &self,
        after: Height,
        mut read: Option<pb::ReadOptions>,
    ) -> Result<Changes, ClientError> {
        let mut place = pb::ChangePlace { height: after.0, record_id: Bytes::new() };
        // A record that changes while its page is read is told of once more.
        let mut records = BTreeMap::new();
        loop {
            let request = pb::ListChangesRequest { after: Some(place.clone()), page_size: PAGE_SIZE, read };
            let (answered, header) = self.recent(|| self.fetch_changes(request.clone())).await?;
            let page = self.check_changes(&place, &answered.answer, &header);
            let (known, upto) = self.judged(&answered, page)?;
            records.extend(known.into_iter().map(|change| (change.record, change)));
            if !answered.answer.more {
                let mut records: Vec<_> = records.into_values().collect();
                records.sort_by_key(|change| (change.height, change.record));
                return Ok(Changes { records, up_to: Height(upto.height) });
            }
            (place, read) = (upto, at(header.height));
        }
    }

    fn check_changes(
        &self,
        after: &pb::ChangePlace,
        answer: &pb::ListChangesResponse,
        header: &Header,
    ) -> Result<(Vec<KnownChange>, pb::ChangePlace), ClientError> {
        let upto = answer.upto.clone().ok_or_else(|| FieldError::missing("upto"))?;
        let order = |place: &pb::ChangePlace| (place.height, place.record_id.is_empty(), place.record_id.clone());
        if order(&upto) < order(after) || (answer.more && upto == *after) {
            return Err(ClientError::contradiction("the node answers the same page for ever"));
        }
        let known = answer.records.iter().map(|changed| known(changed, self.identity().spiffe_id(), header));
        Ok((known.collect::<Result<_, _>>()?, upto))
    }

    async fn fetch_changes(&self, request: pb::ListChangesRequest) -> Result<(ChangesAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).list_changes(request).await };
        let answered = self.ask("ListChanges", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }
}

/// A change that is proven, and of which this identity may be told.
fn known(changed: &pb::ChangedRecord, own: &SpiffeId, header: &Header) -> Result<KnownChange, ClientError> {
    let other = || LogFault::OtherRow("changes that were asked for".into());
    let row = changed.change.as_ref().ok_or_else(other)?;
    let Some(StateKey::RecordChange(record)) = StateKey::decode(&row.key) else { return Err(other().into()) };
    let state: RecordChangeState = message(&row.key, Some(row), header)?.ok_or_else(other)?;
    let reads = changed.reads.iter().map(VersionRead::try_from).collect::<Result<Vec<_>, _>>()?;
    let told = |read: &VersionRead| {
        let of_member = own.role() == Role::Service && read.reader.member() == own.member();
        (read.reader == *own || of_member) && read.version < state.version
    };
    if reads.is_empty() || !reads.iter().all(told) {
        return Err(ClientError::contradiction("the node tells of what this identity has not read, or counts still"));
    }
    let fate = match (state.retracted, state.retraction_reason()) {
        (false, _) => Fate::Amended,
        (true, RetractionReason::WrongPatient) => Fate::Misfiled,
        (true, RetractionReason::Unspecified) => Fate::Retracted,
    };
    let (time, height) = (TimeMs(state.time_ms), Height(state.height));
    Ok(KnownChange { record, version: state.version, fate, time, height, reads })
}

impl TryFrom<&pb::VersionRead> for VersionRead {
    type Error = FieldError;

    fn try_from(m: &pb::VersionRead) -> Result<Self, FieldError> {
        Ok(Self {
            version: m.version,
            reader: m.reader.parse().map_err(|_| FieldError::malformed("reader", "is not a SPIFFE id"))?,
            patient: PatientPseudonym::parse("patient", &m.patient)?,
            transaction_id: fixed("transaction_id", &m.transaction_id).map(TransactionId::from_bytes)?,
            time: TimeMs(m.time_ms),
            height: Height(m.height),
        })
    }
}
