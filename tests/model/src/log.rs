//! Logs as the model has them: a chain of entries, of which only the term counts, and which of
//! two it is. Two chains are equal exactly if their last entries have the same hash.

use std::fmt;

/// Indexes that fit.
pub const INDEX_MAX: usize = 4;
/// The highest term that fits.
pub const TERM_MAX: u8 = 7;
/// Bits of one entry: its term, then which of two it is.
const BITS: usize = 4;

/// A log, or an entry together with all that is before it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Log(u16);

impl Log {
    /// The log without entries.
    pub const EMPTY: Self = Self(0);

    /// Index of the last entry; zero if there is none.
    #[must_use]
    pub fn len(self) -> usize {
        (16 - self.0.leading_zeros() as usize).div_ceil(BITS)
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn entry(self, index: usize) -> u16 {
        if index == 0 { 0 } else { self.0 >> (BITS * (index - 1)) & 0xf }
    }

    /// Term of an entry; zero if there is none.
    #[must_use]
    pub fn term_at(self, index: usize) -> u8 {
        (self.entry(index) >> 1) as u8
    }

    /// Which of two entries of its index and term it is.
    #[must_use]
    pub fn variant_at(self, index: usize) -> bool {
        self.entry(index) & 1 == 1
    }

    /// Term of the last entry; zero if there is none.
    #[must_use]
    pub fn last_term(self) -> u8 {
        self.term_at(self.len())
    }

    /// The first entries.
    #[must_use]
    pub fn prefix(self, len: usize) -> Self {
        let bits = BITS * len;
        if bits >= 16 { self } else { Self(self.0 & ((1 << bits) - 1)) }
    }

    /// With one more entry.
    #[must_use]
    pub fn push(self, term: u8, variant: bool) -> Self {
        let entry = u16::from(term) << 1 | u16::from(variant);
        Self(self.0 | entry << (BITS * self.len()))
    }

    /// Whether the other one is where this one begins.
    #[must_use]
    pub fn starts_with(self, other: Self) -> bool {
        self.prefix(other.len()) == other
    }

    /// Whether one of the two is where the other one begins.
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        self.starts_with(other) || other.starts_with(self)
    }

    /// The same terms; all the first of two.
    #[must_use]
    pub fn shape(self) -> Self {
        Self(self.0 & 0xeeee)
    }

    /// The same but for the last entry, which is the first of two.
    #[must_use]
    pub fn sibling(self) -> Self {
        let len = self.len().max(1);
        Self(self.0 & !(1 << (BITS * (len - 1))))
    }

    /// All logs of at most so many entries, none of a term beyond `term`, that somebody who
    /// makes entries up can have.
    #[must_use]
    pub fn all(indexes: usize, term: u8) -> Vec<Self> {
        let mut all = vec![Self::EMPTY];
        let mut at = 0;
        while let Some(log) = all.get(at).copied() {
            at += 1;
            if log.len() < indexes {
                let terms = log.last_term().max(1)..=term;
                all.extend(terms.flat_map(|term| [log.push(term, false), log.push(term, true)]));
            }
        }
        all.remove(0);
        all
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = |index| format!("{}{}", self.term_at(index), if self.variant_at(index) { "'" } else { "" });
        let entries: Vec<String> = (1..=self.len()).map(entry).collect();
        write!(f, "[{}]", entries.join(" "))
    }
}
