//! The rules of the ledger: a pure, deterministic function from state and
//! block to writes, outcomes and the next header.
//!
//! Nothing here sees a clock, a random source, a file, a socket or a thread;
//! time is the block's time, and X.509 is asked through [`IdentityRules`],
//! whose implementation must be pure as well. Two replicas that execute the
//! same blocks produce the same bytes, or one of them is broken.
//!
//! * [`execute`] runs one block, and tells by [`Event`]s what others must know of;
//! * [`election`] chooses the validators of an epoch;
//! * [`genesis_block`] makes the first state;
//! * [`keys`] lists every key of the state;
//! * [`custody`] tells what a member's custodian can open;
//! * [`log`] keeps lists that only grow, and proves what is in them;
//! * [`lookup`] answers from several rows at once;
//! * [`missing`] is what is known of attachments that are not here;
//! * [`rights`] decides who may read what;
//! * [`state_map`] keeps the authenticated tree over it;
//! * [`tree`] keeps the tree of the ledger.

mod actions;
mod authorities;
mod block;
pub mod custody;
pub mod election;
mod epoch;
mod event;
mod genesis;
mod governance;
mod in_force;
pub mod keys;
pub mod log;
pub mod lookup;
pub mod missing;
mod participation;
mod penalty;
pub mod rights;
mod roster;
pub mod row_key;
mod rules;
mod stake;
pub mod state_map;
mod table;
pub mod tree;
mod view;

pub use block::{
    BlockInput, CheckedTransaction, Executed, ExecutionError, PROTOCOL_VERSION, Tip, execute, is_signed_enrollment,
};
pub use epoch::forecast_election;
pub use event::{Event, Events};
pub use genesis::genesis_block;
pub use governance::{Preview, preview, tally};
pub use participation::unseen_nodes;
pub use rules::{IdentityRules, LedgerRules, Rejection, RevocationList, VerifiedIdentity};
pub use table::Table;
pub use view::{Location, LogPlace, Row, StateReader, StoreFault};
