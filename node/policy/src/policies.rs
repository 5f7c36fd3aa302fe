//! A policy that was checked, and what it decides.

use cedar_policy::{
    AuthorizationError, Decision, EvaluationError, Policy, PolicyId, PolicySet, Request, ValidationMode,
};
use consilium_proto::access::{Facts, permits};
use consilium_proto::pb::AccessGround as Ground;

use crate::answers::Answers;
use crate::language::LANGUAGE;
use crate::limits::POLICY_NESTED_MAX;
use crate::problem::{PolicyProblem, message};
use crate::question::{Names, Question, Unasked};
use crate::scan::{Piece, scan};
use crate::stack;

/// The stack of this node did not suffice to decide. It says nothing of the request: other
/// nodes will have decided, and this one must stop rather than record a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deciding by the access policy needs more stack than there is")]
pub struct RecursionFault;

/// Policies that have passed every check.
#[derive(Debug)]
pub struct Policies {
    set: PolicySet,
    names: Names,
    answers: Answers,
}

impl Policies {
    /// Checks a text and makes it ready to decide.
    ///
    /// # Errors
    /// The first problem, with the line and the policy.
    pub fn compile(text: &str) -> Result<Self, PolicyProblem> {
        let pieces = scan(text)?;
        stack::own(|| compile(&pieces))
    }

    /// The ground on which a request is permitted, or why it is not. Where the floor denies,
    /// this is its answer; where it permits, the policy may still deny: with `Policy` because it
    /// says so, with `PolicyError` because one of its policies failed, whichever.
    ///
    /// # Errors
    /// A fault of this node.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Ground, RecursionFault> {
        self.decide_with(facts, |question| self.ask(&question))
    }

    /// The same, from what was answered before if the same was asked.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub fn decide_again(&self, facts: &Facts<'_>) -> Result<Ground, RecursionFault> {
        self.decide_with(facts, |question| {
            let question = question.asked_of_such_as_name(self.names);
            match self.answers.find(&question) {
                Some(answer) => Ok(answer),
                None => self.ask(&question).inspect(|answer| self.answers.keep(question, *answer)),
            }
        })
    }

    #[cfg(test)]
    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    fn decide_with(
        &self,
        facts: &Facts<'_>,
        ask: impl FnOnce(Question) -> Result<Answer, RecursionFault>,
    ) -> Result<Ground, RecursionFault> {
        let floor = facts.floor();
        if !permits(floor) {
            return Ok(floor);
        }
        let Some(question) = Question::of(facts, floor) else { return Ok(Ground::Policy) };
        Ok(match ask(question)? {
            Answer::Permit => floor,
            Answer::Deny => Ground::Policy,
            Answer::Failed => Ground::PolicyError,
        })
    }

    /// Which policies decide a request of which the floor permits something, in the order of their
    /// names: those that permit it, or those that forbid it. None: the floor denies, no policy
    /// permits it, or one failed. For people who try a text out, and never for a block.
    ///
    /// # Errors
    /// A fault of this machine.
    pub fn rules_that_decide(&self, facts: &Facts<'_>) -> Result<Vec<String>, RecursionFault> {
        match self.decide(facts)? {
            decided if permits(decided) || decided == Ground::Policy => {}
            _ => return Ok(Vec::new()),
        }
        let Some(question) = Question::of(facts, facts.floor()) else { return Ok(Vec::new()) };
        stack::enough(|| {
            let Ok(request) = question.request() else { return Ok(Vec::new()) };
            let response = LANGUAGE.authorizer.is_authorized(&request, &self.set, &LANGUAGE.entities);
            let mut rules: Vec<_> = response.diagnostics().reason().map(ToString::to_string).collect();
            rules.sort_unstable();
            Ok(rules)
        })
    }

    fn ask(&self, question: &Question) -> Result<Answer, RecursionFault> {
        stack::enough(|| self.ask_here(question))
    }

    /// On the stack that there is.
    fn ask_here(&self, question: &Question) -> Result<Answer, RecursionFault> {
        match question.request() {
            Ok(request) => self.evaluate(&request),
            Err(Unasked::Stack) => Err(RecursionFault),
            Err(Unasked::Refused) => Ok(Answer::Failed),
        }
    }

    /// Cedar leaves out a policy that fails, and so loses a `forbid`: here it fails the answer.
    fn evaluate(&self, request: &Request) -> Result<Answer, RecursionFault> {
        let response = LANGUAGE.authorizer.is_authorized(request, &self.set, &LANGUAGE.entities);
        // All are looked at: which comes first is not the same on all nodes.
        let mut failed = false;
        for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
            match error.inner() {
                EvaluationError::RecursionLimit(_) => return Err(RecursionFault),
                _ => failed = true,
            }
        }
        Ok(match response.decision() {
            _ if failed => Answer::Failed,
            Decision::Allow => Answer::Permit,
            Decision::Deny => Answer::Deny,
        })
    }
}

