//! Descriptors: the search tags of a version, as an attachment. A body commits to a
//! descriptor by its SHA-256 and says nothing of what is in it, so that the tags can be
//! erased; the salt keeps whoever has the search key from trying values against that hash
//! afterwards. Never a part of what is hashed into the ledger.

use bytes::Bytes;

use crate::hash::{Hash, sha256};
use crate::ids::SearchTag;
use crate::limits::TAGS_MAX;
use crate::random::{RandomUnavailable, random_array};

const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// The search tags of a version, and their salt. Encoded as the salt (16 bytes) and the tags
/// (16 bytes each, 1 to [`TAGS_MAX`], strictly ascending).
#[derive(Clone, PartialEq, Eq)]
pub struct Descriptor {
    salt: [u8; SALT_LEN],
    tags: Vec<SearchTag>,
}

impl Descriptor {
    /// Of tags in any order, of which the first [`TAGS_MAX`] count; `None` if there are none.
    ///
    /// # Errors
    /// If the randomness of the operating system fails.
    pub fn new(tags: impl IntoIterator<Item = SearchTag>) -> Result<Option<Self>, RandomUnavailable> {
        let mut tags: Vec<_> = tags.into_iter().take(TAGS_MAX).collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { salt: random_array()?, tags }))
    }

    /// Reads it back.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (salt, tags) = bytes.split_first_chunk::<SALT_LEN>().ok_or("is shorter than a salt")?;
        let (tags, rest) = tags.as_chunks::<TAG_LEN>();
        if !rest.is_empty() || tags.is_empty() || tags.len() > TAGS_MAX {
            return Err("does not hold 1 to 32 search tags");
        }
        if !tags.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err("holds search tags that are not strictly ascending");
        }
        Ok(Self { salt: *salt, tags: tags.iter().copied().map(SearchTag).collect() })
    }

    /// See the type.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = self.salt.to_vec();
        self.tags.iter().for_each(|tag| bytes.extend_from_slice(&tag.0));
        bytes.into()
    }

    /// What a body commits to it by.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::from_bytes(sha256(&[&self.encode()]))
    }

    /// Ascending.
    #[must_use]
    pub fn tags(&self) -> &[SearchTag] {
        &self.tags
    }
}

/// Says how many; the tags are about a patient.
impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor").field("tags", &self.tags.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tags_are_sorted_and_come_back() {
        let tags = [3, 1, 3, 2].map(|n| SearchTag([n; 16]));
        let made = Descriptor::new(tags).unwrap().unwrap();
        assert_eq!(made.tags(), [1, 2, 3].map(|n| SearchTag([n; 16])));
        assert_eq!(Descriptor::decode(&made.encode()), Ok(made.clone()));
        assert_ne!(Descriptor::new(tags).unwrap().unwrap().hash(), made.hash(), "salted");
        assert_eq!(Descriptor::new([]).unwrap(), None);
    }

    #[test]
    fn other_forms_are_refused() {
        let good = Descriptor::new([1, 2].map(|n| SearchTag([n; 16]))).unwrap().unwrap().encode();
        let swapped = [&good[..16], &good[32..], &good[16..32]].concat();
        let many = [vec![0; 16], (0..=TAGS_MAX as u8).flat_map(|n| [n; 16]).collect()].concat();
        for wrong in [&good[..15], &good[..16], &good[..47], &swapped, &many] {
            assert!(Descriptor::decode(wrong).is_err(), "{wrong:?}");
        }
        assert!(Descriptor::decode(&many[..many.len() - 16]).is_ok());
    }
}
