//! The disk as a replica's ports: what it writes, where a machine may fail while
//! it does, and what a bug that was put back does to it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use consilium_consensus::{EntryKind, LogEntry, LogIndex, LogPosition, Membership, RaftId};
use consilium_kit::MemoryLog;
use consilium_kit::raft_wire::sole_voter;
use consilium_ledger::state_map::{NodePath, TrieStore};
use consilium_ledger::{Executed, Location, Row, StateReader, StoreFault, Table, Tip};
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Height, TransactionId};
use consilium_proto::pb;
use consilium_proto::state::StateRow;
use consilium_proto::validators::ValidatorSet;
use consilium_proto::vote::BlockCertificate;
use consilium_replica::CachedLedger;
use consilium_replica::ports::{Ledger, PortFault};
use prost::Message;

use super::{Disk, LedgerStore, misread};
use crate::bugs::Bug;
use crate::crash_point::CrashPoint;

/// Where a machine is to fail, and whether it has.
#[derive(Clone, Debug, Default)]
pub struct Tripwire {
    /// The place, and how often it is passed before.
    pub armed: Option<(CrashPoint, u32)>,
    /// The machine has failed there.
    pub tripped: Option<CrashPoint>,
}

impl Tripwire {
    /// Passes a place.
    ///
    /// # Errors
    /// If this is where the machine fails.
    pub fn pass(&mut self, point: CrashPoint) -> Result<(), PortFault> {
        match &mut self.armed {
            Some((armed, 0)) if *armed == point => {
                self.armed = None;
                self.tripped = Some(point);
                Err(PortFault { what: "machine", cause: format!("fails at {point:?}") })
            }
            Some((armed, left)) if *armed == point => {
                *left -= 1;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A block that was written.
#[derive(Debug)]
pub struct Observation {
    /// What it was executed on.
    pub parent: Tip,
    /// What it came to.
    pub tip: Tip,
    /// Its leaves.
    pub leaves: Vec<(u64, Leaf)>,
    /// If it ended its epoch.
    pub next_set: Option<ValidatorSet>,
    /// Entries of logs, by key.
    pub logged: Vec<(Vec<u8>, Bytes)>,
}

/// The ledger's database as a port. Clones are the same database.
#[derive(Clone, Debug)]
pub struct LedgerHandle {
    /// The database.
    pub store: Rc<RefCell<LedgerStore>>,
    /// Where the machine may fail.
    pub tripwire: Rc<RefCell<Tripwire>>,
}

impl LedgerHandle {
    fn pass(&self, point: CrashPoint) -> Result<(), PortFault> {
        self.tripwire.borrow_mut().pass(point)
    }
}

impl StateReader for LedgerHandle {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        self.store.borrow().get(table, key)
    }
}

impl TrieStore for LedgerHandle {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.get(Table::Trie, &path.to_bytes())
    }
}

impl Ledger for LedgerHandle {
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault> {
        Ok(self.store.borrow().tip().cloned())
    }

    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault> {
        Ok(self.store.borrow().block(height))
    }

    fn header(&self, height: Height) -> Result<Option<Header>, PortFault> {
        Ok(self.store.borrow().header(height))
    }

    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault> {
        Ok(self.store.borrow().position(height))
    }

    fn membership_at(&self, height: Height) -> Result<Membership, PortFault> {
        let membership = self.store.borrow().membership_at(height).cloned();
        membership.ok_or_else(|| PortFault::corrupt("membership", "absent"))
    }

    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault> {
        Ok(self.store.borrow().membership_changed_at(height).cloned())
    }

    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        Ok(self.store.borrow().certificate_at(height).cloned())
    }

    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        Ok(self.store.borrow().certificate_up_to(height).cloned())
    }

    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault> {
        Ok(self.store.borrow().location(id))
    }

    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        self.pass(CrashPoint::BeforeBlock)?;
        self.store.borrow_mut().write_block(position, executed, membership);
        self.pass(CrashPoint::AfterBlock)
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        self.pass(CrashPoint::BeforeCertificate)?;
        self.store.borrow_mut().write_certificate(certificate);
        self.pass(CrashPoint::AfterCertificate)
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        Ok(self.store.borrow().behind(table, after, max))
    }

    fn write_attachments(&self, rows: Vec<Row>) -> Result<(), PortFault> {
        self.store.borrow_mut().write_rows(&rows);
        Ok(())
    }

    fn flush(&self) -> Result<(), PortFault> {
        self.store.borrow_mut().sync();
        self.pass(CrashPoint::AfterLedgerSync)
    }
}

