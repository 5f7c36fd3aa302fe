//! Randomness from the operating system, in the shapes that the libraries want.
//!
//! Everything secret that this crate makes (keys, nonces, encapsulations) comes
//! from here, through `aws_lc_rs::rand`. This module never uses a generator with
//! a seed of its own and never hides a failure: the traits of `rand_core` have no
//! error channel, so [`OsRandom`] remembers a failure and its user must ask
//! [`OsRandom::failed`] before it uses a result.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};

/// The operating system refused to give random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct RandomUnavailable;

/// `N` fresh random bytes.
pub(crate) fn random_array<const N: usize>() -> Result<[u8; N], RandomUnavailable> {
    let mut bytes = [0u8; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| RandomUnavailable)?;
    Ok(bytes)
}

/// A source for `rand_core` 0.6 (Ed25519 batches) and 0.10 (HPKE) alike.
///
/// After a failure it hands out zeros, so whatever was computed with it is
/// worthless: check [`Self::failed`] and throw the result away.
#[derive(Debug, Default)]
pub(crate) struct OsRandom {
    failed: bool,
}

impl OsRandom {
    /// Whether any request so far could not be served.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    fn fill(&mut self, dest: &mut [u8]) {
        if aws_lc_rs::rand::fill(dest).is_err() {
            dest.fill(0);
            self.failed = true;
        }
    }

    fn word<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0u8; N];
        self.fill(&mut bytes);
        bytes
    }
}

impl rand_core::RngCore for OsRandom {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.word())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.word())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.fill(dest);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill(dest);
        Ok(())
    }
}

impl rand_core::CryptoRng for OsRandom {}

impl TryRng for OsRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.word()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.word()))
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        self.fill(dest);
        Ok(())
    }
}

impl TryCryptoRng for OsRandom {}
