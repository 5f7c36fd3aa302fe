//! Disclosures under a legal duty: records that a hospital hands to an authority. Two persons of
//! the hospital say so; then the patient's log has it, sealed until a date if a law demands that.
//! What is handed on, and how, is outside of the network.

use bytes::Bytes;
use consilium_proto::hash::Hash;
use consilium_proto::header::Header;
use consilium_proto::ids::{DisclosureId, TimeMs};
use consilium_proto::limits::DISCLOSURE_CONFIRM_MAX_MS;
use consilium_proto::pb::{self, SealBasis, action::Action};
use consilium_proto::state::{StateKey, keys};
use consilium_proto::transaction::{Disclose, Seal};

use crate::access_log::verify::message;
use crate::access_log::{LogFault, service};
use crate::client::Client;
use crate::error::ClientError;
use crate::false_answer::Answered;
use crate::paging::{Pages, whole};
use crate::submit::Submitted;

/// Disclosures that a node is asked for at once.
const PAGE_SIZE: u32 = 256;

/// A disclosure as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownDisclosure {
    /// The disclosure.
    pub id: DisclosureId,
    /// Its row.
    pub state: pb::DisclosureState,
}

impl KnownDisclosure {
    /// Until when another person can confirm it; `None` if somebody has.
    #[must_use]
    pub fn waits_until(&self) -> Option<TimeMs> {
        let open = self.state.confirmed_by.is_empty();
        open.then(|| TimeMs(self.state.opened_ms.saturating_add(DISCLOSURE_CONFIRM_MAX_MS)))
    }
}

type ListAnswer = Answered<pb::ListDisclosuresRequest, pb::ListDisclosuresResponse>;

/// A fresh random id.
#[must_use]
pub fn new_disclosure_id() -> DisclosureId {
    DisclosureId(rand::random())
}

/// A seal under a random salt, until a block time at most a year ahead; `order` is the salted hash
/// of the order that it be kept secret.
#[must_use]
pub fn new_seal(until: TimeMs, basis: SealBasis, order: Hash) -> Seal {
    Seal { until, basis, salt: rand::random(), order }
}

impl Client {
    /// Says that records of the own member are handed on. It is nothing until another person
    /// confirms it within seven days. By a service, a clinician or an auditor. `order` and
    /// `recipient_hash` are salted hashes ([`crate::documents`]).
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if a record is not the own member's and the
    /// patient's, or a seal ends in the past or more than a year ahead.
    pub async fn disclose(&self, disclose: &Disclose) -> Result<Submitted, ClientError> {
        let action = pb::Action { action: Some(Action::Disclose(disclose.into())) };
        let signed = self.sign(vec![action], Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Confirms a disclosure: from then on it stands in the patient's log. By an auditor of the same
    /// member, who is another person.
    ///
    /// # Errors
    /// As [`Client::submit`]; [`ClientError::Rejected`] if there is none that this identity may
    /// confirm, or it is too late.
    pub async fn confirm_disclosure(&self, id: DisclosureId) -> Result<Submitted, ClientError> {
        let confirm = pb::ConfirmDisclosure { disclosure_id: Bytes::copy_from_slice(&id.0) };
        let action = pb::Action { action: Some(Action::ConfirmDisclosure(confirm)) };
        let signed = self.sign(vec![action], Vec::new())?;
        self.submit(signed, pb::WaitFor::Certified).await?.into_applied()
    }

    /// Disclosures of the own member, or those that wait for another person of it, oldest first, each
    /// proven; and the block time as of which. For auditors; for others what they have made. That
    /// there are no others is the node's word.
    ///
    /// # Errors
    /// As [`Client::read`]; an answer that proves nothing.
    pub async fn disclosures(&self, waiting: bool) -> Result<(Vec<KnownDisclosure>, TimeMs), ClientError> {
        whole(|| self.all_disclosures(waiting)).await
    }

    async fn all_disclosures(&self, waiting: bool) -> Result<(Vec<KnownDisclosure>, TimeMs), ClientError> {
        let (mut known, mut pages) = (Vec::new(), Pages::default());
        loop {
            let page_token = pages.token();
            let request = pb::ListDisclosuresRequest { waiting, page_token, page_size: PAGE_SIZE, read: None };
            let (answered, header) = self.recent(|| self.fetch_disclosures(request.clone())).await?;
            let answer = &answered.answer;
            let more = pages.follow(&answer.next_page_token, answer.disclosures.len());
            let page = more.and_then(|more| Ok((self.check_disclosures(waiting, answer, &header)?, more)));
            let (page, more) = self.judged(&answered, page)?;
            known.extend(page);
            if !more {
                return Ok((known, header.time));
            }
        }
    }

    fn check_disclosures(
        &self,
        waiting: bool,
        answer: &pb::ListDisclosuresResponse,
        header: &Header,
    ) -> Result<Vec<KnownDisclosure>, ClientError> {
        let own = self.identity().spiffe_id().member().as_str();
        let known = answer.disclosures.iter().map(|row| {
            let other = || ClientError::from(LogFault::OtherRow("disclosures that were asked for".into()));
            let Some(StateKey::Disclosure(id)) = StateKey::decode(&row.key) else { return Err(other()) };
            let state: Option<pb::DisclosureState> = message(&row.key, Some(row), header)?;
            let state = state.filter(|state| state.member == own && (!waiting || state.confirmed_by.is_empty()));
            Ok(KnownDisclosure { id, state: state.ok_or_else(other)? })
        });
        known.collect()
    }

    async fn fetch_disclosures(
        &self,
        request: pb::ListDisclosuresRequest,
    ) -> Result<(ListAnswer, Header), ClientError> {
        let ask = |channel, request| async move { service(channel).list_disclosures(request).await };
        let answered = self.ask("ListDisclosures", request, ask).await?;
        let header = self.final_header(answered.answer.header.as_ref()).await;
        let header = self.judged(&answered, header)?;
        Ok((answered, header))
    }

    /// A disclosure, proven; `None`: proven to be none. For auditors.
    ///
    /// # Errors
    /// As [`Client::proven_state`].
    pub async fn disclosure(&self, id: DisclosureId) -> Result<Option<pb::DisclosureState>, ClientError> {
        self.proven_row(&keys::disclosure(&id)).await
    }
}
