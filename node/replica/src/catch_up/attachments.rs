//! Attachments that are missing here: looked for at the peers in turn, a few at a time,
//! each compared with what its block commits to, until one has them. What is missing is
//! noted in the ledger's store ([`consilium_ledger::missing`]), and so a restart goes on
//! looking. If nobody has one for a while, an alarm says so.
//!
//! It must never store what was not committed to, nor look for what was erased.

use std::collections::VecDeque;

use bytes::Bytes;
use consilium_ledger::missing::{Missing, is_wanted};
use consilium_ledger::{Row, Table};
use consilium_proto::ids::NodeId;
use consilium_proto::transaction::Slot;

use crate::alarm::{Alarm, AlarmName};
use crate::io::{CallId, Output};
use crate::notice::Notice;
use crate::ports::{Ledger, PortFault};

/// Attachments that a peer is asked for at once.
pub const ATTACHMENTS_MAX: usize = 64;
/// Pause after all that is missing was looked for at all peers.
const ROUND_PAUSE_MS: u64 = 5_000;
/// Pause when nothing is missing.
const IDLE_PAUSE_MS: u64 = 1_000;
/// Something is missing, and nobody had any of it, for this long: somebody must know.
const ALARM_AFTER_MS: u64 = 20_000;
/// Missing attachments that are counted; of more the alarm says that there are as many.
const COUNTED_MAX: usize = 10_000;

/// A call under way.
struct Asked {
    call: CallId,
    peer: NodeId,
    wanted: Vec<Missing>,
    since_ms: u64,
}

/// Since when something is missing, as far as this run knows.
#[derive(Clone, Copy)]
struct Since {
    began_ms: u64,
    /// When something was found last, or noticed to be missing.
    progress_ms: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Attachments {
    /// What is looked for now.
    wanted: Vec<Missing>,
    /// Who is still to be asked for it.
    peers: VecDeque<NodeId>,
    asked: Option<Asked>,
    /// The key behind which the look goes on.
    after: Vec<u8>,
    /// Something was missing at the beginning of this round.
    any: bool,
    resume_ms: u64,
    since: Option<Since>,
}

/// What looking for attachments may know.
pub(crate) struct Here<'a, L> {
    pub(crate) ledger: &'a L,
    /// The other nodes, those that are likely to answer first.
    pub(crate) peers: Vec<NodeId>,
    pub(crate) now_ms: u64,
    pub(crate) patience_ms: u64,
}

