//! How much stands on a page. The libraries of most languages take an answer of four megabytes and no
//! more, and say nothing of what they have thrown away: a page ends before that, and the next begins
//! with what did not fit.

/// Bytes of what is listed on a page; what stands around it takes little.
pub(super) const PAGE_BYTES: usize = 3_500_000;

/// What is on a page, in bytes.
#[derive(Debug, Default)]
pub(super) struct Filled(usize);

impl Filled {
    /// Puts something on the page if it fits: the first thing does always. Whether it did.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        let filled = self.0.saturating_add(bytes.max(1));
        if self.0 > 0 && filled > PAGE_BYTES {
            return false;
        }
        self.0 = filled;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_before_what_does_not_fit() {
        let mut page = Filled::default();
        assert!([PAGE_BYTES / 2, PAGE_BYTES / 2].map(|bytes| page.takes(bytes)) == [true; 2]);
        assert!(!page.takes(1) && !page.takes(0));
        let mut large = Filled::default();
        assert!(large.takes(10 * PAGE_BYTES), "or it would never be shown");
        assert!(!large.takes(1));
    }
}