/// What a bug does to the port.
#[derive(Debug, Default)]
struct PortBugs {
    bug: Option<Bug>,
    /// A membership that is stored too late.
    held: Option<Membership>,
    /// Versions of records whose rows are missed by the cache.
    missed: BTreeSet<Height>,
    /// The log was looked at up to here.
    looked: LogIndex,
    /// Consents as they were first read.
    consents: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Units as they were first read.
    units: BTreeMap<Vec<u8>, String>,
    /// The newest row that was read is in a judgement of a wrap.
    judges_wrap: bool,
    /// Who signed what is executed.
    signer: pb::SignerState,
}

impl PortBugs {
    /// A row of the state as the bug gives it.
    fn row(&mut self, key: &[u8], value: Option<Bytes>) -> Option<Bytes> {
        let kind = StateRow::of(key);
        if self.bug.is_some() && kind == Some(StateRow::Signer) {
            self.signer = signer_of(value.as_ref());
        }
        match self.bug {
            // What was read once is not read again.
            Some(Bug::StaleConsents) if matches!(kind, Some(StateRow::Consent | StateRow::ConsentList)) => {
                self.consents.entry(key.to_vec()).or_insert(value).clone()
            }
            // A unit that was read once is not read again, but where one is assigned.
            Some(Bug::StaleUnits) if kind == Some(StateRow::Identity) && !self.signer.spiffe_id.contains("/admin/") => {
                let unit = self.units.entry(key.to_vec()).or_insert_with(|| misread::unit_of(value.as_ref())).clone();
                value.map(|row| misread::in_unit(row, unit))
            }
            // Once a wrap is asked for, the time of its emergency is not looked at.
            Some(Bug::WrapOfEndedEmergency) => {
                // Between a request and who signs the next transaction a wrap is judged.
                self.judges_wrap = match kind {
                    Some(StateRow::WrapRequest) => true,
                    Some(StateRow::Signer) => false,
                    Some(_) | None => self.judges_wrap,
                };
                let ended = self.judges_wrap && kind == Some(StateRow::Emergency);
                if ended { value.map(misread::endless) } else { value }
            }
            // Who confirms is never who disclosed.
            Some(Bug::OnePersonDiscloses) => {
                let name = &self.signer.spiffe_id;
                if kind == Some(StateRow::Disclosure) { value.map(|row| misread::by_another(row, name)) } else { value }
            }
            // Whatever waits for a wrap counts as an emergency, for who answers it.
            Some(Bug::DeputyForAll) => {
                match kind {
                    Some(StateRow::WrapRequest) if self.signer.spiffe_id.ends_with("/service/custodian") => {
                        return value.map(misread::in_emergency);
                    }
                    Some(_) | None => {}
                }
                value
            }
            Some(_) | None => value,
        }
    }
}

fn signer_of(row: Option<&Bytes>) -> pb::SignerState {
    row.and_then(|row| pb::SignerState::decode(row.clone()).ok()).unwrap_or_default()
}

/// The event of a row, if it is one.
fn event_of(row: &Row) -> Option<pb::AccessEvent> {
    let event = row.value.clone().filter(|_| row.table == Table::Logs)?;
    pb::AccessEvent::decode(event).ok()
}

fn is_disclosure(row: &Row) -> bool {
    event_of(row).is_some_and(|event| event.kind() == pb::AccessKind::Disclosure)
}

fn is_declaration(row: &Row) -> bool {
    let change = event_of(row).and_then(|event| event.change);
    change.is_some_and(|change| change.kind() == pb::PatientChangeKind::EmergencyDeclared)
}

