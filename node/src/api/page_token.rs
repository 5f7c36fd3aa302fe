//! Where a list goes on, sealed: a place among what a ledger holds is a number that tells how much others
//! wrote, and one that a caller makes up is a question nobody has thought of. A token is good for the list
//! that it came with, asked by the same caller with the same words, at the node that made it, until that
//! node is started anew; then the list is begun again.
//!
//! A token is the number of its page, which grows, and an AES-256-GCM box, whose length says nothing.

use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::envelope::aead::{self, NONCE_LEN, TAG_LEN};
use consilium_proto::error::FieldError;
use consilium_proto::hash::Hash;
use consilium_proto::names::SpiffeId;
use prost::Message;
use tonic::Status;
use zeroize::Zeroizing;

use super::errors::{self, Reason};
use crate::storage::StorageError;

/// Bytes of the longest place.
const PLACE_MAX: usize = 24;
/// The length of the place, and the place.
const PLAIN: usize = 1 + PLACE_MAX;
const NUMBER: usize = 8;
const TOKEN_LEN: usize = NUMBER + NONCE_LEN + PLAIN + TAG_LEN;

/// Makes tokens and takes them, with a key that it draws and never shows. Cheap to clone.
#[derive(Clone)]
pub(super) struct PageTokens(Arc<Zeroizing<[u8; 32]>>);

impl Default for PageTokens {
    fn default() -> Self {
        Self(Arc::new(Zeroizing::new(rand::random())))
    }
}

/// The pages of one list, as one caller asks for it.
#[derive(Clone)]
pub(super) struct Pages {
    tokens: PageTokens,
    list: Vec<u8>,
    /// Of the page that is asked for; the first is 0.
    number: u64,
}

impl PageTokens {
    /// The pages of a list, and the place at which the page begins that a token asks for; none of the
    /// first. A list is what is asked for, beside the token, how much at a time, and as of when.
    ///
    /// # Errors
    /// If the token is of another list, caller or node, or of none.
    pub(super) fn open(
        &self,
        (call, caller): (&str, &SpiffeId),
        asked: &impl Message,
        token: &[u8],
    ) -> Result<(Pages, Bytes), Status> {
        self.open_bytes((call, caller), &asked.encode_to_vec(), token)
    }

    /// The same of a list that bytes say all of.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_bytes(
        &self,
        (call, caller): (&str, &SpiffeId),
        asked: &[u8],
        token: &[u8],
    ) -> Result<(Pages, Bytes), Status> {
        let (asked, caller) = (Hash::of(&[asked]), caller.to_string());
        let list = [call.as_bytes(), &[0], caller.as_bytes(), &[0], asked.as_bytes()].concat();
        let first = Pages { tokens: self.clone(), list, number: 0 };
        if token.is_empty() {
            return Ok((first, Bytes::new()));
        }
        let (number, place) = first.unseal(token).ok_or_else(|| {
            Reason::PageTokenRefused.field(&FieldError::malformed(
                "page_token",
                "is of another list, caller or node, or from before this node was started: begin the list anew, \
                 without a token",
            ))
        })?;
        Ok((Pages { number, ..first }, place))
    }
}

impl Pages {
    fn bound_to(&self, number: u64) -> Vec<u8> {
        [&number.to_be_bytes()[..], &self.list].concat()
    }

    fn unseal(&self, token: &[u8]) -> Option<(u64, Bytes)> {
        let token: &[u8; TOKEN_LEN] = token.try_into().ok()?;
        let (number, rest) = token.split_first_chunk::<NUMBER>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let number = u64::from_be_bytes(*number);
        let plain = aead::open(&self.tokens.0, nonce, &self.bound_to(number), sealed).ok()?;
        let (length, place) = plain.split_first()?;
        Some((number, Bytes::copy_from_slice(place.get(..usize::from(*length))?)))
    }

    /// The token of the next page, which begins at a place; none if there is no further one.
    ///
    /// # Errors
    /// If the library refuses to seal.
    pub(super) fn next(&self, place: &[u8]) -> Result<Bytes, Status> {
        if place.is_empty() {
            return Ok(Bytes::new());
        }
        self.seal(place).ok_or_else(|| errors::storage(&StorageError::corrupt("page token", "cannot be sealed")))
    }

