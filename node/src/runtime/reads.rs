//! Linearizable reads: many requests share one round trip to the leader.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consilium_consensus::{LogIndex, ReadContext};
use crossbeam_channel::Sender;
use rand::RngCore;
use tokio::sync::{mpsc, oneshot};

use super::driver::DriverMsg;
use super::shared::Shared;

/// Requests that share a round.
const SHARE_MAX: usize = 4_096;

/// The driver's side: reads under way.
#[derive(Debug, Default)]
pub struct PendingReads(BTreeMap<ReadContext, oneshot::Sender<Option<LogIndex>>>);

impl PendingReads {
    /// A read was sent.
    pub fn insert(&mut self, context: ReadContext, reply: oneshot::Sender<Option<LogIndex>>) {
        self.0.insert(context, reply);
    }

    /// It is confirmed.
    pub fn ready(&mut self, context: &ReadContext, index: LogIndex) {
        if let Some(reply) = self.0.remove(context) {
            let _ = reply.send(Some(index));
        }
    }

    /// It is lost.
    pub fn drop_read(&mut self, context: &ReadContext) {
        if let Some(reply) = self.0.remove(context) {
            let _ = reply.send(None);
        }
    }
}

/// The API's side: asks for a linearizable point and waits until this node has
/// applied it.
#[derive(Debug, Clone)]
pub struct ReadIndex {
    requests: mpsc::Sender<oneshot::Sender<Option<()>>>,
}

impl ReadIndex {
    /// Starts the task that shares rounds.
    #[must_use]
    pub fn start(shared: Arc<Shared>, driver: Sender<DriverMsg>) -> Self {
        let (requests, mut waiting) = mpsc::channel::<oneshot::Sender<Option<()>>>(SHARE_MAX);
        tokio::spawn(async move {
            let mut round = Vec::new();
            while waiting.recv_many(&mut round, SHARE_MAX).await > 0 {
                let sharing = std::mem::take(&mut round);
                let (shared, driver) = (Arc::clone(&shared), driver.clone());
                // The next round may start before this one's index is applied.
                if let Some(index) = confirm(&driver).await {
                    tokio::spawn(async move {
                        let mut applied = shared.applied.subscribe();
                        let reached = applied.wait_for(|a| a.index >= index).await.is_ok();
                        for reply in sharing {
                            let _ = reply.send(reached.then_some(()));
                        }
                    });
                } else {
                    for reply in sharing {
                        let _ = reply.send(None);
                    }
                }
            }
        });
        Self { requests }
    }

    /// Returns once this node has applied everything that was committed when
    /// the call began; `None` if no leader confirmed it: try again.
    pub async fn linearize(&self) -> Option<()> {
        let (reply, confirmed) = oneshot::channel();
        self.requests.send(reply).await.ok()?;
        confirmed.await.ok()?
    }
}

async fn confirm(driver: &Sender<DriverMsg>) -> Option<LogIndex> {
    let mut context = [0; 16];
    rand::rng().fill_bytes(&mut context);
    let (reply, confirmed) = oneshot::channel();
    driver.send(DriverMsg::Read { context: ReadContext(context), reply }).ok()?;
    tokio::time::timeout(Duration::from_secs(5), confirmed).await.ok()?.ok()?
}
