//! Epochs and seats as the nodes see them.

use std::collections::BTreeSet;
use std::time::Duration;

use consilium_proto::pb;

use crate::condition::eventually_async;
use crate::network::Network;

/// For an epoch to end and Raft to follow, on a machine that runs other tests.
const SEATS_TIMEOUT: Duration = Duration::from_secs(60);

impl Network {
    /// The newest epoch that a running node knows.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn epoch(&self) -> anyhow::Result<u64> {
        let mut newest = 0;
        for node in self.running() {
            newest = newest.max(self.status(node).await?.epoch);
        }
        Ok(newest)
    }

    /// Waits until all running nodes are in this epoch or a later one.
    ///
    /// # Errors
    /// If they are not in time.
    pub async fn reached_epoch(&self, epoch: u64) -> anyhow::Result<()> {
        eventually_async(&format!("epoch {epoch}"), SEATS_TIMEOUT, || async {
            let mut epochs = Vec::new();
            for node in self.running() {
                epochs.push(self.status(node).await?.epoch);
            }
            anyhow::ensure!(epochs.iter().all(|e| *e >= epoch), "epochs of the nodes: {epochs:?}");
            Ok(())
        })
        .await
    }

    /// Waits until so many epochs more have ended.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn more_epochs(&self, count: u64) -> anyhow::Result<u64> {
        let target = self.epoch().await? + count;
        self.reached_epoch(target).await?;
        Ok(target)
    }

    /// Waits until what the leader says is as it is wished; a node that does not
    /// answer is passed over. Answers with what the leader says then.
    ///
    /// # Errors
    /// If it is not so in time.
    pub async fn leader_says(
        &self,
        what: &str,
        wish: impl Fn(&pb::GetStatusResponse) -> anyhow::Result<()>,
    ) -> anyhow::Result<pb::GetStatusResponse> {
        eventually_async(what, SEATS_TIMEOUT, || async {
            for node in self.running() {
                let Ok(status) = self.status(node).await else { continue };
                if status.raft_role() == pb::RaftRole::Leader && status.leader == status.raft_id {
                    wish(&status)?;
                    return Ok(status);
                }
            }
            anyhow::bail!("nobody leads")
        })
        .await
    }

    /// Waits until exactly these nodes are seated and vote in Raft, as the
    /// leader sees it, and the leader is done.
    ///
    /// # Errors
    /// If it is not so in time.
    pub async fn settled(&self, nodes: &[usize]) -> anyhow::Result<pb::GetStatusResponse> {
        let expected: BTreeSet<u64> = nodes.iter().map(|n| self.nodes[*n].raft_id()).collect();
        self.leader_says(&format!("seats and voters {expected:?}"), |status| {
            let (seats, voters) = (seats(status), voters(status));
            let done = seats == expected && voters == expected && status.reconciliation == "settled";
            anyhow::ensure!(done, "seats {seats:?}, voters {voters:?}: {}", status.reconciliation);
            Ok(())
        })
        .await
    }
}

/// Raft ids with voting power.
#[must_use]
pub fn seats(status: &pb::GetStatusResponse) -> BTreeSet<u64> {
    status.peers.iter().filter(|p| p.voting_power > 0).map(|p| p.raft_id).collect()
}

/// Raft ids of voters.
#[must_use]
pub fn voters(status: &pb::GetStatusResponse) -> BTreeSet<u64> {
    status.peers.iter().filter(|p| p.voter).map(|p| p.raft_id).collect()
}
