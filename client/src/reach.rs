//! How far a block has come: which node of the ledger holds it with its certificate, and since
//! when. A withdrawal holds from its block in the order of the ledger, wherever it is read; this
//! says how long it took until each node knew.
//!
//! **What is measured.** A node is asked itself where this client talks to it ([`NodesOf`]): it
//! says since when it has the block with its certificate, by its own clock, and when the block was
//! made, by the leader's. Clocks of nodes may differ by the tolerance of the ledger
//! (`clock_skew_max_ms`). Of a validator that is not asked, another one says whether it has voted
//! for the block or a later one, which it does once it has executed it; without a time. All of
//! this is the nodes' word, and proves nothing.
//!
//! [`NodesOf`]: crate::NodesOf

use std::collections::BTreeMap;
use std::time::Duration;

use consilium_grpc::operator_service_client::OperatorServiceClient;
use consilium_proto::ids::{Height, NodeId, TimeMs};
use consilium_proto::pb;
use tokio::time::Instant;

use crate::client::Client;
use crate::error::ClientError;

/// How long a node has for an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Pause before all are asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// How far a block has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The block.
    pub height: Height,
    /// All nodes of the ledger, by raft id.
    pub nodes: Vec<NodeReach>,
    /// Addresses that were asked and did not answer, and why.
    pub silent: Vec<(String, String)>,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReach {
    /// Its raft id.
    pub node: NodeId,
    /// Its SPIFFE id.
    pub spiffe_id: String,
    /// host:port for clients.
    pub address: String,
    /// Whether it has the block.
    pub seen: Seen,
}

/// Whether a node has a block with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nobody who was asked knows.
    Unknown,
    /// It says itself that it has not.
    NotYet,
    /// It has voted for the block or a later one, as another node says.
    Voted,
    /// It says itself that it has; when the block was made, and since when it has it, unless it
    /// has forgotten.
    Held(TimeMs, Option<TimeMs>),
}

impl Seen {
    /// Whether the node has the block.
    #[must_use]
    pub fn is_reached(self) -> bool {
        match self {
            Self::Voted | Self::Held(..) => true,
            Self::Unknown | Self::NotYet => false,
        }
    }

    /// Milliseconds from when the block was made until the node held it, by the clocks of two
    /// nodes.
    #[must_use]
    pub fn took_ms(self) -> Option<u64> {
        match self {
            Self::Held(made, since) => since.map(|since| since.0.saturating_sub(made.0)),
            Self::Unknown | Self::NotYet | Self::Voted => None,
        }
    }
}

impl Reach {
    /// Whether all nodes have the block, as far as anybody says.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.nodes.is_empty() && self.nodes.iter().all(|node| node.seen.is_reached())
    }

    fn of(height: Height, answers: Vec<(String, Result<pb::GetStatusResponse, String>)>) -> Self {
        let mut nodes: BTreeMap<u64, NodeReach> = BTreeMap::new();
        let mut silent = Vec::new();
        for (address, answer) in answers {
            match answer {
                Ok(status) => note(&mut nodes, height, &status),
                Err(why) => silent.push((address, why)),
            }
        }
        Self { height, nodes: nodes.into_values().collect(), silent }
    }
}

/// Notes what a node says of itself and of the others: the strongest word counts.
fn note(nodes: &mut BTreeMap<u64, NodeReach>, height: Height, status: &pb::GetStatusResponse) {
    for peer in &status.peers {
        let own = peer.raft_id == status.raft_id;
        let seen = match &status.held {
            Some(held) if own => {
                Seen::Held(TimeMs(held.made_ms), (held.since_ms != 0).then_some(TimeMs(held.since_ms)))
            }
            None if own => Seen::NotYet,
            Some(_) | None if peer.voted_height >= height.0 => Seen::Voted,
            Some(_) | None => Seen::Unknown,
        };
        let new = || NodeReach {
            node: NodeId(peer.raft_id),
            spiffe_id: peer.spiffe_id.clone(),
            address: peer.client_address.clone(),
            seen,
        };
        let known = nodes.entry(peer.raft_id).or_insert_with(new);
        known.seen = known.seen.max(seen);
    }
}

