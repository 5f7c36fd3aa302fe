//! The row that says where the ledger stands, written with every block.

use bytes::Bytes;
use consilium_consensus::LogIndex;
use consilium_ledger::Tip;
use consilium_proto::header::Header;
use consilium_proto::merkle::Frontier;
use consilium_proto::pb;
use prost::Message;

use super::StorageError;

/// Its value.
#[derive(Clone, PartialEq, prost::Message)]
struct TipRow {
    #[prost(uint64, tag = "1")]
    applied_index: u64,
    #[prost(message, optional, tag = "2")]
    header: Option<pb::Header>,
    #[prost(bytes = "bytes", tag = "3")]
    frontier: Bytes,
}

pub(super) fn encode(index: LogIndex, tip: &Tip) -> Vec<u8> {
    let (header, frontier) = (Some((&tip.header).into()), tip.frontier.encode().into());
    TipRow { applied_index: index.0, header, frontier }.encode_to_vec()
}

pub(super) fn decode(bytes: &[u8]) -> Result<(LogIndex, Tip), StorageError> {
    let row = TipRow::decode(bytes).map_err(|e| StorageError::corrupt("tip", e))?;
    let header = row.header.ok_or_else(|| StorageError::corrupt("tip", "no header"))?;
    let header = Header::try_from(&header).map_err(|e| StorageError::corrupt("tip", e))?;
    let frontier = Frontier::decode(&row.frontier).map_err(|e| StorageError::corrupt("tip", e))?;
    if frontier.root() != header.tree_root || frontier.size() != header.tree_size {
        return Err(StorageError::corrupt("tip", "the tree does not have the header's root"));
    }
    Ok((LogIndex(row.applied_index), Tip { header, frontier }))
}
