//! A load test that measures what a caller waits for.
//!
//! Closed loop: each client has one transaction outstanding and sends the next
//! one when the answer is there. Payload ciphertexts and key wraps come from a
//! small pool made before the timing; nonce, record id and signature of each
//! transaction are its own and made in the timed loop. Only transactions that
//! took effect count. Nothing is retried: a refused one is an error of its
//! reason, and its client goes on with a new one after a short wait.

mod load;
mod process;
mod stats;

pub use load::{BenchPlan, run};
pub use process::{CpuTime, parse_stat};
pub use stats::{Row, Tally, table};
