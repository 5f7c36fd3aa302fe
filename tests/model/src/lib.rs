//! A model of how the network agrees, small enough to look at everything that can happen in it.
//!
//! Four validators of equal power, Raft's voters, one of whom lies. What is in it are the rules
//! of `node/consensus` by which leaders are elected, entries are appended, acknowledged and
//! counted, and headers voted on ([`rules::Rules`]); each one can be taken away, to see what it
//! is there for. `docs/model.md` tells what it shows.
//!
//! What is simpler here than in the code, and why nothing is lost by it:
//!
//! - Time, connections and what is on its way: whatever was said may be heard at any later
//!   time, or never. Pre-votes, leases and hand-overs only make less of this happen.
//! - Disks: what a node says is on its disk, so a node that stops and starts is one that is slow.
//!   [`rules::Scope::forgets`] is the disk that is lost.
//! - An entry is its term, and which of two it is; each one is a block, also the one that opens
//!   a term. An index is a height. The hash of an entry is all of the log up to it.
//! - The liar has no state but the terms that it was elected in. Its grants, acknowledgements and
//!   votes are there whenever they help, and it tells each node something else.
//! - Grants are given where they elect somebody, and not else: others only take away from what
//!   whoever gave them can do.
//! - Members, powers, epochs, snapshots and the cutting of logs are not in it.
//!
//! It must never know more than a node does: what a node refuses is decided from its own state
//! and from what it is told.

#![forbid(unsafe_code)]

mod choices;
pub mod log;
pub mod moves;
pub mod network;
pub mod rules;
pub mod state;
