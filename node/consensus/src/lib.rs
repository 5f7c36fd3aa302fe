//! Sans-IO consensus: the Raft core, the screen that stands before it, and its plain types.
//!
//! This crate owns the order of commands and nothing else. Commands are opaque bytes; the
//! driver (in a node: `consilium-replica`) owns the state machine and whatever leads to disk,
//! network and clock, and talks to [`Core`] through inputs (`tick`, `step`, `propose`,
//! `persisted`, `applied`, ...) and one output ([`Output`]).
//!
//! It is the only crate that sees the `raft` library and what comes with it; none of its
//! types may appear in a public signature. It must never read a clock, open a file or a
//! socket, start a thread, or hash into an order. The one random value, Raft's election
//! timeout, is closed by an [`ElectionTicks`] range of one value.
//!
//! **Panics.** The library below panics when its own invariants are broken (a disk that lost
//! acknowledged writes, a failing log read). Nothing here catches that: the process ends, and
//! its next start checks the disk. What a peer sends cannot cause it; that is what [`Reject`]
//! is for.
#![forbid(unsafe_code)]

mod codec;
mod config;
mod convert;
mod core;
mod entry;
mod hard_state;
mod ids;
mod log;
mod log_view;
mod mandate;
mod membership;
mod output;
mod preflight;
pub mod reconcile;
mod reject;
mod screen;
mod seal;
mod snapshot;
mod status;
mod term_runs;
pub mod voting;
mod wire;

pub use crate::codec::DecodeError;
pub use crate::config::{Config, ConfigError, ElectionTicks};
pub use crate::core::{
    ApplyError, CompactError, Core, InstallError, Installed, MembershipError, MembershipOutcome, OfferError,
    PersistError, ProposeError, ReadError, StartError, StepError, TransferError,
};
pub use crate::entry::{EntryKind, LogEntry, entry_context};
pub use crate::hard_state::HardState;
pub use crate::ids::{LogHash, LogIndex, LogPosition, RaftId, Term};
pub use crate::log::{LogBounds, LogError, LogReader};
pub use crate::mandate::{Candidacy, Electorate, Mandate, MandateError, Signer};
pub use crate::membership::{Membership, MembershipChange, MembershipInvalid};
pub use crate::output::{
    IncomingSnapshot, LeaderChange, Outbound, Output, Persist, PersistSeq, ReadContext, ReadOutcome,
};
pub use crate::preflight::{Initial, PreflightError};
pub use crate::reconcile::{Desired, Limits, Step, WaitReason, next_step, rotation_target};
pub use crate::reject::Reject;
pub use crate::screen::{Judge, Origin};
pub use crate::seal::{Seal, SealedPosition};
pub use crate::snapshot::SnapshotMeta;
pub use crate::status::{PeerProgress, PeerState, Role, Status};
pub use crate::wire::WireError;
