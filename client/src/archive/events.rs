//! Requests for access and confirmed disclosures in blocks, and the events that logs have of them: one for each, that says
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
use crate::access_log::request::{plain, plain_disclosure, told, told_disclosure};

/// Requests, and confirmed disclosures, that were applied and whose events were not seen yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<TransactionId, (Height, Hash)>,
    /// Disclosures that nobody has confirmed yet, by their ids, and who made them.
    disclosures: BTreeMap<Bytes, (String, pb::Disclose)>,
}

impl Requests {
    /// Takes the request, or what is disclosed and confirmed, of an applied transaction.
    pub(super) fn asked(&mut self, header: &Header, author: &SpiffeId, transaction: &Transaction) {
        use pb::action::Action;
        let (author, place) = (author.to_string(), (header.time.0, header.height.0));
        for action in &transaction.encoded {
            let Some(action) = pb::Action::decode(action.clone()).ok().and_then(|action| action.action) else {
                continue;
            };
            let said = match action {
                Action::RequestAccess(request) => said(&author, place, &plain(request).encode_to_vec()),
                Action::Disclose(disclosure) => {
                    self.disclosures.insert(disclosure.disclosure_id.clone(), (author.clone(), disclosure));
                    continue;
                }
                Action::ConfirmDisclosure(confirm) => {
                    let Some((by, disclosure)) = self.disclosures.remove(&confirm.disclosure_id) else { continue };
                    said_disclosure(&by, place, &plain_disclosure(disclosure), &author)
                }
                _ => continue,
            };
            self.open.insert(transaction.id, (header.height, said));
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
        let place = (event.time_ms, event.height);
        let said = match told_disclosure(&event) {
            Some((disclosure, confirmed_by)) => said_disclosure(&event.reader, place, &disclosure, &confirmed_by),
            None => said(&event.reader, place, &told(&event).encode_to_vec()),
        };
        match self.open.remove(&id) {
            Some((_, asked)) if asked == said => Ok(()),
            Some(_) => Err("says something else than its request, or its block"),
            None => Err("is of no request on the ledger, or of one that has an event already"),
        }
    }

    /// Once all events are there.
    pub(super) fn finish(&self) -> Result<(), VerifyFailure> {
        match self.open.first_key_value() {
            Some((transaction, (height, _))) => {
                Err(VerifyFailure::NoEvent { height: *height, transaction: *transaction })
            }
            None => Ok(()),
        }
    }
}

/// What an event repeats of its request, of who signed it, and of its block, hashed.
fn said(reader: &str, (time_ms, height): (u64, u64), request: &[u8]) -> Hash {
    let place = [time_ms.to_be_bytes(), height.to_be_bytes()].concat();
    Hash::of(&[&place, &sha256(&[reader.as_bytes()]), request])
}

/// The same of a disclosure, and of who confirmed it.
fn said_disclosure(author: &str, place: (u64, u64), disclosure: &pb::Disclose, confirmed_by: &str) -> Hash {
    said(author, place, &[&sha256(&[confirmed_by.as_bytes()])[..], &disclosure.encode_to_vec()].concat())
}
