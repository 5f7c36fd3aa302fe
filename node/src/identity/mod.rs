//! Who is who: the X.509 profile applied to the ledger's members.
//!
//! What certificates and documents have to be is written in
//! `consilium_certs::contract`. [`rules`] hands it to the ledger; [`trust`]
//! answers the handshake's questions from the ledger's newest state; [`forecast`]
//! tells when identities end; [`invitation`] stands in for the ledger while a node
//! that joins has no state yet.

pub mod forecast;
pub mod invitation;
pub mod rules;
pub mod trust;
