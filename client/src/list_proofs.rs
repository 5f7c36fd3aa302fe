//! A patient's whole lists as files: who has asked to read, and which records there are. Verified by
//! anybody, offline, with the genesis document alone: nothing is left out, changed or swapped up to
//! the block of the header that is shown. What is believed of the entries is decided where a node's
//! answers are judged; here, whether their headers are final without anybody to ask.
//!
//! A file is as old as its block: it says nothing of what came later.

use bytes::Bytes;
use consilium_proto::error::{FieldError, length_in};
use consilium_proto::genesis::Genesis;
use consilium_proto::header::{Header, HeaderProof};
use consilium_proto::ids::{Height, LedgerId, PatientPseudonym};
use consilium_proto::light_client::{SetChange, TrustError};
use consilium_proto::merkle::leaf_hash;
use consilium_proto::pb;
use consilium_proto::transaction::check_kind;
use prost::Message;

use crate::access_log::verify::Pages;
use crate::access_log::{AccessLog, DecisionReport, KeptLog, LogFault, verify_decision};
use crate::client::Client;
use crate::counts;
use crate::error::{ClientError, Unverified};
use crate::light_client::SetHistory;
use crate::receipts::RECEIPT_BYTES_MAX;
use crate::record_lists::verify::Gathering;
use crate::record_lists::{KeptLists, RecordLists};

/// Bytes of a file that holds a whole list: some hundred thousand entries.
pub const LIST_PROOF_BYTES_MAX: u64 = RECEIPT_BYTES_MAX;

/// Version of the format.
const FORMAT: u32 = 1;
/// Seals that may end while a list is fetched, before it is given up.
const TRIES: u32 = 3;

/// What a verified file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedFile {
    /// One decision.
    Decision(Box<DecisionReport>),
    /// Who has asked to read a patient's records.
    Log(LogReport),
    /// Which records a patient has.
    Lists(ListsReport),
}

/// What a verified file says of who has asked to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// The whole log, up to the block of its header.
    pub log: AccessLog,
    /// Who says so.
    pub certified: Certified,
}

/// What a verified file says of which records there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListsReport {
    /// Only those of this kind; `None`: of all kinds.
    pub kind: Option<String>,
    /// The whole lists, up to the block of their header.
    pub lists: RecordLists,
    /// Who says so.
    pub certified: Certified,
}

/// A certified header, at or above the one that a list is proven with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified {
    /// The ledger.
    pub ledger: LedgerId,
    /// Height of the certified header.
    pub height: Height,
    /// Voting power that signed it.
    pub signed_power: u64,
    /// Voting power of all validators then.
    pub total_power: u64,
}

impl Client {
    /// Who has asked to read a patient's records, from the first entry on, as a file to keep or to
    /// hand on: encoded, [`verify_log`] verifies it. For whom [`Self::access_log`] is. Auditors are
    /// shown entries that are kept from the patient until a date: without `with_sealed` nothing is
    /// left of those but that there is one, until when, and its hash; with it, the file is not for
    /// the patient.
    ///
    /// # Errors
    /// As [`Self::access_log`]; a list that is too long for a file.
    pub async fn access_log_proof(
        &self,
        patient: PatientPseudonym,
        with_sealed: bool,
    ) -> Result<pb::ListProof, ClientError> {
        for _ in 0..TRIES {
            let mut shown = pb::GetAccessLogResponse::default();
            let add = |page: pb::GetAccessLogResponse| {
                shown.events.extend(page.events);
                shown.sealed.extend(page.sealed);
                (shown.log, shown.header) = (page.log, page.header);
            };
            let log = self.whole_log(patient, KeptLog::nothing(), add).await?;
            if !with_sealed {
                seal(&mut shown, &log);
            }
            let set_changes = self.changes_for(shown.header.iter());
            let access_log = pb::AccessLogProof { patient: patient.0.to_vec().into(), log: Some(shown) };
            let access_log = Some(access_log);
            let file = pb::ListProof { format: FORMAT, set_changes, access_log, record_lists: None };
            match verify_log(&file.encode_to_vec(), self.genesis()) {
                // It ended while the pages behind it were fetched.
                Err(ClientError::Verification(Unverified::Log(LogFault::SealRefused { .. }))) => {}
                checked => return checked.map(|_| file),
            }
        }
        Err(ClientError::contradiction("entries are said to be sealed whose time is over, again and again"))
    }

