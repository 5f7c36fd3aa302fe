//! I2, G2: at most one certified block per height, over all nodes and all time.

use std::collections::BTreeMap;

use consilium_proto::ids::{HeaderHash, Height};

use super::Check;

/// Every certified header ever seen.
#[derive(Default)]
pub struct OneCertificate {
    by_height: BTreeMap<Height, HeaderHash>,
}

impl OneCertificate {
    /// A header was certified, by a certificate that verifies.
    ///
    /// # Errors
    /// If another one was.
    pub fn certified(&mut self, height: Height, hash: HeaderHash) -> Check {
        let first = *self.by_height.entry(height).or_insert(hash);
        if first == hash { Ok(()) } else { Err(format!("two headers are certified at height {height}")) }
    }

    /// The certified header of a height, if there is one over exactly it.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<HeaderHash> {
        self.by_height.get(&height).copied()
    }

    /// The highest certified height.
    #[must_use]
    pub fn highest(&self) -> Height {
        self.by_height.last_key_value().map_or(Height::GENESIS, |(height, _)| *height)
    }
}
