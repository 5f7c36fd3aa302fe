//! The services for clients. Every request is authorised by itself, with the
//! identity of its connection and the ledger's present state.

mod access_log;
mod blocks;
mod changes;
mod custody;
mod decision;
mod disclosures;
pub mod errors;
mod governance;
mod identity;
pub(crate) mod late;
mod ledger;
mod notices;
mod operator;
mod page_token;
mod pages;
mod patients;
mod petitions;
mod query;
mod read_records;
mod reading;
mod receipts;
pub mod record_lists;
mod record_reader;
mod records;
pub mod release;
mod streams;
mod submit;
mod turns;
mod validators;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_proto::genesis::Genesis;
use consilium_proto::ids::{Height, LedgerId, TimeMs};
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb;
use consilium_proto::pb::read_options::Consistency;
use consilium_proto::vote::CertifiedHeader;
use tokio::sync::Semaphore;
use tonic::{Request, Status};

use crate::alarms::Alarms;
use crate::clock::now_ms;
use crate::config::Limits;
use crate::cuts::MemberCuts;
use crate::edge::deadline::Deadline;
use crate::handle::Handle;
use crate::handle::reserve::{Reserve, Room};
use crate::published::Published;
use crate::storage::late_journal::LateJournal;
use crate::storage::ledger_store::LedgerStore;
use crate::transport::connections::PeerInfo;
use crate::transport::{Outbox, PeerClients};
use errors::Reason;
use notices::OpenReviews;
use page_token::PageTokens;
pub(crate) use reading::READS_AT_ONCE;
pub use reading::Reads;
use receipts::ReceiptDesk;
use turns::Turns;

/// The least staleness that can be asked for: nobody can have blocks made faster
/// than that by reading.
const STALENESS_MIN_MS: u64 = 1_000;
/// How long a read waits for a block that is young enough.
const STALENESS_PATIENCE: Duration = Duration::from_secs(5);

/// What the services share. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// The replica.
    pub handle: Handle,
    /// What it tells.
    pub published: Arc<Published>,
    /// The ledger.
    pub ledger: Arc<LedgerStore>,
    /// The genesis document.
    pub genesis: Arc<Genesis>,
    /// Its bytes, to be served.
    pub genesis_bytes: Bytes,
    /// To ask the leader.
    pub peers: PeerClients,
    /// Which peers are connected.
    pub outbox: Outbox,
    /// What needs attention.
    pub alarms: Arc<Alarms>,
    /// How suspensions took effect.
    pub cuts: Arc<MemberCuts>,
    /// Bounds.
    pub limits: Limits,
    /// Room for reads.
    pub reads: Reads,
    /// Room for those who wait for ordinary transactions.
    pub(crate) admission: Reserve<SpiffeId>,
    /// What was answered without a quorum.
    pub late: LateJournal,
    /// What requests have of each other.
    pub(crate) shared: Shared,
}

/// What requests have of each other. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    reviews: OpenReviews,
    turns: Turns,
    receipts: ReceiptDesk,
    pages: PageTokens,
    /// Places at the journal of what was answered without a quorum.
    journal: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            reviews: OpenReviews::default(),
            turns: Turns::new(limits),
            receipts: ReceiptDesk::default(),
            pages: PageTokens::default(),
            journal: Arc::new(Semaphore::new(late::JOURNAL_AT_ONCE)),
        }
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) id: SpiffeId,
    pub(crate) info: PeerInfo,
}

impl Caller {
    pub(crate) fn has_role(&self, role: Role) -> bool {
        self.id.role() == role
    }

    /// A call that waits asks again.
    fn ensure_stands(&self) -> Result<(), Status> {
        if self.info.stands() {
            return Ok(());
        }
        tracing::info!(identity = %self.id, "request of a fallen identity refused");
        Err(Self::fallen())
    }