    /// Which records a patient has, all of them or those of one kind, as a file to keep or to hand
    /// on: encoded, [`verify_record_lists`] verifies it. For whom [`Self::record_lists`] is.
    ///
    /// # Errors
    /// As [`Self::record_lists`]; lists that are too long for a file.
    pub async fn record_lists_proof(
        &self,
        patient: PatientPseudonym,
        kind: Option<&str>,
    ) -> Result<pb::ListProof, ClientError> {
        let mut answers = Vec::new();
        self.whole_lists(patient, kind, &KeptLists::nothing(), |answer| answers.push(answer)).await?;
        let set_changes = self.changes_for(answers.iter().filter_map(|answer| answer.header.as_ref()));
        let kind = kind.unwrap_or_default().to_owned();
        let record_lists = Some(pb::RecordListsProof { patient: patient.0.to_vec().into(), kind, answers });
        let file = pb::ListProof { format: FORMAT, set_changes, access_log: None, record_lists };
        verify_record_lists(&file.encode_to_vec(), self.genesis()).map(|_| file)
    }

    /// The changes of the validators up to the newest of these headers, which were believed.
    fn changes_for<'a>(&self, headers: impl Iterator<Item = &'a pb::HeaderProof>) -> Vec<pb::SetChange> {
        let certified = headers.filter_map(|proof| proof.following.last().or(proof.header.as_ref()));
        let newest = certified.map(|header| header.height).max().unwrap_or_default();
        self.set_changes(Height(newest)).iter().map(Into::into).collect()
    }
}

/// Leaves of entries whose seal is not over nothing but what the patient may know.
fn seal(shown: &mut pb::GetAccessLogResponse, log: &AccessLog) {
    for (entry, event) in std::mem::take(&mut shown.events).into_iter().zip(&log.events) {
        match event.sealed_until.filter(|until| log.header.time < *until) {
            None => shown.events.push(entry),
            Some(until) => shown.sealed.push(pb::SealedEntry {
                sequence: event.sequence,
                leaf_hash: leaf_hash(&entry).to_bytes(),
                until_ms: until.0,
            }),
        }
    }
    shown.sealed.sort_by_key(|entry| entry.sequence);
}

/// Verifies an encoded [`pb::ListProof`] or [`pb::DecisionReceipt`] against a genesis, by what the
/// file says that it is.
///
/// # Errors
/// As [`verify_log`].
pub fn verify_file(encoded: &[u8], genesis: &Genesis) -> Result<VerifiedFile, ClientError> {
    length_in("file", encoded.len(), 0, usize::try_from(LIST_PROOF_BYTES_MAX).unwrap_or(usize::MAX))?;
    if !counts::is_list(encoded)? {
        return Ok(VerifiedFile::Decision(Box::new(verify_decision(encoded, genesis)?)));
    }
    let file = parse(encoded)?;
    match (&file.access_log, &file.record_lists) {
        (Some(shown), None) => Ok(VerifiedFile::Log(log(shown, Judge::new(&file, genesis)?)?)),
        (None, Some(shown)) => Ok(VerifiedFile::Lists(record_lists(shown, Judge::new(&file, genesis)?)?)),
        (Some(_), Some(_)) | (None, None) => {
            Err(FieldError::malformed("file", "must have either access_log or record_lists").into())
        }
    }
}

/// Verifies an encoded [`pb::ListProof`] of who has asked to read against a genesis.
///
/// # Errors
/// The first field that is wrong or too large, also in a file of another kind; or why the file
/// proves nothing: [`LogFault`] if anything was left out, changed or swapped.
pub fn verify_log(encoded: &[u8], genesis: &Genesis) -> Result<LogReport, ClientError> {
    match verify_file(encoded, genesis)? {
        VerifiedFile::Log(report) => Ok(report),
        VerifiedFile::Decision(_) | VerifiedFile::Lists(_) => {
            Err(FieldError::malformed("file", "is not a list of accesses").into())
        }
    }
}

/// Verifies an encoded [`pb::ListProof`] of which records there are against a genesis.
///
/// # Errors
/// As [`verify_log`]; also if a list was left out.
pub fn verify_record_lists(encoded: &[u8], genesis: &Genesis) -> Result<ListsReport, ClientError> {
    match verify_file(encoded, genesis)? {
        VerifiedFile::Lists(report) => Ok(report),
        VerifiedFile::Decision(_) | VerifiedFile::Log(_) => {
            Err(FieldError::malformed("file", "is not a list of records").into())
        }
    }
}

