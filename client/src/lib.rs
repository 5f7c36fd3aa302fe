//! The Consilium SDK.
//!
//! [`Client`] holds an identity, the genesis of one ledger and connections to
//! its nodes. It signs transactions, submits them until their fate is known,
//! talks to nodes of its own member unless told otherwise, and believes none:
//! receipts, heads, recipients' keys and followed blocks
//! are verified under the validators, who are followed from the genesis document
//! through all elections. On top of it stand [`records`]
//! (encryption and key wraps), [`fhir`] (import) and [`archive`] (a ledger as
//! a file, verified offline).
//!
//! Plaintext and private keys stay in this process: nothing here may send
//! them, log them, or put them into an error.
//!
//! ```no_run
//! use consilium_client::{Client, Profile, pb};
//!
//! # async fn example(actions: Vec<pb::Action>) -> Result<(), consilium_client::ClientError> {
//! let profile = Profile {
//!     genesis: Some("genesis.pb".into()),
//!     certificate: Some("service-ehr.pem".into()),
//!     key: Some("service-ehr.key".into()),
//!     ..Profile::default()
//! };
//! let client = Client::connect(profile).await?;
//! let transaction = client.sign(actions, Vec::new())?;
//! let done = client.submit(transaction, pb::WaitFor::Certified).await?.into_applied()?;
//! println!("certified at height {}", done.height);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod access_log;
pub mod age;
pub mod answer;
pub mod archive;
pub mod bulk;
pub mod ceremony;
pub mod changes;
pub mod client;
pub mod clock;
pub mod consents;
mod counts;
pub mod custodian;
pub mod disclosures;
pub mod documents;
pub mod emergencies;
pub mod endpoint;
mod enroll;
pub mod error;
pub mod false_answer;
pub mod fhir;
pub mod files;
#[cfg(test)]
mod fixture;
mod following;
pub mod governance;
mod guarded;
pub mod identity;
mod inquiry;
pub mod jwk;
pub mod labels;
pub mod light_client;
pub mod links;
pub mod list_proofs;
pub mod membership;
pub mod nodes_of;
pub mod notices;
mod paging;
pub mod parameters;
pub mod patients;
pub mod petitions;
pub mod profile;
mod proven;
pub mod reach;
pub mod receipts;
pub mod record_lists;
pub mod records;
pub mod retry;
mod roster;
pub mod standing;
pub mod submit;
pub mod submit_lane;
pub mod transport;
pub mod trust;
pub mod validators;
pub mod watch;

pub use age::HeadAge;
pub use answer::{Claimed, Proven};
pub use client::Client;
pub use consilium_proto::pb;
pub use error::{ClientError, Unverified};
pub use false_answer::FalseAnswer;
pub use identity::Identity;
pub use nodes_of::NodesOf;
pub use profile::Profile;
pub use submit::Submitted;