    /// What one is told whose standing has ended.
    pub(crate) fn fallen() -> Status {
        Reason::IdentityRefused.status("the identity certificate is not accepted any more")
    }
}

/// Of the room for those who wait, an identity has half, and the people of a member have three
/// quarters: by however many identities, they leave some to others.
#[must_use]
pub(crate) fn admission(limits: &Limits) -> Reserve<SpiffeId> {
    let all = limits.queued_transactions_max.get();
    Reserve::new(Room { each: all.div_ceil(2), group: all - all / 4, all })
}

impl Api {
    fn ledger_id(&self) -> LedgerId {
        self.genesis.ledger_id
    }

    /// The caller, if its identity still stands.
    pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
        let info = request.extensions().get::<PeerInfo>();
        let info = info.ok_or_else(|| Reason::IdentityRefused.status("no identity on this connection"))?;
        let caller = Caller { id: info.identity.spiffe_id().clone(), info: info.clone() };
        caller.ensure_stands()?;
        Ok(caller)
    }

    /// How long a request may wait for anything: what its caller and the node let it.
    pub(crate) fn time_left<T>(&self, request: &Request<T>) -> Duration {
        let deadline = request.extensions().get::<Deadline>();
        deadline.map_or(self.limits.request_timeout, Deadline::left)
    }

    /// Waits until this node's state is as fresh as asked for; returns its height.
    pub(crate) async fn freshen(&self, read: Option<&pb::ReadOptions>, within: Duration) -> Result<Height, Status> {
        if self.published.is_quarantined() {
            return Err(Reason::Quarantined.status("this node has put itself aside; ask another one"));
        }
        match read.and_then(|r| r.consistency) {
            None => tokio::time::timeout(within, self.linearize())
                .await
                .map_err(|_| Reason::NoLeader.status("no leader confirmed the read in time"))?,
            Some(Consistency::MinHeight(height)) => {
                let mut applied = self.published.watch_applied();
                let reached = tokio::time::timeout(within, applied.wait_for(|a| a.height.0 >= height)).await;
                match reached {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => {
                        return Err(Reason::Behind.status(format!("height {height} is not here yet")));
                    }
                }
            }
            Some(Consistency::MaxStalenessMs(bound)) => self.no_staler_than(bound, within).await?,
        }
        Ok(self.published.applied().height)
    }

    async fn linearize(&self) {
        while !self.handle.linearize().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a certified block is here that is not older than the bound by
    /// this machine's clock. That a leader is known shows nothing: it may be cut
    /// off, too. An idle ledger makes no blocks by itself, so one is asked for.
    async fn no_staler_than(&self, bound_ms: u64, within: Duration) -> Result<(), Status> {
        let since = TimeMs(now_ms().0.saturating_sub(bound_ms.max(STALENESS_MIN_MS)));
        let young = |c: &Option<Arc<CertifiedHeader>>| c.as_ref().is_some_and(|c| c.header.time > since);
        let mut certified = self.published.watch_certified();
        if young(&certified.borrow_and_update()) {
            return Ok(());
        }
        // The genesis itself is never certified, however young it is.
        let nothing = certified.borrow().is_none();
        self.advance_time(if nothing { since.max(self.published.applied().time) } else { since }).await;
        match tokio::time::timeout(within.min(STALENESS_PATIENCE), certified.wait_for(young)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Reason::Behind.status("nothing as young as asked for is certified here")),
        }
    }

    /// Makes the ledger's time pass a moment, so that a validity is seen to end.
    pub(crate) async fn advance_time(&self, after: TimeMs) {
        match self.published.leader() {
            Some(leader) if leader == self.published.me() => drop(self.handle.request_time_block(after).await),
            Some(leader) => {
                if let Ok(mut client) = self.peers.connect(leader).await {
                    let request = self.peers.request(pb::RequestTimeBlockRequest { after_ms: after.0 });
                    let _ = client.request_time_block(request).await;
                }
            }
            None => {}
        }
    }
}
