//! Linearizable reads: all that wait share one question to the leader, and are
//! answered once this node has applied what was committed when they came.

use std::collections::BTreeMap;

use consilium_consensus::{Core, LogIndex, LogReader, ReadContext, ReadOutcome};

use crate::io::{Output, RequestId};

/// Reads that wait, at most; more are turned away at once.
const READS_MAX: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// For the next question.
    waiting: Vec<RequestId>,
    /// An unpredictable name for it.
    name: Option<ReadContext>,
    /// The question that is under way.
    asked: Option<(ReadContext, Vec<RequestId>)>,
    /// Confirmed, and not applied here yet.
    confirmed: BTreeMap<LogIndex, Vec<RequestId>>,
    /// All who have no answer yet.
    open: usize,
}

impl Reads {
    /// Somebody wants to read.
    pub(crate) fn wait(&mut self, request: RequestId, context: ReadContext, out: &mut Vec<Output>) {
        if self.open >= READS_MAX {
            return out.push(Output::ReadAnswer { request, ready: false });
        }
        self.open += 1;
        self.waiting.push(request);
        self.name = Some(context);
    }

    /// Asks the next question, if none is under way.
    pub(crate) fn ask<R: LogReader>(&mut self, core: &mut Core<R>, out: &mut Vec<Output>) {
        if self.asked.is_some() || self.waiting.is_empty() {
            return;
        }
        let Some(context) = self.name.take() else { return };
        let waiting = std::mem::take(&mut self.waiting);
        match core.read_index(context) {
            Ok(()) => self.asked = Some((context, waiting)),
            Err(_) => self.answer(waiting, false, out),
        }
    }

    /// What became of a question.
    pub(crate) fn outcome(&mut self, outcome: ReadOutcome, applied: LogIndex, out: &mut Vec<Output>) {
        let (ReadOutcome::Ready { context, .. } | ReadOutcome::Dropped { context }) = outcome;
        let Some((_, waiting)) = self.asked.take_if(|(asked, _)| *asked == context) else { return };
        match outcome {
            ReadOutcome::Ready { index, .. } if index <= applied => self.answer(waiting, true, out),
            ReadOutcome::Ready { index, .. } => self.confirmed.entry(index).or_default().extend(waiting),
            ReadOutcome::Dropped { .. } => self.answer(waiting, false, out),
        }
    }

    /// This node has applied up to an index.
    pub(crate) fn applied(&mut self, index: LogIndex, out: &mut Vec<Output>) {
        let open = self.confirmed.split_off(&index.next());
        for waiting in std::mem::replace(&mut self.confirmed, open).into_values() {
            self.answer(waiting, true, out);
        }
    }

    fn answer(&mut self, requests: Vec<RequestId>, ready: bool, out: &mut Vec<Output>) {
        self.open -= requests.len();
        out.extend(requests.into_iter().map(|request| Output::ReadAnswer { request, ready }));
    }
}

#[cfg(test)]
mod tests;
