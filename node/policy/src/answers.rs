//! What policies have answered lately: most requests of a network ask one of a few questions, and
//! evaluating a policy costs more than all the rest of a decision. What is kept never changes an
//! answer, only how long it takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::policies::Answer;
use crate::question::Question;

/// Questions that are kept, of some 200 bytes each. Who asks more different ones than that gets
/// every answer made anew.
const KEPT_MAX: usize = 4_096;

/// See the module.
#[derive(Default)]
pub(crate) struct Answers(Mutex<BTreeMap<Question, Answer>>);

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Who asked for what is nobody's business.
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Answers {
    pub(crate) fn find(&self, question: &Question) -> Option<Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(question).copied()
    }

    pub(crate) fn keep(&self, question: Question, answer: Answer) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(question, answer);
    }
}

#[cfg(test)]
mod tests;
