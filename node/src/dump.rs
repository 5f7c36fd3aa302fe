//! Writes the ledger of a stopped node as an archive, for offline verification
//! by anyone. Whoever reads it verifies everything; nothing here is believed.

use std::io::Write;
use std::path::Path;

use consilium_ledger::{Table, keys};
use consilium_proto::ids::{Epoch, Height};
use consilium_proto::limits::ARCHIVE_FORMAT;
use consilium_proto::pb;
use consilium_proto::pb::archive_entry::Entry;
use consilium_replica::catch_up::stored_attachments;
use prost::Message;

use crate::fault::Fault;
use crate::setup::DataDir;
use crate::storage::StorageError;
use crate::storage::ledger_store::LedgerStore;

const MAGIC: &[u8; 8] = b"CNSLARC1";

/// Writes the archive of a data directory.
///
/// # Errors
/// If the store cannot be read, is in use, or the output fails.
pub fn dump(data_dir: &Path, genesis: &Path, out: &mut impl Write) -> Result<(), Fault> {
    let bytes = std::fs::read(genesis).map_err(StorageError::file(genesis))?;
    let parsed = consilium_proto::genesis::Genesis::parse(&bytes).map_err(|e| Fault::Setup(e.to_string()))?;
    let document = pb::GenesisDocument::decode(bytes.as_slice()).map_err(|e| Fault::Setup(e.to_string()))?;
    let store = LedgerStore::open_read_only(&DataDir(data_dir.to_owned()).ledger())?;
    let mut archive = Archive { out, rows: 0 };
    archive.out.write_all(MAGIC).map_err(output)?;
    archive.entry(Entry::Header(pb::ArchiveHeader { format_version: ARCHIVE_FORMAT, genesis: Some(document) }))?;
    let (_, tip) = store.tip()?.ok_or_else(|| StorageError::corrupt("ledger", "has no genesis block"))?;
    for height in 0..=tip.header.height.0 {
        let height = Height(height);
        let block =
            store.block(height)?.ok_or_else(|| StorageError::corrupt("block", format!("{height} is absent")))?;
        let attachments = stored_attachments(&store, parsed.ledger_id, &block)?;
        let certificate = store.certificate_at(height)?.as_ref().map(Into::into);
        let next_validators = next_validators(&store, &block)?;
        archive.entry(Entry::Block(pb::ArchiveBlock {
            block: Some(block),
            certificate,
            attachments,
            next_validators,
        }))?;
    }
    // What is kept of the logs' trees follows from their entries.
    for (table, prefix) in
        [(Table::State, Vec::new()), (Table::Versions, Vec::new()), (Table::Logs, keys::all_log_entries())]
    {
        archive.table(&store, table, &prefix)?;
    }
    let end = pb::ArchiveEnd { height: tip.header.height.0, rows: archive.rows };
    archive.entry(Entry::End(end))?;
    archive.out.flush().map_err(output)
}

/// The set that a block which ends an epoch commits to, if it is another one.
fn next_validators(store: &LedgerStore, block: &pb::Block) -> Result<Option<pb::ValidatorSet>, StorageError> {
    let header = block.header.as_ref().ok_or_else(|| StorageError::corrupt("block", "has no header"))?;
    if header.next_validators_hash == header.validators_hash {
        return Ok(None);
    }
    // Absent or not as the header says: the verifier will say so.
    let key = keys::epoch(Epoch(header.epoch.saturating_add(1)));
    let state: Option<pb::EpochState> = store.message(Table::State, &key)?;
    Ok(state.and_then(|state| state.validators))
}

struct Archive<'a, W> {
    out: &'a mut W,
    rows: u64,
}

impl<W: Write> Archive<'_, W> {
    fn table(&mut self, store: &LedgerStore, table: Table, prefix: &[u8]) -> Result<(), Fault> {
        for row in store.scan(table, prefix, prefix) {
            let (key, value) = row?;
            let row = pb::ArchiveRow { table: table.name().to_owned(), key: key.into_vec().into(), value };
            self.entry(Entry::Row(row))?;
            self.rows += 1;
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry) -> Result<(), Fault> {
        let bytes = pb::ArchiveEntry { entry: Some(entry) }.encode_length_delimited_to_vec();
        self.out.write_all(&bytes).map_err(output)
    }
}

fn output(error: std::io::Error) -> Fault {
    Fault::System(format!("writing the archive: {error}"))
}
