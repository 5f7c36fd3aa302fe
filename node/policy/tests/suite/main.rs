//! The access policy as its users see it: texts and facts in, grounds out.

#![allow(missing_docs, clippy::unwrap_used)]

mod case;
mod corpus;
mod default_policy;
mod floor;
mod hostile;
mod model;
