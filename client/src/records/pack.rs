//! Which records share a transaction. Pure arithmetic over sizes.

use std::ops::Range;

use consilium_proto::limits::{ACTIONS_MAX, BODY_BYTES_MAX, TRANSACTION_BYTES_MAX};
use consilium_proto::parameters::Parameters;

/// Bytes kept free in a transaction for its frame: ids, signature, lengths.
const FRAME_BYTES: usize = 4 * 1024;

/// Bytes that something adds to a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// To its signed body.
    pub body: usize,
    /// To body and attachments together.
    pub total: usize,
}

/// What fits into one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Actions.
    pub actions_max: usize,
    /// Bytes of the body.
    pub body_bytes_max: usize,
    /// Bytes of body and attachments.
    pub bytes_max: usize,
}

impl PackLimits {
    /// The limits of every ledger, lowered to what one block of this one takes.
    #[must_use]
    pub fn of(parameters: &Parameters) -> Self {
        let block = parameters.block_bytes_max as usize;
        Self {
            actions_max: ACTIONS_MAX,
            body_bytes_max: BODY_BYTES_MAX - FRAME_BYTES,
            bytes_max: TRANSACTION_BYTES_MAX.min(block) - FRAME_BYTES,
        }
    }

    /// Whether `count` records of this size together fit.
    #[must_use]
    pub fn fits(&self, count: usize, size: Size) -> bool {
        count <= self.actions_max && size.body <= self.body_bytes_max && size.total <= self.bytes_max
    }
}

/// Cuts a sequence into consecutive ranges that fit, each as long as it can
/// be. A single item that fits nowhere gets a range of its own; nodes will
/// say precisely why they refuse it.
#[must_use]
pub fn pack(sizes: &[Size], limits: &PackLimits) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut sum) = (0, Size::default());
    for (i, size) in sizes.iter().enumerate() {
        let with = Size { body: sum.body + size.body, total: sum.total + size.total };
        if i > start && !limits.fits(i - start + 1, with) {
            ranges.push(start..i);
            (start, sum) = (i, *size);
        } else {
            sum = with;
        }
    }
    if start < sizes.len() {
        ranges.push(start..sizes.len());
    }
    ranges
}

#[cfg(test)]
mod tests;
