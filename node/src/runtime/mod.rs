//! The threads of a node, and how they are wired.
//!
//! ```text
//! network (tokio) --submissions--> verifiers --+
//!      |                              ^        |
//!      +--messages, questions---------|--> replica (one thread, decides everything)
//!      ^                              |     |        |           |
//!      |                              +-----+   log writer   vote writer
//!      +--messages, answers, news-----------+        |           |
//!                                           ^--------+-----------+ reports
//! ```
//!
//! Nothing here decides: `replica_thread` gives the replica what came in, and
//! `perform` does what it asks for. A fault or a panic of any thread stops the
//! node; a failed write is never tried again on the same handles.

pub(crate) mod audit;
pub(crate) mod disk;
mod divergence;
mod duties;
mod fetch;
pub(crate) mod identities;
pub mod node;
mod perform;
pub mod repair;
mod replica_thread;
mod services;
mod threads;
mod verifier;
mod writers;

pub use self::threads::end_process_on_panic;
