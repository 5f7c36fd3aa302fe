//! Reading without a quorum: what the own member wrote, over its own node. Whoever reads so keeps
//! what it has signed: the node enters it into the ledger, and where that fails (its disk is lost,
//! or the ledger does not take the request any more) it is entered from here.

use bytes::Bytes;
use consilium_proto::ids::{Fingerprint, LedgerId, PatientPseudonym, TimeMs, TransactionId};
use consilium_proto::pb;
use consilium_proto::transaction::{RequestAccess, Transaction, VersionRef};
use prost::Message;

use super::reader::{Opened, RecordReader};
use crate::client::Client;
use crate::clock::now_ms;
use crate::error::ClientError;
use crate::paging::{Pages, whole};
use crate::submit::Submitted;

/// How long a request is valid that is answered without a quorum: the network may be away for so
/// long. An hour less than the most that is allowed, for clocks that differ.
const VALIDITY_MS: u64 = 23 * 60 * 60 * 1_000;

/// A signed request that is answered without a quorum: what a reader keeps, and what a node keeps
/// of it in `data_dir/late`.
#[derive(Debug, Clone, PartialEq)]
pub struct LateRequest {
    signed: pb::SignedTransaction,
    transaction: Transaction,
    request: RequestAccess,
}

impl LateRequest {
    /// Reads one that was kept.
    ///
    /// # Errors
    /// If it is none of this ledger.
    pub fn parse(bytes: &[u8], ledger: LedgerId) -> Result<Self, ClientError> {
        let signed = pb::SignedTransaction::decode(bytes)
            .map_err(|_| ClientError::Usage("this is no signed transaction".into()))?;
        Self::new(signed, ledger)
    }

    fn new(signed: pb::SignedTransaction, ledger: LedgerId) -> Result<Self, ClientError> {
        let transaction = Transaction::parse(&signed, ledger)?;
        let request = transaction.access_request().filter(|request| request.late.is_some()).cloned();
        let request = request.ok_or_else(|| ClientError::Usage("this is no reading without a quorum".into()))?;
        Ok(Self { signed, transaction, request })
    }

    /// To be kept: [`Self::parse`] reads it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.signed.encode_to_vec()
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &RequestAccess {
        &self.request
    }

    /// By which transaction.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction.id
    }

    /// The key that signed it.
    #[must_use]
    pub fn author(&self) -> Fingerprint {
        self.transaction.head.author
    }

    /// When it was read, by the reader's clock.
    #[must_use]
    pub fn read_at(&self) -> TimeMs {
        self.request.late.unwrap_or_default()
    }

    /// Whether the ledger would take it still, by this clock.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        now_ms() <= self.transaction.head.valid_until.0
    }
}

impl RecordReader {
    /// A request for versions of records of a patient, to be kept and given to
    /// [`Self::read_without_quorum`].
    ///
    /// # Errors
    /// A key that cannot sign.
    pub fn late_request(&self, patient: PatientPseudonym, records: &[VersionRef]) -> Result<LateRequest, ClientError> {
        let request = self.access().request(patient, pb::AccessKind::Read);
        let records = records.iter().map(Into::into).collect();
        let request = pb::RequestAccess { records, late_ms: now_ms(), ..request };
        let action = pb::Action { action: Some(pb::action::Action::RequestAccess(request)) };
        let signed = self.client().sign_for(VALIDITY_MS, vec![action], Vec::new())?;
        LateRequest::new(signed, self.client().genesis().ledger_id)
    }

    /// As [`Self::read`] while the network certifies nothing: what this identity's own member wrote,
    /// by the state that is certified at its own node. The node keeps the request, and enters it
    /// into the ledger and the patient's log, marked late, as soon as it can; where the network
    /// certifies meanwhile, it is answered as any other. The profile must allow heads of any age.
    ///
    /// # Errors
    /// As [`Self::read`]; PERMISSION_DENIED at a node of another member.
    pub async fn read_without_quorum(&self, late: &LateRequest) -> Result<Vec<Opened>, ClientError> {
        whole(|| self.all_without_quorum(late)).await
    }

    async fn all_without_quorum(&self, late: &LateRequest) -> Result<Vec<Opened>, ClientError> {
        let transaction = Some(late.signed.clone());
        let mut request = pb::ReadRecordsRequest { transaction, without_quorum: true, ..Default::default() };
        let LateRequest { request: RequestAccess { patient, records, .. }, .. } = late;
        let (mut pages, mut left, mut opened) = (Pages::default(), records.iter(), Vec::new());
        loop {
            let (answered, header) = self.ask_access(&request).await?;
            let more = pages.follow(&answered.answer.next_page_token, answered.answer.records.len());
            let page = match more {
                Ok(more) => {
                    self.open_all(*patient, &mut left, &answered.answer, &header).await.map(|page| (page, more))
                }
                Err(error) => Err(error),
            };
            let (page, more) = self.client().judged(&answered, page)?;
            opened.extend(page);
            if !more {
                return Ok(opened);
            }
            request.page_token = pages.token();
        }
    }
}

impl Client {
    /// Enters a reading without a quorum into the ledger, if its node has not: as it is while it is
    /// valid, so that it is there once; and then, or if the rules refuse it, signed again by this
    /// identity, which then stands in the list as the reader.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn enter_late(&self, late: &LateRequest) -> Result<Submitted, ClientError> {
        if late.is_valid() {
            let submitted = self.submit(late.signed.clone(), pb::WaitFor::Certified).await?;
            if submitted.outcome == pb::Outcome::Applied {
                return Ok(submitted);
            }
        }
        let actions = late.transaction.encoded.iter().map(|action| pb::Action::decode(Bytes::clone(action)));
        let actions = actions.collect::<Result<Vec<_>, _>>();
        let actions = actions.map_err(|_| ClientError::Usage("this holds no actions".into()))?;
        let signed = self.sign(actions, Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }
}
