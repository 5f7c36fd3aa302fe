//! Ordering, while this node leads, and the watch over the leader while it does
//! not: the queue ([`mempool`]), the blocks that are cut from it ([`proposing`]) and when ([`pace`]),
//! Raft's voters and the turn to lead ([`leading`]), certificates that do not come
//! and logs that are too long ([`oversight`]), transactions that a leader must not leave
//! out ([`rights`]), whose room they take ([`share`]), and how often
//! one may ask to read ([`quota`]).

pub(crate) mod distrust;
pub(crate) mod leading;
pub(crate) mod log_pace;
pub(crate) mod mempool;
pub(crate) mod oversight;
mod pace;
pub(crate) mod proposing;
pub(crate) mod quota;
pub(crate) mod reconciliation;
pub(crate) mod rights;
pub(crate) mod share;
pub(crate) mod split;

pub use self::quota::AccessQuota;
pub use self::reconciliation::Reconciliation;
pub use self::rights::{WATCHED_OF_ADMINISTRATORS_MAX, WATCHED_PER_MEMBER_MAX};
