//! Harness of the process tests: a consortium of real node processes on
//! loopback, each with a CA, identities and a disk of its own.
//!
//! The ceremony goes through the libraries, the nodes are the shipped binary,
//! and every connection is mutual TLS. The harness knows nothing of a node's
//! inside: what a test wants to know it asks over the API, reads from the log,
//! or finds on the disk. Waiting is done in one place only ([`eventually`]);
//! nothing else may sleep. Processes are ended by their own id.

#![forbid(unsafe_code)]

mod adopted;
mod bare_call;
mod binaries;
mod builder;
mod ceremony;
mod clock;
mod compiled;
mod condition;
mod disk;
mod disk_pace;
mod distance;
mod flapping;
mod guarded;
mod http;
mod impostor;
mod ledger;
mod links;
mod load;
mod lying_entry;
mod members;
mod network;
mod node;
mod power;
mod preload;
mod raw;
mod reading;
mod records;
mod seats;
mod settings;
mod status;
mod traitor;
mod user;
mod wires;

pub use bare_call::bare_call;
pub use binaries::{cli_binary, node_binary, shared_folder};
pub use builder::{NetworkBuilder, own_loopback_address, short_epochs};
pub use ceremony::{Member, around_now, at_offset};
pub use clock::WallClock;
pub use condition::{eventually, eventually_async};
pub use disk::{copy_tree, files_below, flip_bits, holds};
pub use disk_pace::DiskPace;
pub use distance::put_apart;
pub use flapping::Flapping;
pub use http::{HttpAnswer, http_get};
pub use impostor::{Impostor, RaftMessage, two_votes};
pub use ledger::{Row, head, headers_at, ledger_at, nothing_lost, nothing_lost_among, submit_raw};
pub use links::Links;
pub use load::{Ack, Load, longest_pause};
pub use lying_entry::{Falsify, lying_entry};
pub use network::Network;
pub use node::{Exit, Node, run_to_end};
pub use power::PowerDisk;
pub use raw::{Dial, RawIdentity};
pub use reading::{asks_for, opens_to_all, read_payload, request_access};
pub use records::{Sealed, pseudonym, random_id, record, seal_with, stored};
pub use seats::{seats, voters};
pub use status::{alarms, bad_fields, reason, retry_delay};
pub use traitor::{Lie, Traitor};
pub use user::User;
pub use wires::Wires;

/// What tests return: any error ends a test with its chain of causes.
pub type TestResult = anyhow::Result<()>;
