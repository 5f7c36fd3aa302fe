//! The daemon's parts from outside. One binary, so that it links once.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod panics;
mod protocol;
