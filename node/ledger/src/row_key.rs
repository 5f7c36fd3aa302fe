//! Keys of rows that are kept in order, with their first bytes as a number. Most differ in
//! these: they are compared without a look at the key itself, which lies elsewhere in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;

/// The first bytes of a key, as a number that is in the same order; zeros behind a shorter one.
#[must_use]
pub fn first_bytes(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = key.len().min(first.len());
    first[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(first)
}

/// A key that is owned, in the order of its bytes.
#[derive(Debug, Clone)]
pub struct RowKey {
    first: u64,
    bytes: Vec<u8>,
}

/// One that is asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    first: u64,
    bytes: &'a [u8],
}

impl<'a> Asked<'a> {
    /// All of its bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { first: first_bytes(bytes), bytes }
    }
}

impl From<Vec<u8>> for RowKey {
    fn from(bytes: Vec<u8>) -> Self {
        Self { first: first_bytes(&bytes), bytes }
    }
}

impl From<RowKey> for Vec<u8> {
    fn from(key: RowKey) -> Self {
        key.bytes
    }
}

/// Either of them.
pub trait Keyed {
    /// Its [`first_bytes`].
    fn first(&self) -> u64;
    /// All of it.
    fn bytes(&self) -> &[u8];
}

impl Keyed for RowKey {
    fn first(&self) -> u64 {
        self.first
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Keyed for Asked<'_> {
    fn first(&self) -> u64 {
        self.first
    }

    fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of two keys whose numbers are equal one may be shorter.
        self.first().cmp(&other.first()).then_with(|| self.bytes().cmp(other.bytes()))
    }
}

impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Keyed + '_ {}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.first.cmp(&other.first).then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for RowKey {}

impl<'a> Borrow<dyn Keyed + 'a> for RowKey {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_bytes(
            a in prop::collection::vec(0u8..3, 0..12),
            b in prop::collection::vec(0u8..3, 0..12),
        ) {
            let (left, right) = (RowKey::from(a.clone()), RowKey::from(b.clone()));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert_eq!(left == right, a == b);
            let asked = Asked::new(&a);
            let asked: &dyn Keyed = &asked;
            prop_assert_eq!(asked.cmp(right.borrow()), a.cmp(&b));
        }
    }
}