/// What Cedar answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Permit,
    Deny,
    Failed,
}

fn compile(pieces: &[Piece<'_>]) -> Result<Policies, PolicyProblem> {
    let mut set = PolicySet::new();
    let mut names = Names { identities: false, records: false };
    for piece in pieces {
        let policy = parse(piece)?;
        let named = policy.entity_literals();
        names.identities |= named.iter().any(|name| LANGUAGE.is_identity(name));
        names.records |= named.iter().any(|name| LANGUAGE.is_record(name));
        set.add(policy).map_err(|e| syntax(piece, &e))?;
    }
    validate(&set, pieces)?;
    Ok(Policies { set, names, answers: Answers::default() })
}

/// Parses one policy, and makes sure that it was cut out as Cedar understands it. What is kept
/// is the policy without its places in the text, which Cedar would copy at every step of every
/// decision; it is this one that is validated.
fn parse(piece: &Piece<'_>) -> Result<Policy, PolicyProblem> {
    let policy = Policy::parse(Some(PolicyId::new(piece.id)), piece.text).map_err(|e| syntax(piece, &e))?;
    if policy.annotation("id") != Some(piece.id) {
        return Err(syntax(piece, &"its @id is not what it seems to be"));
    }
    if let Some(name) = policy.entity_literals().into_iter().find(|name| !LANGUAGE.can_be(name)) {
        return Err(PolicyProblem::NoSuchName { id: piece.id.to_owned(), line: piece.line, name: message(&name) });
    }
    let form = policy.to_json().map_err(|e| syntax(piece, &e))?;
    let nested = expressions_deep(&form.to_string()) + piece.clauses;
    if nested > POLICY_NESTED_MAX {
        return Err(PolicyProblem::TooNested { id: piece.id.to_owned(), line: piece.line, nested });
    }
    Policy::from_json(Some(PolicyId::new(piece.id)), form).map_err(|e| syntax(piece, &e))
}

/// How deep a policy is nested, told from its form in JSON: there an expression within another
/// one stands in two brackets more, and the outermost in three.
fn expressions_deep(form: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in form.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => open += 1,
            b'}' | b']' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most.saturating_sub(3).div_ceil(2)
}

/// Strict validation; what the validator only warns of, such as a policy that can never apply,
/// is a mistake, too. The first in the order of the text is told.
fn validate(set: &PolicySet, pieces: &[Piece<'_>]) -> Result<(), PolicyProblem> {
    let result = LANGUAGE.validator.validate(set, ValidationMode::Strict);
    let errors = result.validation_errors().map(|e| (false, e.policy_id(), message(e)));
    let warnings = result.validation_warnings().map(|w| (true, w.policy_id(), message(w)));
    let found: Vec<_> = errors.chain(warnings).collect();
    let of = |id: &str| {
        let of = found.iter().filter(|(_, other, _)| AsRef::<str>::as_ref(*other) == id);
        of.map(|(is_warning, _, message)| (is_warning, message)).min()
    };
    let first = pieces.iter().find_map(|piece| Some((piece, of(piece.id)?.1)));
    match (first, found.is_empty()) {
        (None, true) => Ok(()),
        (Some((piece, message)), _) => {
            let message = message.trim_start_matches(&format!("for policy `{}`, ", piece.id)).to_owned();
            Err(PolicyProblem::Invalid { id: piece.id.to_owned(), line: piece.line, message })
        }
        (None, false) => Err(PolicyProblem::Invalid { id: String::new(), line: 1, message: message(&result) }),
    }
}

fn syntax(piece: &Piece<'_>, problem: &dyn std::fmt::Display) -> PolicyProblem {
    PolicyProblem::Syntax { id: piece.id.to_owned(), line: piece.line, message: message(problem) }
}

#[cfg(test)]
mod tests;
