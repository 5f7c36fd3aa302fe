//! How nodes speak with each other: one outgoing stream per peer for Raft
//! messages and votes, calls for everything else, mTLS on a listener of its
//! own. A peer is the node that its certificate names; what it says of itself
//! is checked against that.

pub mod accept;
pub mod callers;
mod clients;
pub mod connections;
mod forward;
mod outbox;
pub mod peer_service;

pub use clients::PeerClients;
pub use consilium_proto::limits::PEER_MESSAGE_BYTES_MAX;
pub use forward::Forwarder;
pub use outbox::{Outbox, PeerStreams};

/// Metadata key: ledger id, hexadecimal.
pub const LEDGER_ID_KEY: &str = "consilium-ledger-id";
/// Metadata key: the caller's raft id, decimal.
pub const RAFT_ID_KEY: &str = "consilium-raft-id";
