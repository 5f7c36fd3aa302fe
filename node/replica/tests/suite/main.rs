//! The replica from outside, over the kit's disk, network and keys: inputs in, and
//! the outputs that come.
//!
//! One crate, so that it is built once. Each file covers one concern.
#![allow(clippy::unwrap_used)]

mod solo;