impl Attachments {
    /// Time passes: asks the next peer, or gives the present one up.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn tick<L: Ledger>(
        &mut self,
        here: &Here<'_, L>,
        calls: &mut CallId,
        out: &mut Vec<Output>,
    ) -> Result<(), PortFault> {
        if let Some(asked) = &self.asked
            && here.now_ms.saturating_sub(asked.since_ms) > here.patience_ms
        {
            self.asked = None;
        }
        if self.asked.is_some() || here.now_ms < self.resume_ms {
            return Ok(());
        }
        if self.wanted.is_empty() || self.peers.is_empty() {
            self.load(here, out)?;
        }
        if let Some(peer) = self.peers.pop_front() {
            let (call, wanted) = (calls.take(), self.wanted.clone());
            let slots = wanted.iter().map(|missing| missing.commitment.slot).collect();
            out.push(Output::FetchAttachments { call, from: peer, slots });
            self.asked = Some(Asked { call, peer, wanted, since_ms: here.now_ms });
        }
        Ok(())
    }

    /// Takes up the next of what is missing; pauses at the end of all.
    fn load<L: Ledger>(&mut self, here: &Here<'_, L>, out: &mut Vec<Output>) -> Result<(), PortFault> {
        self.wanted.clear();
        let rows = here.ledger.scan(Table::Missing, &self.after, ATTACHMENTS_MAX)?;
        if let Some(last) = rows.last() {
            self.after.clone_from(&last.key);
        } else {
            self.after.clear();
            let any = std::mem::take(&mut self.any);
            self.resume_ms = here.now_ms + if any { ROUND_PAUSE_MS } else { IDLE_PAUSE_MS };
            return self.look_at_round(any, here, out);
        }
        for Row { key, value, .. } in rows {
            let missing = Missing::decode(&key, &value.unwrap_or_default())?;
            match is_wanted(here.ledger, &missing.commitment.slot)? {
                true => self.wanted.push(missing),
                false => here.ledger.write_attachments(vec![missing.forget()])?,
            }
        }
        self.any |= !self.wanted.is_empty();
        self.peers = here.peers.iter().copied().collect();
        if self.any && self.since.is_none() {
            self.since = Some(Since { began_ms: here.now_ms, progress_ms: here.now_ms });
        }
        Ok(())
    }

    /// All that is missing was looked for, or nothing was missing.
    fn look_at_round<L: Ledger>(
        &mut self,
        any: bool,
        here: &Here<'_, L>,
        out: &mut Vec<Output>,
    ) -> Result<(), PortFault> {
        let Some(since) = self.since else { return Ok(()) };
        if !any {
            self.since = None;
            out.push(Output::Clear(AlarmName::AttachmentsMissing));
        } else if here.now_ms.saturating_sub(since.progress_ms) >= ALARM_AFTER_MS {
            let count = here.ledger.scan(Table::Missing, &[], COUNTED_MAX)?.len();
            if count > 0 {
                let seconds = here.now_ms.saturating_sub(since.began_ms) / 1_000;
                let at_least = count == COUNTED_MAX;
                out.push(Output::Raise(Alarm::AttachmentsMissing { count, at_least, seconds }));
            }
        }
        Ok(())
    }

    /// A peer answered: in order, nothing for what it has not; less if there was more
    /// than fits into an answer, or if it could not be reached.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn fetched<L: Ledger>(
        &mut self,
        ledger: &L,
        call: CallId,
        contents: Vec<Bytes>,
        now_ms: u64,
        out: &mut Vec<Output>,
    ) -> Result<(), PortFault> {
        let Some(Asked { peer, wanted, .. }) = self.asked.take_if(|asked| asked.call == call) else { return Ok(()) };
        let answered = contents.len();
        let (mut rows, mut found, mut wrong) = (Vec::new(), Vec::new(), None);
        for (missing, content) in wanted.iter().zip(contents).filter(|(_, content)| !content.is_empty()) {
            match missing.commitment.check(&content) {
                Ok(()) if is_wanted(ledger, &missing.commitment.slot)? => {
                    rows.extend(missing.found(ledger, content)?);
                    found.push(missing.commitment.slot);
                }
                Ok(()) => rows.push(missing.forget()),
                Err(_) => wrong = Some(missing.height),
            }
        }
        if !rows.is_empty() {
            ledger.write_attachments(rows)?;
            let progress = self.since.as_mut();
            progress.into_iter().for_each(|since| since.progress_ms = now_ms);
            out.push(Output::Notice(Notice::AttachmentsFound { peer, count: found.len() }));
        }
        if let Some(height) = wrong {
            out.push(Output::Notice(Notice::AttachmentRefused { peer, height }));
        }
        self.wanted.retain(|missing: &Missing| !found.contains(&missing.commitment.slot));
        // The rest did not fit into its answer.
        if wrong.is_none() && !found.is_empty() && answered < wanted.len() {
            self.peers.push_front(peer);
        }
        Ok(())
    }
}

/// Attachments for a peer that lacks them: in order, nothing for what is not here either,
/// and no more than fit into an answer.
///
/// # Errors
/// If the disk fails.
pub fn serve_attachments(ledger: &impl Ledger, slots: &[Slot]) -> Result<Vec<Bytes>, PortFault> {
    let (mut contents, mut bytes) = (Vec::new(), 0);
    for slot in slots.iter().take(ATTACHMENTS_MAX) {
        let content = super::serve::stored(ledger, slot)?;
        bytes += content.len();
        contents.push(content);
        if bytes >= ANSWER_BYTES {
            break;
        }
    }
    Ok(contents)
}

/// Bytes of attachments after which an answer ends.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;
