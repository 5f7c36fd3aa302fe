//! Requests for access in blocks, and the events that logs have of them: one for each, that says
//! the same but for what was decided, which is, like every outcome, what the validators signed.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::hash::{Hash, sha256};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, PatientPseudonym, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb;
use consilium_proto::state::StateKey;
use consilium_proto::transaction::Transaction;
use prost::Message;

use super::failure::VerifyFailure;
use crate::access_log::request::{plain, told};

/// Requests that were applied and whose events were not seen yet.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<TransactionId, (Height, Hash)>);

impl Requests {
    /// Takes the request of an applied transaction, if it holds one.
    pub(super) fn asked(&mut self, header: &Header, reader: &SpiffeId, transaction: &Transaction) {
        let request =
            transaction.encoded.iter().find_map(|action| match pb::Action::decode(action.clone()).ok()?.action? {
                pb::action::Action::RequestAccess(request) => Some(request),
                _ => None,
            });
        if let Some(request) = request {
            let said = said(&reader.to_string(), header.time.0, header.height.0, plain(request));
            self.0.insert(transaction.id, (header.height, said));
        }
    }

    /// Takes the event at a place of a log; says what is wrong with it.
    pub(super) fn answer(&mut self, log: &StateKey, place: u64, entry: &Bytes) -> Result<(), &'static str> {
        let event = pb::AccessEvent::decode(entry.clone()).map_err(|_| "is not an event")?;
        if event.encode_to_vec() != entry[..] {
            return Err("is not encoded as an event is");
        }
        if event.sequence != place {
            return Err("says that it stands elsewhere");
        }
        let patient = PatientPseudonym::parse("patient", &event.patient).map_err(|_| "is of no patient")?;
        let reader = event.reader.parse::<SpiffeId>().map_err(|_| "is of no reader")?;
        let member = StateKey::UnmatchedLog(reader.member().to_string());
        let belongs = *log == StateKey::AccessLog(patient) || *log == member;
        if !belongs {
            return Err("belongs into another log");
        }
        let id = TransactionId::try_from(event.transaction_id.as_ref()).map_err(|_| "is of no request")?;
        match self.0.remove(&id) {
            Some((_, asked)) if asked == said(&event.reader, event.time_ms, event.height, told(&event)) => Ok(()),
            Some(_) => Err("says something else than its request, or its block"),
            None => Err("is of no request on the ledger, or of one that has an event already"),
        }
    }

    /// Once all events are there.
    pub(super) fn finish(&self) -> Result<(), VerifyFailure> {
        match self.0.first_key_value() {
            Some((transaction, (height, _))) => {
                Err(VerifyFailure::NoEvent { height: *height, transaction: *transaction })
            }
            None => Ok(()),
        }
    }
}

/// What an event repeats of its request, of who signed it, and of its block, hashed.
fn said(reader: &str, time_ms: u64, height: u64, request: pb::RequestAccess) -> Hash {
    let place = [time_ms.to_be_bytes(), height.to_be_bytes()].concat();
    Hash::of(&[&place, &sha256(&[reader.as_bytes()]), &request.encode_to_vec()])
}