/// A replica's ledger: the cache of the product over the simulated database, with
/// a bug in between if one was put back.
#[derive(Debug)]
pub struct SimLedger {
    cached: CachedLedger<LedgerHandle>,
    bugs: RefCell<PortBugs>,
    /// Blocks that were written, for the oracle.
    pub observed: Rc<RefCell<Vec<Observation>>>,
    /// A membership that is stored apart from the blocks, for the bug that did so.
    apart: Option<Rc<RefCell<Membership>>>,
    log: Rc<RefCell<MemoryLog>>,
}

impl SimLedger {
    /// Over a database.
    #[must_use]
    pub fn new(disk: &Disk, bug: Option<Bug>) -> Self {
        let apart = (bug == Some(Bug::MembershipApart)).then(|| Rc::clone(&disk.apart));
        let looked = disk.log.borrow().durable_truncated().index;
        let bugs = RefCell::new(PortBugs { bug, looked, ..PortBugs::default() });
        let (cached, log) = (CachedLedger::new(disk.ledger_port()), Rc::clone(&disk.log));
        Self { cached, bugs, observed: Rc::default(), apart, log }
    }

    /// The database.
    #[must_use]
    pub fn handle(&self) -> &LedgerHandle {
        self.cached.inner()
    }

    fn write(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        let mut bugs = self.bugs.borrow_mut();
        match bugs.bug {
            Some(Bug::LateConfChange) => {
                let late = bugs.held.take();
                bugs.held = membership.cloned();
                self.cached.write_block(position, executed, late.as_ref())
            }
            // Whatever membership stands in the log comes into force.
            Some(Bug::MembershipUnchecked) => {
                let captured = self.captured(bugs.looked, position.index);
                bugs.looked = position.index;
                self.cached.write_block(position, executed, captured.as_ref().or(membership))
            }
            // The cache does not hear of every fifth block.
            Some(Bug::StaleCache) if executed.tip.header.height.0.is_multiple_of(5) => {
                bugs.missed.insert(executed.tip.header.height);
                self.cached.inner().write_block(position, executed, membership)
            }
            // Nobody notes what is missing.
            Some(Bug::MissingForgotten) => {
                executed.rows.retain(|row| row.table != Table::Missing);
                self.cached.write_block(position, executed, membership)
            }
            // Only the events of requests are stored.
            Some(Bug::DisclosureUnlogged) => self.without(is_disclosure, (position, executed, membership)),
            // Emergencies leave none.
            Some(Bug::EmergencyUnlogged) => self.without(is_declaration, (position, executed, membership)),
            Some(_) | None => self.cached.write_block(position, executed, membership),
        }
    }
}

impl SimLedger {
    /// A block without some of its rows.
    fn without(
        &self,
        is_left_out: fn(&Row) -> bool,
        (position, executed, membership): (LogPosition, &mut Executed, Option<&Membership>),
    ) -> Result<(), PortFault> {
        executed.rows.retain(|row| !is_left_out(row));
        self.cached.write_block(position, executed, membership)
    }

    /// A membership of one voter that a leader put into the log.
    fn captured(&self, after: LogIndex, to: LogIndex) -> Option<Membership> {
        let log = self.log.borrow();
        let entries = (after.0 + 1..=to.0).filter_map(|index| log.entry(LogIndex(index)).ok());
        let voter = |entry: LogEntry| {
            let EntryKind::ConfChange(change) = entry.kind else { return None };
            RaftId::new(sole_voter(&change)?.0)
        };
        entries.rev().find_map(voter).map(|alone| Membership::new([alone], []))
    }
}

