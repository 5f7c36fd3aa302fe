//! The replica from outside, over the kit's disk, network and keys: inputs in, and
//! the outputs that come.
//!
//! One crate, so that it is built once. Each file covers one concern; `decided`
//! holds the rules that daemon and simulator once had each their own of.
#![allow(clippy::unwrap_used)]

mod attachments;
mod cached;
mod catching_up;
mod chain;
mod clocks;
mod decided;
mod departing;
mod disk;
mod membership;
mod peer;
mod quota;
mod rebuild;
mod recalling;
mod rights;
mod serving;
mod solo;
mod start;
