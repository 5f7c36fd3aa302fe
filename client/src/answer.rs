//! What an answer is worth: proven, or a node's word. Which answers are which stands in
//! docs/guarantees.md, "What stays a node's word".

use consilium_proto::header::Header;
use consilium_proto::ids::{Height, TimeMs};

/// Proven against a certified header: no node can have made it up. That it is the newest, a
/// header can only say for its own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven<T> {
    value: T,
    height: Height,
    time: TimeMs,
}

impl<T> Proven<T> {
    /// Only for what was verified under this header, which is final.
    pub(crate) fn under(header: &Header, value: T) -> Self {
        Self { value, height: header.height, time: header.time }
    }

    /// The height of the header.
    #[must_use]
    pub fn height(&self) -> Height {
        self.height
    }

    /// The block time of the header: the value was so then.
    #[must_use]
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// The value alone.
    #[must_use]
    pub fn into_value(self) -> T {
        self.value
    }

    /// A part, or a conclusion, of what is proven.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Proven<U> {
        Proven { value: f(self.value), height: self.height, time: self.time }
    }
}

impl<T> Proven<Option<T>> {
    /// What is there, if it is proven that something is.
    #[must_use]
    pub fn transpose(self) -> Option<Proven<T>> {
        let Self { value, height, time } = self;
        value.map(|value| Proven { value, height, time })
    }
}

impl<T> std::ops::Deref for Proven<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The answering node's word, which nothing proves. Whoever uses it says so, by the
/// names of the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed<T>(T);

impl<T> Claimed<T> {
    /// Something that is not proven.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// What the node says.
    #[must_use]
    pub fn claimed(&self) -> &T {
        &self.0
    }

    /// What the node says.
    #[must_use]
    pub fn into_claimed(self) -> T {
        self.0
    }
}
