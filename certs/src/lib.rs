//! The X.509 profile of Consilium: who may call itself what, and how that is
//! issued, parsed, verified, revoked and carried over TLS.
//!
//! A member is a SPIFFE trust domain with a CA bundle of its own; an *identity
//! certificate* names exactly one `spiffe://<member>/<role>/<name>` and counts
//! only when it chains to that member's bundle. The general X.509 libraries
//! leave gaps (expired anchors, absent EKU, key usage of leaves, serial rules,
//! CRL numbers); the policy layer here closes them.
//!
//! Steps of a verification: [`IdentityCertificate::parse`] (profile),
//! [`verify_chain`] (path, time, trust domain, revocation), then the caller's
//! own authorisation by role. [`tls`] does this inside the handshake.
//!
//! [`contract`] applies the profile to the ledger's documents, for node and
//! client alike.
//!
//! Of the project's crates this one knows `consilium-proto` alone, whose names
//! its certificates carry. It must never read a clock: time is an argument,
//! except where rustls hands its own to a verifier.

#![forbid(unsafe_code)]

mod ca;
pub mod contract;
mod crl;
mod identity;
mod index;
mod issue;
pub mod pem;
mod profile;
mod reason;
mod reload;
pub mod secret_file;
mod serial;
mod store;
pub mod tls;
mod verify;

pub use ca::{BundleError, CaBundle, CaCertificate, MAX_BUNDLE_CERTIFICATES};
pub use crl::{Crl, CrlError, CrlNumber, MAX_CRL_BYTES, keep_newest};
pub use identity::{IdentityCertificate, MAX_IDENTITY_VALIDITY_DAYS};
pub use index::{IssuedRecord, RevocationRecord};
pub use issue::{IdentityRequest, IssueError, IssuedIdentity, MemberCa, SubjectKey, Validity};
pub use profile::{KeyType, MAX_CERTIFICATE_BYTES, ProfileError, PublicKey};
pub use reason::{RevocationReason, RevokedEntry, UnknownReason};
pub use reload::{LoadedIdentity, Reload, ReloadError, ReloadingResolver, load_identity};
pub use serial::{InvalidSerial, MAX_SERIAL_OCTETS, Serial};
pub use store::{CaStore, IssuedFiles, RevokeTarget, StoreError};
pub use verify::{
    MAX_CHAIN_CERTIFICATES, Purpose, RevocationPolicy, VerifiedChain, VerifyError, chain_not_after, verify_chain,
};