    fn seal(&self, place: &[u8]) -> Option<Bytes> {
        let number = self.number.saturating_add(1);
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut plain = Zeroizing::new(vec![0; PLAIN]);
        let (length, room) = plain.split_first_mut()?;
        *length = u8::try_from(place.len()).ok()?;
        room.get_mut(..place.len())?.copy_from_slice(place);
        let sealed = aead::seal(&self.tokens.0, &nonce, &self.bound_to(number), plain).ok()?;
        Some([&number.to_be_bytes()[..], &nonce, &sealed].concat().into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb::QueryRecordsRequest;
    use tonic_types::StatusExt;

    use super::*;

    const CALL: &str = "QueryRecords";

    fn name(name: &str) -> SpiffeId {
        format!("spiffe://{name}").parse().unwrap()
    }

    fn query(kind: &str) -> QueryRecordsRequest {
        QueryRecordsRequest { kind: kind.into(), ..Default::default() }
    }

    /// The place that a token of a list gives.
    fn place(tokens: &PageTokens, (call, caller, kind): (&str, &str, &str), token: &[u8]) -> Result<Bytes, Status> {
        tokens.open((call, &name(caller)), &query(kind), token).map(|(_, place)| place)
    }

    const LIST: (&str, &str, &str) = (CALL, "a.example/service/ehr", "Observation");

    fn token(tokens: &PageTokens, place: &[u8]) -> Bytes {
        let (pages, _) = tokens.open((LIST.0, &name(LIST.1)), &query(LIST.2), &[]).unwrap();
        pages.next(place).unwrap()
    }

    #[test]
    fn a_token_gives_its_place_to_whom_it_was_given() {
        let tokens = PageTokens::default();
        for bytes in [&[7][..], &[0; 8], &[9; PLACE_MAX]] {
            assert_eq!(place(&tokens, LIST, &token(&tokens, bytes)).unwrap(), bytes);
        }
        assert_eq!(place(&tokens, LIST, &[]).unwrap(), Bytes::new());
        assert!(token(&tokens, &[]).is_empty(), "there is no further page");
        assert!(tokens.open((CALL, &name(LIST.1)), &query(""), &[]).unwrap().0.next(&[0; PLACE_MAX + 1]).is_err());
    }

    #[test]
    fn a_token_of_anything_else_is_refused() {
        let tokens = PageTokens::default();
        let good = token(&tokens, &[7; 8]);
        let refused = |tokens: &PageTokens, list, token: &[u8]| {
            let status = place(tokens, list, token).unwrap_err();
            let reason = status.get_details_error_info().unwrap().reason;
            let fields = status.get_details_bad_request().unwrap().field_violations;
            (status.code(), reason, fields[0].field.clone())
        };
        let expected = (tonic::Code::InvalidArgument, "PAGE_TOKEN_REFUSED".to_owned(), "page_token".to_owned());
        let others = [("ListPetitions", LIST.1, LIST.2), (CALL, "a.example/service/x", LIST.2), (CALL, LIST.1, "")];
        for other in others {
            assert_eq!(refused(&tokens, other, &good), expected, "{other:?}");
        }
        assert_eq!(refused(&PageTokens::default(), LIST, &good), expected, "another node, or the same started anew");
        for bit in 0..8 * good.len() {
            let mut bent = good.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(refused(&tokens, LIST, &bent), expected, "bit {bit}");
        }
        for other in [&good[..good.len() - 1], &[&good[..], &[0]].concat(), &[0; 8], &[0; TOKEN_LEN], &[0; 65_536]] {
            assert_eq!(refused(&tokens, LIST, other), expected, "{} bytes", other.len());
        }
    }

    #[test]
    fn tokens_grow_and_tell_nothing_else() {
        let tokens = PageTokens::default();
        let (mut last, mut at) = (Bytes::new(), Bytes::new());
        for _ in 0..300 {
            let (pages, _) = tokens.open((LIST.0, &name(LIST.1)), &query(LIST.2), &at).unwrap();
            at = pages.next(&[1]).unwrap();
            assert!(at > last && at.len() == TOKEN_LEN);
            last = at.clone();
        }
        assert_ne!(token(&tokens, &[1]), token(&tokens, &[1]));
    }
}
