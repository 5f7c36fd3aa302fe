//! For which keys versions of a record are wrapped, beside those that they were written with.

use bytes::Bytes;
use consilium_proto::error::FieldError;
use consilium_proto::header::Header;
use consilium_proto::ids::{KeyId, RecordId};
use consilium_proto::pb;
use consilium_proto::state::{WrapName, keys};

use super::RecordReader;
use crate::access_log::row_message;
use crate::error::ClientError;
use crate::paging::{Pages, whole};

/// A wrap that a custodian has added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedWrap {
    /// The version that it opens.
    pub version: u32,
    /// For whose key.
    pub key: KeyId,
}

impl RecordReader {
    /// Wraps that custodians have added to versions of a record of the own member, for auditors:
    /// others are shown none. Each is proven; that there are no others is the node's word.
    ///
    /// # Errors
    /// As [`Self::history`].
    pub async fn added_wraps(&self, record: RecordId) -> Result<Vec<AddedWrap>, ClientError> {
        whole(|| self.all_added_wraps(record)).await
    }

    async fn all_added_wraps(&self, record: RecordId) -> Result<Vec<AddedWrap>, ClientError> {
        let (mut pages, mut wraps) = (Pages::default(), Vec::new());
        loop {
            let (answered, header) = self.client().recent(|| self.fetch_history(record, pages.token())).await?;
            let answer = &answered.answer;
            let more = pages.follow(&answer.next_page_token, answer.versions.len());
            let added: Result<Vec<_>, _> = answer.wraps.iter().map(|shown| check(&record, shown, &header)).collect();
            let added = added.and_then(|added| Ok((added, more?)));
            let (added, more) = self.client().judged(&answered, added)?;
            wraps.extend(added.into_iter().flatten());
            if !more {
                return Ok(wraps);
            }
        }
    }
}

/// `None`: it is asked for, and was not made yet.
fn check(record: &RecordId, shown: &pb::ShownWrap, header: &Header) -> Result<Option<AddedWrap>, ClientError> {
    let key = KeyId::try_from(shown.recipient_key_id.as_ref());
    let key = key.map_err(|_| FieldError::malformed("wraps.recipient_key_id", "is not a key's id"))?;
    let row = keys::wrap_state(&WrapName { record: *record, version: shown.version, recipient: key });
    let (value, proof) = (shown.state.clone(), shown.state_proof.clone());
    let proven = pb::ProvenRow { key: Bytes::from(row.clone()), value, proof };
    let state: Option<pb::WrapState> = row_message(&row, Some(&proven), header)?;
    let state = state.ok_or_else(|| ClientError::contradiction("a wrap is shown that is not in the state"))?;
    Ok((!state.wrap_sha256.is_empty()).then_some(AddedWrap { version: shown.version, key }))
}
