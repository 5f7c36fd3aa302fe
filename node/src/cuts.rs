//! How suspensions and removals took effect on this node: from the block that
//! holds one to the moment when the member's last connection was closed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use consilium_proto::ids::Height;

/// Cuts that are kept for status.
const CUTS_MAX: usize = 16;

/// How a suspension or removal took effect on this node.
#[derive(Debug, Clone)]
pub struct MemberCut {
    /// The member.
    pub member: String,
    /// The block that holds it.
    pub height: Height,
    /// When the block was executed here.
    pub executed: Instant,
    /// When its certificate was known here.
    pub certified: Option<Instant>,
    /// When the last connection was closed.
    pub cut: Option<Instant>,
    /// Connections closed.
    pub connections: u64,
}

/// The newest ones.
#[derive(Debug, Default)]
pub struct MemberCuts(Mutex<VecDeque<MemberCut>>);

impl MemberCuts {
    fn lock(&self) -> MutexGuard<'_, VecDeque<MemberCut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block, executed at a moment, cut a member off, and so many connections of it were closed.
    pub fn cut(&self, member: &str, (height, executed): (Height, Instant), connections: usize) {
        tracing::warn!(member, height = height.0, connections, "member cut off");
        let (cut, connections) = (Some(Instant::now()), connections as u64);
        let cut = MemberCut { member: member.to_owned(), height, executed, certified: None, cut, connections };
        let mut cuts = self.lock();
        cuts.push_front(cut);
        cuts.truncate(CUTS_MAX);
    }

    /// Everything up to a height is certified.
    pub fn certified(&self, height: Height) {
        let now = Instant::now();
        let open = |cut: &&mut MemberCut| cut.height <= height && cut.certified.is_none();
        self.lock().iter_mut().filter(open).for_each(|cut| cut.certified = Some(now));
    }

    /// Newest first.
    #[must_use]
    pub fn list(&self) -> Vec<MemberCut> {
        self.lock().iter().cloned().collect()
    }
}
