//! The policies that were compiled lately, so that deciding does not parse. What is kept never
//! changes an answer, only how long it takes.

use std::sync::{Arc, Mutex, PoisonError};

use consilium_proto::access::{Facts, PolicyFault, PolicyRules, permits};
use consilium_proto::pb::AccessGround as Ground;

use crate::{DEFAULT_POLICY, Policies, PolicyProblem, RecursionFault};

/// Texts that are kept: the policy in force, its predecessors in a replay, proposals.
const KEPT_MAX: usize = 8;

type Compiled = Result<Arc<Policies>, PolicyProblem>;

/// Compiles policies, and keeps some.
#[derive(Debug, Default)]
pub struct Engine {
    /// By text, which is compared in less time than it is hashed. The newest last.
    kept: Mutex<Vec<(String, Compiled)>>,
}

impl Engine {
    /// One that keeps nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy, ready to decide.
    ///
    /// # Errors
    /// See [`Policies::compile`].
    pub fn policies(&self, text: &str) -> Result<Arc<Policies>, PolicyProblem> {
        if let Some(compiled) = self.find(text) {
            return compiled;
        }
        // Nobody waits for a text that takes long; two may compile the same.
        let compiled = Policies::compile(text).map(Arc::new);
        self.keep(text, compiled.clone());
        compiled
    }

    /// What a text decides, see [`Policies::decide`]. One that is not a policy denies with
    /// `PolicyError` what the floor permits; it was checked when it was proposed.
    ///
    /// # Errors
    /// A fault of this node.
    pub fn decide(&self, text: &str, facts: &Facts<'_>) -> Result<Ground, RecursionFault> {
        let floor = facts.floor();
        match permits(floor).then(|| self.policies(text)) {
            None => Ok(floor),
            Some(Ok(policies)) => policies.decide_again(facts),
            Some(Err(_)) => Ok(Ground::PolicyError),
        }
    }

    /// The engine of this process: for whoever has no place to keep one.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: Engine = Engine { kept: Mutex::new(Vec::new()) };
        &SHARED
    }

    fn find(&self, text: &str) -> Option<Compiled> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(other, _)| other == text)?;
        kept[at..].rotate_left(1);
        kept.last().map(|(_, compiled)| compiled.clone())
    }

    fn keep(&self, text: &str, compiled: Compiled) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| other != text);
        if kept.len() == KEPT_MAX {
            drop(kept.remove(0));
        }
        kept.push((text.to_owned(), compiled));
    }
}

impl PolicyRules for Engine {
    fn is_policy(&self, text: &str) -> bool {
        self.policies(text).is_ok()
    }

    fn decide(&self, text: Option<&str>, facts: &Facts<'_>) -> Result<Ground, PolicyFault> {
        Self::decide(self, text.unwrap_or(DEFAULT_POLICY), facts).map_err(|fault| PolicyFault(fault.to_string()))
    }
}

#[cfg(test)]
mod tests;
