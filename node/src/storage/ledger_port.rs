//! The ledger's database as a replica's port. Cheap to clone.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use consilium_replica::ports::{Ledger, PortFault};

use super::StorageError;
use super::ledger_store::LedgerStore;
use crate::clock::record_seconds;

/// See the module.
#[derive(Debug, Clone)]
pub struct LedgerPort(pub Arc<LedgerStore>);

impl StateReader for LedgerPort {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.0.get(table, key)
    }
}

impl TrieStore for LedgerPort {
    type Error = StorageError;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StorageError> {
        TrieStore::node(&*self.0, path)
    }
}

impl Ledger for LedgerPort {
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault> {
        Ok(self.0.tip()?)
    }

    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault> {
        Ok(self.0.block(height)?)
    }

    fn header(&self, height: Height) -> Result<Option<Header>, PortFault> {
        Ok(self.0.header(height)?)
    }

    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault> {
        Ok(self.0.position(height)?)
    }

    fn membership_at(&self, height: Height) -> Result<Membership, PortFault> {
        Ok(self.0.membership_at(height)?)
    }

    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault> {
        Ok(self.0.membership_changed_at(height)?)
    }

    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        Ok(self.0.certificate_at(height)?)
    }

    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        Ok(self.0.certificate_up_to(height)?)
    }

    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault> {
        Ok(self.0.location(id)?)
    }

    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        let started = Instant::now();
        self.0.write_block(position, executed, membership)?;
        record_seconds("consilium_block_write_seconds", started);
        Ok(())
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        Ok(self.0.write_certificate(certificate)?)
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        let mut rows = Vec::new();
        for row in self.0.scan(table, &[], after).filter(|row| !matches!(row, Ok((key, _)) if **key == *after)) {
            if rows.len() == max {
                break;
            }
            let (key, value) = row?;
            rows.push(Row { table, key: key.into_vec(), value: Some(value) });
        }
        Ok(rows)
    }

    fn write_attachments(&self, rows: Vec<Row>) -> Result<(), PortFault> {
        Ok(self.0.write_rows(rows)?)
    }

    fn flush(&self) -> Result<(), PortFault> {
        Ok(self.0.flush()?)
    }
}
