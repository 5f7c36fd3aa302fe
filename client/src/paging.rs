//! Following the pages of an answer, which a node says there are more of: it must get on with each,
//! and come to something in the end.

use bytes::Bytes;

use crate::error::ClientError;

/// Pages in a row on which nothing stands: on each a node has passed over thousands.
const EMPTY_PAGES_MAX: u32 = 1_000;

/// Where the next page begins. Tokens grow.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    token: Bytes,
    /// Pages in a row on which nothing stood.
    empty: u32,
}

impl Pages {
    /// To be asked with.
    pub(crate) fn token(&self) -> Bytes {
        self.token.clone()
    }

    /// Goes on behind a page that was answered, on which so much stood; whether there is a next one.
    ///
    /// # Errors
    /// If the node gets nowhere.
    pub(crate) fn follow(&mut self, next: &Bytes, stood: usize) -> Result<bool, ClientError> {
        if next.is_empty() {
            return Ok(false);
        }
        if *next <= self.token {
            return Err(ClientError::contradiction("the node goes back to pages that it has answered"));
        }
        self.empty = if stood == 0 { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_PAGES_MAX {
            return Err(ClientError::contradiction("the node answers empty pages for ever"));
        }
        self.token = next.clone();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }

    #[test]
    fn tokens_grow_or_the_node_is_not_followed() {
        let mut pages = Pages::default();
        assert_eq!((pages.token(), pages.follow(&token(7), 1).unwrap()), (Bytes::new(), true));
        assert!(pages.follow(&token(300), 0).unwrap());
        for before in [300, 299, 7, 0] {
            assert!(pages.follow(&token(before), 5).is_err(), "{before}");
        }
        assert_eq!((pages.token(), pages.follow(&Bytes::new(), 0).unwrap()), (token(300), false));
    }

    #[test]
    fn pages_that_grow_for_ever_and_hold_nothing_are_left() {
        let mut pages = Pages::default();
        let mut followed = (1..).take_while(|number| pages.follow(&token(*number), 0).is_ok());
        assert_eq!(followed.by_ref().last(), Some(u64::from(EMPTY_PAGES_MAX)));
        let mut pages = Pages::default();
        assert!(
            (1..=10 * u64::from(EMPTY_PAGES_MAX)).all(|n| pages.follow(&token(n), usize::from(n % 7 == 0)).is_ok())
        );
    }
}
