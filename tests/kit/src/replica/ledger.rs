//! The ledger's store as a port, over rows in memory. A write is there at once;
//! how much of it is durable is seen in the journal.

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{LogIndex, LogPosition, Membership};
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip, keys};
use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::vote::BlockCertificate;
use consilium_replica::ports::{Ledger, PortFault};
use prost::Message;

use super::{Did, Journal};
use crate::Rows;

#[derive(Clone, Debug, Default)]
struct Content {
    rows: Rows,
    tip: Option<(LogIndex, Tip)>,
    positions: BTreeMap<Height, LogPosition>,
    memberships: BTreeMap<Height, Membership>,
    certificates: BTreeMap<Height, BlockCertificate>,
}

/// The ledger's store. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct LedgerPort {
    content: Rc<RefCell<Content>>,
    journal: Journal,
}

impl LedgerPort {
    /// An empty ledger whose syncs are noted in a journal.
    #[must_use]
    pub fn new(journal: &Journal) -> Self {
        Self { content: Rc::default(), journal: journal.clone() }
    }

    /// A store of its own with the same content.
    #[must_use]
    pub fn copy(&self, journal: &Journal) -> Self {
        Self { content: Rc::new(RefCell::new(self.content.borrow().clone())), journal: journal.clone() }
    }

    /// All rows, to look at.
    #[must_use]
    pub fn rows(&self) -> Ref<'_, Rows> {
        Ref::map(self.content.borrow(), |content| &content.rows)
    }

    /// A row of the state.
    #[must_use]
    pub fn message<M: Message + Default>(&self, key: &[u8]) -> Option<M> {
        self.rows().message(Table::State, key)
    }

    /// Says another membership of Raft as of a block.
    pub fn replace_membership(&self, height: Height, membership: Membership) {
        self.content.borrow_mut().memberships.insert(height, membership);
    }

    /// Forgets a certificate.
    pub fn lose_certificate(&self, height: Height) {
        self.content.borrow_mut().certificates.remove(&height);
    }
}

impl StateReader for LedgerPort {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.rows().get(table, key)
    }
}

impl TrieStore for LedgerPort {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.rows().node(path)
    }
}

impl Ledger for LedgerPort {
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault> {
        Ok(self.content.borrow().tip.clone())
    }

    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault> {
        Ok(self.rows().message(Table::Blocks, &keys::height(height)))
    }

    fn header(&self, height: Height) -> Result<Option<Header>, PortFault> {
        let Some(block) = self.block(height)? else { return Ok(None) };
        let header = block.header.as_ref().ok_or_else(|| PortFault::corrupt("block", "no header"))?;
        Header::try_from(header).map(Some).map_err(|e| PortFault::corrupt("block", e))
    }

    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault> {
        Ok(self.content.borrow().positions.get(&height).copied())
    }

    fn membership_at(&self, height: Height) -> Result<Membership, PortFault> {
        let content = self.content.borrow();
        let newest = content.memberships.range(..=height).next_back().map(|(_, membership)| membership.clone());
        newest.ok_or_else(|| PortFault::corrupt("membership", "absent"))
    }

    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault> {
        Ok(self.content.borrow().memberships.get(&height).cloned())
    }

    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        Ok(self.content.borrow().certificates.get(&height).cloned())
    }

    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        let content = self.content.borrow();
        Ok(content.certificates.range(..=height).next_back().map(|(_, certificate)| certificate.clone()))
    }

    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault> {
        let row = self.get(Table::Transactions, &keys::transaction(id))?;
        Ok(row.map(|row| Location::decode(&row)).transpose()?)
    }

    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        let mut content = self.content.borrow_mut();
        let height = executed.tip.header.height;
        content.rows.put(&mem::take(&mut executed.rows));
        content.positions.insert(height, position);
        if let Some(membership) = membership {
            content.memberships.insert(height, membership.clone());
        }
        content.tip = Some((position.index, executed.tip.clone()));
        Ok(())
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        self.content.borrow_mut().certificates.insert(certificate.height, certificate.clone());
        Ok(())
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        Ok(self.rows().behind(table, after, max))
    }

    fn write_attachments(&self, rows: Vec<Row>) -> Result<(), PortFault> {
        self.content.borrow_mut().rows.put(&rows);
        Ok(())
    }

    fn flush(&self) -> Result<(), PortFault> {
        self.journal.note(Did::Ledger);
        Ok(())
    }
}
