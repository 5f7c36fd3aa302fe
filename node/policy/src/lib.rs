//! The access policy: what of that which the floor permits is permitted by the network's own
//! text, in the language Cedar.
//!
//! A policy narrows and never widens: the floor of [`consilium_proto::access`] is asked first,
//! and a policy that fails denies. Every node must decide alike, so nothing here may look at a
//! clock, a file, an unordered map, or at how much of the stack is left: where Cedar gives up
//! for want of stack, that is a [`RecursionFault`] of the node and never a decision.
//!
//! Text is bounded by a scanner of our own before Cedar's parser sees it, since that one
//! recurses and overflows the stack of a thread ([`limits`]).

mod answers;
mod engine;
mod language;
pub mod limits;
mod policies;
mod problem;
mod question;
mod scan;
mod stack;

pub use engine::Engine;
pub use policies::{Policies, RecursionFault};
pub use problem::PolicyProblem;

/// The policy of a network that has not decided on another one.
pub const DEFAULT_POLICY: &str = include_str!("default.cedar");

/// What a policy can speak of, in Cedar's language of schemas.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// Which program decides. Another one may decide otherwise, and so needs a new protocol
/// version, after the golden corpus and a replay of the chain agree.
pub const ENGINE_VERSION: &str = "cedar-policy 4.14.1";

/// Whether a text is a policy: within the limits, well formed, and valid under the schema.
///
/// # Errors
/// The first problem, with the line and the policy.
pub fn check(text: &str) -> Result<(), PolicyProblem> {
    Policies::compile(text).map(|_| ())
}
