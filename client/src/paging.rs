//! Following the pages of an answer, which a node says there are more of: it must get on with each,
//! and come to something in the end. A page is known to the node alone that has told of it, and until that
//! is started anew; with another one a list is begun again.

use bytes::Bytes;

use crate::error::ClientError;

/// The reason of a node that does not know a page: it is of another node, or from before a start.
const UNKNOWN_PAGE: &str = "PAGE_TOKEN_REFUSED";
/// How often a list is begun again: nodes are seldom left or started anew, and in a row they never are.
const ANEW_MAX: u32 = 4;

/// Whether a node says that it does not know a page.
pub(crate) fn is_unknown_page(error: &ClientError) -> bool {
    matches!(error, ClientError::Status { reason, .. } if reason == UNKNOWN_PAGE)
}

/// Puts a list together from all of its pages, by what follows them from the first on; again from the
/// first where a node does not know the pages of another.
///
/// # Errors
/// As of what follows them.
pub(crate) async fn whole<T, F>(follow: impl Fn() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let mut anew = 0;
    loop {
        match follow().await {
            Err(error) if is_unknown_page(&error) && anew < ANEW_MAX => anew += 1,
            done => return done,
        }
    }
}

/// Pages in a row on which nothing stands: on each a node has passed over thousands.
const EMPTY_PAGES_MAX: u32 = 1_000;

/// Where the next page begins. Tokens grow.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    token: Bytes,
    /// Pages in a row on which nothing stood.
    empty: u32,
    /// How often the list was begun again.
    anew: u32,
}

impl Pages {
    /// To be asked with.
    pub(crate) fn token(&self) -> Bytes {
        self.token.clone()
    }

    /// Goes back to the first page if that is what an error calls for; whether it did.
    pub(crate) fn begin_anew(&mut self, error: &ClientError) -> bool {
        let again = is_unknown_page(error) && !self.token.is_empty() && self.anew < ANEW_MAX;
        if again {
            *self = Self { anew: self.anew + 1, ..Self::default() };
        }
        again
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

    fn refused(reason: &str) -> ClientError {
        ClientError::Status { code: tonic::Code::InvalidArgument, reason: reason.into(), message: String::new() }
    }

    #[test]
    fn a_list_is_begun_again_where_its_page_is_not_known() {
        let mut pages = Pages::default();
        assert!(!pages.begin_anew(&refused(UNKNOWN_PAGE)), "the first page is known to every node");
        for _ in 0..ANEW_MAX {
            assert!(pages.follow(&token(7), 1).unwrap());
            assert!(!pages.begin_anew(&refused("INVALID_ARGUMENT")));
            assert!(pages.begin_anew(&refused(UNKNOWN_PAGE)));
            assert_eq!(pages.token(), Bytes::new());
        }
        assert!(pages.follow(&token(7), 1).unwrap());
        assert!(!pages.begin_anew(&refused(UNKNOWN_PAGE)), "not for ever");
    }

    #[tokio::test]
    async fn a_whole_list_is_followed_again_and_not_for_ever() {
        let tries = std::cell::Cell::new(0);
        let follow = |good_at: u32, reason: &'static str| {
            tries.set(tries.get() + 1);
            let this = tries.get();
            async move { if this == good_at { Ok(this) } else { Err(refused(reason)) } }
        };
        assert_eq!(whole(|| follow(3, UNKNOWN_PAGE)).await.unwrap(), 3);
        tries.set(0);
        assert!(whole(|| follow(3, "NOT_FOUND")).await.is_err());
        assert_eq!(tries.replace(0), 1);
        assert!(whole(|| follow(1_000, UNKNOWN_PAGE)).await.is_err());
        assert_eq!(tries.get(), ANEW_MAX + 1);
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
