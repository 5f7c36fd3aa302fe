//! Clients and servers generated from `consilium/v1/*.proto`; their messages are
//! [`consilium_proto::pb`].
//!
//! A crate of its own, so that the pure crates can know the contract without the
//! network: nothing that decides a rule may depend on this one.

mod codec;

pub use codec::BoundedCodec;
pub use services::*;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod services {
    tonic::include_proto!("consilium.v1");
}
