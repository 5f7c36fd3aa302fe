//! Who is who: the X.509 profile applied to the ledger's members.
//!
//! [`rules`] answers the ledger's questions as a pure function; [`trust`]
//! answers the handshake's from the ledger's newest state; [`forecast`] tells
//! when identities end; [`invitation`] stands in for the ledger while a node that
//! joins has no state yet.

pub mod endorsement;
pub mod forecast;
pub mod invitation;
pub mod rules;
pub mod trust;
