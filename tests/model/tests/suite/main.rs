//! What the model finds with the rules as they are, without each of them, and whether the real
//! code goes the same way.
#![allow(clippy::unwrap_used)]

mod agreement;
mod paths;
mod replay;
mod rules;
mod stops;