/// What is too much is not decoded.
fn parse(encoded: &[u8]) -> Result<pb::ListProof, ClientError> {
    counts::check(encoded, &counts::LIST)?;
    let file = pb::ListProof::decode(Bytes::copy_from_slice(encoded));
    let file = file.map_err(|_| FieldError::malformed("file", "is not a ListProof"))?;
    match file.format {
        FORMAT => Ok(file),
        _ => Err(FieldError::malformed("format", "is not known; a newer program is needed").into()),
    }
}

fn log(shown: &pb::AccessLogProof, mut judge: Judge) -> Result<LogReport, ClientError> {
    let within = |e: FieldError| e.within("access_log");
    let patient = PatientPseudonym::parse("patient", &shown.patient).map_err(within)?;
    let answer = shown.log.as_ref().ok_or_else(|| FieldError::missing("log")).map_err(within)?;
    let (header, certified) = judge.final_header(answer.header.as_ref())?;
    judge.end()?;
    let mut pages = Pages::new(patient, KeptLog::nothing());
    match pages.add(answer, &header)? {
        true => Ok(LogReport { log: pages.into_log(header), certified }),
        false => Err(LogFault::EndsEarly { shown: pages.next() }.into()),
    }
}

fn record_lists(shown: &pb::RecordListsProof, mut judge: Judge) -> Result<ListsReport, ClientError> {
    let patient = PatientPseudonym::parse("patient", &shown.patient).map_err(|e| e.within("record_lists"))?;
    let kind = Some(shown.kind.clone()).filter(|kind| !kind.is_empty());
    if let Some(kind) = &kind {
        check_kind(kind).map_err(|e| e.within("record_lists"))?;
    }
    let mut gathering = Gathering::new(patient, kind.as_deref(), &KeptLists::nothing());
    let mut lowest: Option<(Header, Certified)> = None;
    let (mut whole, mut entries) = (false, 0);
    for answer in &shown.answers {
        if whole {
            return Err(ClientError::contradiction("the file goes on although all lists are whole"));
        }
        let (header, certified) = judge.final_header(answer.header.as_ref())?;
        whole = gathering.add(answer, &header)?;
        entries += answer.lists.iter().map(|list| list.entries.len() as u64).sum::<u64>();
        if lowest.as_ref().is_none_or(|(lowest, _)| header.height < lowest.height) {
            lowest = Some((header, certified));
        }
    }
    match lowest.filter(|_| whole) {
        Some((header, certified)) => {
            judge.end()?;
            Ok(ListsReport { kind, lists: gathering.into_lists(header), certified })
        }
        None => Err(LogFault::EndsEarly { shown: entries }.into()),
    }
}

/// Judges headers by the genesis document and the changes of the validators in a file.
struct Judge {
    ledger: LedgerId,
    sets: SetHistory,
    /// Of the certified headers.
    newest: Height,
}

impl Judge {
    fn new(file: &pb::ListProof, genesis: &Genesis) -> Result<Self, ClientError> {
        let mut sets = SetHistory::new(genesis)?;
        for change in &file.set_changes {
            sets.follow(SetChange::try_from(change).map_err(|e| e.within("set_changes"))?)?;
        }
        Ok(Self { ledger: genesis.ledger_id, sets, newest: Height::GENESIS })
    }

    /// The header that rows are proven for, if it is final.
    fn final_header(&mut self, proof: Option<&pb::HeaderProof>) -> Result<(Header, Certified), ClientError> {
        let proof = proof.ok_or_else(|| FieldError::missing("header"))?;
        let proof = HeaderProof::try_from(proof).map_err(|e| e.within("header"))?;
        let head = proof.certified().map_err(|e| ClientError::contradiction(e.to_string()))?;
        let height = head.header.height;
        if head.header.ledger_id != self.ledger {
            return Err(TrustError::OtherLedger(height).into());
        }
        self.sets.verify(&head.header, &head.certificate)?;
        self.newest = self.newest.max(height);
        let set = self.sets.at(height);
        let signed = head.certificate.signatures().filter_map(|(id, _)| set.seat(id));
        let signed_power = signed.map(|seat| seat.power.0).sum();
        // At most VALIDATORS_MAX * VOTING_POWER_MAX = 2^55.
        let total_power = u64::try_from(set.total_power()).unwrap_or(u64::MAX);
        let certified = Certified { ledger: self.ledger, height, signed_power, total_power };
        Ok((proof.into_header(), certified))
    }

    /// Once all headers are judged: there is one way to write the changes down.
    fn end(self) -> Result<(), ClientError> {
        let beyond = || ClientError::contradiction("the changes of the validators go on beyond the newest header");
        self.sets.newest().check_height(self.newest).map_err(|_| beyond())
    }
}

#[cfg(test)]
pub(crate) mod tests;
