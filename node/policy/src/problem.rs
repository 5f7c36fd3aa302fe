//! Why a text is not an access policy. Told to the person who proposes it; it repeats of the
//! text no more than names. That there is a problem is the same on all nodes; the words of the
//! engine are for people, and must never become part of a block or of the state.

use crate::limits::{
    BRACKETS_MAX, ID_CHARS_MAX, POLICIES_MAX, POLICY_BYTES_MAX, POLICY_NESTED_MAX, POLICY_TOKENS_MAX, TEXT_BYTES_MAX,
};

/// Longest explanation of the engine that is passed on, in bytes.
const MESSAGE_BYTES_MAX: usize = 500;

/// The first thing that is wrong. Lines are counted from 1; where a problem concerns a policy
/// as a whole, it is the line on which the policy begins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyProblem {
    /// The text is too long.
    #[error("the text has {bytes} bytes, more than {TEXT_BYTES_MAX}")]
    TextTooLong {
        /// Of the text.
        bytes: usize,
    },
    /// Without a policy nobody reads anything; who wants that says so with a `forbid`.
    #[error("the text has no policy")]
    NoPolicy,
    /// There are too many policies.
    #[error("line {line}: more than {POLICIES_MAX} policies")]
    TooManyPolicies {
        /// Of the first one that is too many.
        line: usize,
    },
    /// One policy is too long.
    #[error("line {line}: the policy that begins here has more than {POLICY_BYTES_MAX} bytes")]
    PolicyTooLong {
        /// Of its beginning.
        line: usize,
    },
    /// One policy has too many tokens.
    #[error("line {line}: the policy that begins here has more than {POLICY_TOKENS_MAX} tokens")]
    TooManyTokens {
        /// Of its beginning.
        line: usize,
    },
    /// Brackets are nested too deep.
    #[error("line {line}: brackets within brackets, more than {BRACKETS_MAX} deep")]
    TooDeep {
        /// Of the bracket.
        line: usize,
    },
    /// A bracket closes what is not open.
    #[error("line {line}: `{bracket}` closes what is not open")]
    Unbalanced {
        /// Of the bracket.
        line: usize,
        /// The bracket.
        bracket: char,
    },
    /// A string does not end on its line.
    #[error("line {line}: a string that does not end on its line")]
    OpenString {
        /// Of its beginning.
        line: usize,
    },
    /// A character that does not belong there: what cannot be seen anywhere, what is not ASCII
    /// outside comments.
    #[error("line {line}: the character {} is not allowed here", .character.escape_unicode())]
    Character {
        /// Of the character.
        line: usize,
        /// The character.
        character: char,
    },
    /// A placeholder: a template is a policy only with values that nobody has voted on.
    #[error("line {line}: `?` makes a template, and only finished policies are taken")]
    Template {
        /// Of the placeholder.
        line: usize,
    },
    /// A function is called. The schema has no value that one could make or take.
    #[error("line {line}: the function `{name}`: policies call none")]
    Function {
        /// Of the call.
        line: usize,
        /// Its name.
        name: String,
    },
    /// The last policy has no end.
    #[error("line {line}: the policy that begins here does not end with `;`")]
    Unfinished {
        /// Of its beginning.
        line: usize,
    },
    /// A policy has no name.
    #[error(
        "line {line}: the policy that begins here has no @id(\"...\") of 1 to {ID_CHARS_MAX} lower-case letters, \
         digits and `-`"
    )]
    NoId {
        /// Of its beginning.
        line: usize,
    },
    /// Two policies have the same name.
    #[error("line {line}: there is a policy `{id}` already")]
    DuplicateId {
        /// Of the beginning of the second.
        line: usize,
        /// The name.
        id: String,
    },
    /// It is not Cedar.
    #[error("policy `{id}`, line {line}: {message}")]
    Syntax {
        /// Of the policy.
        id: String,
        /// Of its beginning.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// What it says is nested too deep, or its chains are too long.
    #[error(
        "policy `{id}`, line {line}: expressions within expressions, {nested} deep and so more than \
         {POLICY_NESTED_MAX}; make two policies of it, or a list of a chain"
    )]
    TooNested {
        /// Of the policy.
        id: String,
        /// Of its beginning.
        line: usize,
        /// How deep.
        nested: usize,
    },
    /// It is Cedar, but speaks of what is not there, or compares what cannot be compared.
    #[error("policy `{id}`, line {line}: {message}")]
    Invalid {
        /// Of the policy.
        id: String,
        /// Of its beginning.
        line: usize,
        /// What the validator says.
        message: String,
    },
    /// It names an identity, record or purpose that cannot be.
    #[error("policy `{id}`, line {line}: {name} cannot be")]
    NoSuchName {
        /// Of the policy.
        id: String,
        /// Of its beginning.
        line: usize,
        /// As it is written.
        name: String,
    },
}

/// What the engine says, cut to a length that can be logged.
pub(crate) fn message(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let fits = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MESSAGE_BYTES_MAX).last();
    text[..fits.unwrap_or(0)].to_owned()
}
