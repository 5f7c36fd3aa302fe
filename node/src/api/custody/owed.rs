//! Wraps that are owed: the rules judge each version as they will when the custodian asks for one.

use consilium_ledger::custody::Owed;
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::pb::{OwedWrap, RecordState, RecordVersion};

use super::failed;
use crate::storage::StorageError;
use crate::storage::snapshot::LedgerSnapshot;

/// Those of a version.
pub(super) fn owed(
    ledger: &LedgerSnapshot<'_>,
    record: &RecordState,
    id: &RecordId,
    version: &RecordVersion,
) -> Result<Vec<OwedWrap>, StorageError> {
    let owed = Owed { record, id, version, time: ledger.tip_header().time };
    let keys = owed.keys(ledger).map_err(failed)?.into_iter();
    let wrap = |key: KeyId| OwedWrap {
        record_id: version.record_id.clone(),
        version: version.version,
        recipient_key_id: key.to_bytes(),
    };
    Ok(keys.map(wrap).collect())
}
