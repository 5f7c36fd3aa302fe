//! TLS: the verifiers and configurations of every connection of the network.
//!
//! TLS 1.3 only, mutual, the hybrid X25519MLKEM768 key exchange offered first,
//! ALPN `h2`, ECDSA P-256/P-384 only. No resumption of any kind: it would carry
//! a client's chain over without verifying it again, and outlive a revocation.
//! A peer is who its certificate 0 says by SPIFFE id; DNS names are ignored.
//!
//! Trust is looked up per handshake in a [`TrustSource`], so a block that
//! changes a bundle, a CRL or a member's standing holds from the next
//! handshake; cutting *open* connections is the caller's duty. A refused peer
//! gets a generic alert, the reason goes to the [`RefusalHook`] alone.

mod algorithms;
mod config;
mod dial;
mod plausible;
mod trust;
mod verifier;

pub use config::{ALPN_H2, client_config, first_contact_config, peer_identity, provider, server_config};
pub use dial::{ADDRESSES_MAX, DialError, dial};
pub use plausible::PlausibleServerVerifier;
pub use trust::{MemberTrust, StaticTrust, TrustSource};
pub use verifier::{ConsiliumClientVerifier, ConsiliumServerVerifier, ExpectedServer, RefusalHook};
