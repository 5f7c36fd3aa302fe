//! What was decided of one request, with all that proves it, for who may know it.

use bytes::Bytes;
use consilium_ledger::{Location, LogPlace, keys, log};
use consilium_proto::access::permits;
use consilium_proto::error::fixed;
use consilium_proto::hash::Hash;
use consilium_proto::ids::{Fingerprint, PatientPseudonym, TransactionId};
use consilium_proto::names::SpiffeId;
use consilium_proto::pb::{self, AccessEvent, AccessGround, LogState};
use consilium_proto::state::StateRow;
use consilium_proto::transaction::ActionProof;
use prost::Message;

use super::access_log::{entry, kept_from, may, prove};
use crate::access::{self, Accepted, Patient, What, decide};
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// A reader to whom nothing was permitted must not learn whether there was anything: it has the
/// receipt of its request, and no more.
pub(super) fn decision(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    id: &TransactionId,
) -> Result<Option<pb::GetDecisionResponse>, StorageError> {
    let Some(location) = ledger.location(id)? else { return Ok(None) };
    let Some(LogPlace { log: key, place }) = &location.log else { return Ok(None) };
    let bytes = entry(ledger, key, *place)?;
    let event = AccessEvent::decode(bytes.clone()).map_err(|e| StorageError::corrupt("log", e))?;
    if !may_know(ledger, reader, key, &event)? {
        return Ok(None);
    }
    let row: LogState = ledger.state(key)?.ok_or_else(|| StorageError::corrupt("log", "lacks its row"))?;
    let path = log::prove_entry(ledger, key, *place, row.count).map_err(|e| StorageError::corrupt("log", e))?;
    let (author, request) = request(ledger, &location)?;
    Ok(Some(pb::GetDecisionResponse {
        event: bytes,
        path: path.path().iter().map(Hash::to_bytes).collect(),
        log: Some(prove(ledger, key.clone())?),
        header: None,
        request: Some((&request).into()),
        signer: Some(prove(ledger, keys::signer(&author))?),
        policy: Some(prove(ledger, keys::access_policy(event.policy_version))?),
    }))
}

fn may_know(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    log: &[u8],
    event: &AccessEvent,
) -> Result<bool, StorageError> {
    let own = event.reader == reader.to_string() && all_permitted(event);
    let patient = PatientPseudonym::parse("patient", &event.patient).map_err(|e| StorageError::corrupt("log", e))?;
    let of_patient = StateRow::of(log) == Some(StateRow::AccessLog);
    let auditor =
        decide(&access::Request { reader, what: What::AccessLog(Patient { accepted: Accepted::Not }) }).allows();
    let shown = kept_from(ledger, reader, event).is_none();
    Ok(own || auditor || (shown && of_patient && may(ledger, reader, &patient, What::AccessLog)?))
}

/// Whether the event of a request, which names its reader, is shown to somebody.
pub(super) fn shows_event(
    ledger: &LedgerSnapshot<'_>,
    reader: &SpiffeId,
    id: &TransactionId,
) -> Result<bool, StorageError> {
    let place = ledger.location(id)?.and_then(|location| location.log);
    let Some(LogPlace { log: key, place }) = place else { return Ok(false) };
    let event = AccessEvent::decode(entry(ledger, &key, place)?).map_err(|e| StorageError::corrupt("log", e))?;
    may_know(ledger, reader, &key, &event)
}

/// Of what was denied an event says why, and so whether there was anything. It cannot be shown in
/// part: whoever asked for one record beside others would learn of it.
fn all_permitted(event: &AccessEvent) -> bool {
    let permitted = |d: &pb::AccessDecision| permits(d.ground()) && d.ground() != AccessGround::Each;
    !event.decisions.is_empty() && event.decisions.iter().all(permitted)
}

/// Who signed a request, or confirmed a disclosure, and its action, without the others of its transaction.
fn request(ledger: &LedgerSnapshot<'_>, location: &Location) -> Result<(Fingerprint, ActionProof), StorageError> {
    let corrupt = |cause: &str| StorageError::corrupt("block", cause);
    let block = ledger.block(location.height)?.ok_or_else(|| corrupt("absent"))?;
    let at = location.leaf_index.checked_sub(block.first_leaf).and_then(|at| usize::try_from(at).ok());
    let executed = at.and_then(|at| block.transactions.into_iter().nth(at));
    let body =
        executed.and_then(|executed| executed.transaction?.body).ok_or_else(|| corrupt("lacks a transaction"))?;
    let author = fixed("author", &body.author).map_err(|e| StorageError::corrupt("block", e))?;
    let index = body.actions.iter().position(is_request).ok_or_else(|| corrupt("lacks a request for access"))?;
    let request = ActionProof::of(&body, index).map_err(|e| StorageError::corrupt("block", e))?;
    Ok((Fingerprint::from_bytes(author), request))
}

fn is_request(action: &Bytes) -> bool {
    let action = pb::Action::decode(action.clone()).ok().and_then(|action| action.action);
    use pb::action::Action::{ConfirmDisclosure, RequestAccess};
    matches!(action, Some(RequestAccess(_) | ConfirmDisclosure(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_to_whom_anything_was_denied_is_told_nothing() {
        let of = |grounds: &[AccessGround]| {
            let decision =
                |ground: &AccessGround| pb::AccessDecision { ground: (*ground).into(), ..Default::default() };
            all_permitted(&AccessEvent { decisions: grounds.iter().map(decision).collect(), ..Default::default() })
        };
        assert!(of(&[AccessGround::Consent]) && of(&[AccessGround::Author, AccessGround::Custodian]));
        assert!(!of(&[AccessGround::Consent, AccessGround::NotFound]));
        assert!(!of(&[AccessGround::Consent, AccessGround::NoConsent]));
        // Of a query it is decided record by record, in the answer.
        assert!(!of(&[AccessGround::Each]) && !of(&[]));
    }
}
