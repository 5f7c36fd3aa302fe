//! The rules from outside: blocks in, rows, outcomes and headers out. Each file
//! covers one concern. One binary, so that it links once.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod attachments;
mod custody;
mod epochs;
mod events;
mod evidence;
mod execute;
mod governance;
mod identities;
mod members;
mod nodes;
mod participation;
mod patients;
mod records;
mod rights;
mod rotation;
mod stake;