impl StateReader for SimLedger {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreFault> {
        let value = self.cached.get(table, key)?;
        if table != Table::State {
            return Ok(value);
        }
        let mut bugs = self.bugs.borrow_mut();
        let value = bugs.row(key, value);
        // Who wants to read is judged by such a row, and nobody changes it.
        if !bugs.signer.spiffe_id.ends_with("/clinician/c") {
            return Ok(value);
        }
        let store = || self.handle().store.borrow();
        Ok(match (bugs.bug, StateRow::of(key)) {
            (Some(Bug::PermitOfUnknownLabel), Some(StateRow::Consent)) => {
                value.map(|row| misread::open_unknown(row, &store()))
            }
            (Some(Bug::DenialOfKnownLabel), Some(StateRow::Consent)) => {
                value.map(|row| misread::close_known(row, &store()))
            }
            (Some(Bug::AcceptedUntilLeft), Some(StateRow::Patient)) => {
                value.map(|row| misread::forget_left(row, &store()))
            }
            (Some(_) | None, _) => value,
        })
    }
}

impl TrieStore for SimLedger {
    type Error = StoreFault;

    fn node(&self, path: &NodePath) -> Result<Option<Bytes>, StoreFault> {
        self.cached.node(path)
    }
}

impl Ledger for SimLedger {
    fn tip(&self) -> Result<Option<(LogIndex, Tip)>, PortFault> {
        self.cached.tip()
    }

    fn block(&self, height: Height) -> Result<Option<pb::Block>, PortFault> {
        self.cached.block(height)
    }

    fn header(&self, height: Height) -> Result<Option<Header>, PortFault> {
        self.cached.header(height)
    }

    fn position(&self, height: Height) -> Result<Option<LogPosition>, PortFault> {
        self.cached.position(height)
    }

    fn membership_at(&self, height: Height) -> Result<Membership, PortFault> {
        match &self.apart {
            Some(membership) => Ok(membership.borrow().clone()),
            None => self.cached.membership_at(height),
        }
    }

    fn membership_changed_at(&self, height: Height) -> Result<Option<Membership>, PortFault> {
        self.cached.membership_changed_at(height)
    }

    fn certificate_at(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        self.cached.certificate_at(height)
    }

    fn certificate_up_to(&self, height: Height) -> Result<Option<BlockCertificate>, PortFault> {
        self.cached.certificate_up_to(height)
    }

    fn location(&self, id: &TransactionId) -> Result<Option<Location>, PortFault> {
        self.cached.location(id)
    }

    fn write_block(
        &self,
        position: LogPosition,
        executed: &mut Executed,
        membership: Option<&Membership>,
    ) -> Result<(), PortFault> {
        let parent = self.tip()?.map(|(_, tip)| tip);
        if let Some(parent) = parent {
            let (tip, leaves) = (executed.tip.clone(), executed.leaves.clone());
            let next_set = executed.events.next_set().cloned();
            let entries = executed.rows.iter().filter(|row| row.table == Table::Logs);
            let logged = entries.map(|row| (row.key.clone(), row.value.clone().unwrap_or_default())).collect();
            self.observed.borrow_mut().push(Observation { parent, tip, leaves, next_set, logged });
        }
        self.write(position, executed, membership)
    }

    fn write_certificate(&self, certificate: &BlockCertificate) -> Result<(), PortFault> {
        self.cached.write_certificate(certificate)
    }

    fn scan(&self, table: Table, after: &[u8], max: usize) -> Result<Vec<Row>, PortFault> {
        self.cached.scan(table, after, max)
    }

    fn write_attachments(&self, mut rows: Vec<Row>) -> Result<(), PortFault> {
        // The bugs: nobody notes what is missing; nobody finds anything by what was found.
        let forgotten = match self.bugs.borrow().bug {
            Some(Bug::MissingForgotten) => Some(Table::Missing),
            Some(Bug::FoundUnindexed) => Some(Table::Index),
            Some(_) | None => None,
        };
        rows.retain(|row| Some(row.table) != forgotten);
        self.cached.write_attachments(rows)
    }

    fn flush(&self) -> Result<(), PortFault> {
        // The bug: whoever cuts the log believes that the ledger was synced.
        match self.bugs.borrow().bug {
            Some(Bug::LogBeforeLedger) => Ok(()),
            Some(_) | None => self.cached.flush(),
        }
    }
}