impl Client {
    /// Asks the nodes that this client talks to how far a block has come, again and again until
    /// all have it or time is over.
    ///
    /// # Errors
    /// If none of them answers.
    pub async fn reach(&self, height: Height, within: Duration) -> Result<Reach, ClientError> {
        let end = Instant::now() + within;
        loop {
            let reach = Reach::of(height, self.ask_how_far(height).await);
            if reach.is_complete() || Instant::now() + PAUSE >= end {
                return match (reach.nodes.is_empty(), reach.silent.first()) {
                    (true, Some((endpoint, cause))) => {
                        Err(ClientError::Transport { endpoint: endpoint.clone(), cause: cause.clone() })
                    }
                    _ => Ok(reach),
                };
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask_how_far(&self, height: Height) -> Vec<(String, Result<pb::GetStatusResponse, String>)> {
        let ledger = self.genesis().ledger_id.to_bytes();
        let asked = self.endpoints().map(|address| {
            let (address, ledger) = (address.to_owned(), ledger.clone());
            async move {
                let channel = match self.dial(&address) {
                    Ok(channel) => channel,
                    Err(error) => return (address, Err(error.to_string())),
                };
                let mut service = OperatorServiceClient::new(channel);
                let answer = service.get_status(pb::GetStatusRequest { height: height.0 });
                let answer = match tokio::time::timeout(ANSWER, answer).await {
                    Ok(Ok(status)) => Ok(status.into_inner()),
                    Ok(Err(status)) => Err(status.message().to_owned()),
                    Err(_) => Err("no answer in time".to_owned()),
                };
                let answer = answer.and_then(|status| match status.ledger_id == ledger {
                    true => Ok(status),
                    false => Err("is a node of another ledger".to_owned()),
                });
                (address, answer)
            }
        });
        futures::future::join_all(asked).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(raft_id: u64, held: Option<pb::BlockHeld>, voted: [u64; 3]) -> pb::GetStatusResponse {
        let peer = |id: u64| pb::PeerStatus {
            raft_id: id,
            spiffe_id: format!("spiffe://m{id}.example/node/n1"),
            client_address: format!("m{id}:1"),
            voted_height: voted[id as usize - 1],
            ..pb::PeerStatus::default()
        };
        let peers = [1, 2, 3].map(peer).to_vec();
        pb::GetStatusResponse { raft_id, peers, held, ..pb::GetStatusResponse::default() }
    }

    fn seen(answers: Vec<pb::GetStatusResponse>) -> (Vec<Seen>, bool) {
        let answers = answers.into_iter().map(|answer| ("address".to_owned(), Ok(answer))).collect();
        let reach = Reach::of(Height(7), answers);
        (reach.nodes.iter().map(|node| node.seen).collect(), reach.is_complete())
    }

    #[test]
    fn what_a_node_says_of_itself_counts_more_than_what_others_say() {
        let held = Some(pb::BlockHeld { made_ms: 100, since_ms: 130 });
        let since = Seen::Held(TimeMs(100), Some(TimeMs(130)));
        assert_eq!(since.took_ms(), Some(30));
        assert_eq!(seen(vec![status(1, held, [7, 7, 6])]), (vec![since, Seen::Voted, Seen::Unknown], false));
        let both = vec![status(1, held, [7, 7, 8]), status(2, held, [0, 7, 0])];
        assert_eq!(seen(both), (vec![since, since, Seen::Voted], true));
        assert_eq!(seen(vec![status(1, None, [9, 9, 9])]).0[0], Seen::NotYet, "it has no certificate yet");
        let forgotten = Some(pb::BlockHeld { made_ms: 100, since_ms: 0 });
        let (nodes, complete) = seen(vec![status(1, forgotten, [7, 7, 7])]);
        assert_eq!((nodes[0].took_ms(), complete), (None, true));
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let answers = vec![("m1:1".to_owned(), Err("no answer in time".to_owned()))];
        let reach = Reach::of(Height(7), answers);
        assert_eq!(reach.silent, [("m1:1".to_owned(), "no answer in time".to_owned())]);
        assert!(!reach.is_complete(), "nobody knows which nodes there are");
    }
}
