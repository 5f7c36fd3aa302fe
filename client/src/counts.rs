//! How often fields stand in an encoded file that is verified offline, found out without decoding
//! it: an element of two bytes takes a hundred times as much once it is decoded, and whoever made
//! the file may be anybody.

use consilium_proto::error::{FieldError, length_in};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::light_client::SET_CHANGES_MAX;

/// Number of `format` of a list, which no other kind of file has.
const FORMAT: u32 = 3;
/// Entries of one kind in a file.
const ENTRIES_MAX: usize = 1_000_000;
/// Rows, headers and answers in a file.
const ROWS_MAX: usize = 100_000;
/// Signatures and seats in a file.
const SEATS_MAX: usize = 1_000_000;
/// Hashes of a path: a tree has fewer levels.
const PATH_MAX: usize = 64;

/// What is counted: the numbers of the fields that lead to it, its name, and how often it may be
/// there in all.
pub(crate) type Limit = (&'static [u32], &'static str, usize);

/// Of a `Receipt`.
pub(crate) const RECEIPT: [Limit; 5] = [
    (&[4], "inclusion_path", PATH_MAX),
    (&[5, 2, 3], "head.certificate.signatures", SEATS_MAX),
    (&[6], "set_changes", SET_CHANGES_MAX),
    (&[6, 1, 2, 3], "set_changes.boundary.certificate.signatures", SEATS_MAX),
    (&[6, 2, 1], "set_changes.next.seats", SEATS_MAX),
];

/// Of a `DecisionReceipt`.
pub(crate) const DECISION: [Limit; 8] = [
    (&[1, 4], "receipt.inclusion_path", PATH_MAX),
    (&[1, 5, 2, 3], "receipt.head.certificate.signatures", SEATS_MAX),
    (&[1, 6], "receipt.set_changes", SET_CHANGES_MAX),
    (&[1, 6, 1, 2, 3], "receipt.set_changes.boundary.certificate.signatures", SEATS_MAX),
    (&[1, 6, 2, 1], "receipt.set_changes.next.seats", SEATS_MAX),
    (&[2, 2], "decision.path", PATH_MAX),
    (&[2, 4, 2], "decision.header.following", ROWS_MAX),
    (&[2, 4, 3, 3], "decision.header.certificate.signatures", SEATS_MAX),
];

/// Of a `ListProof`.
pub(crate) const LIST: [Limit; 14] = [
    (&[4], "set_changes", SET_CHANGES_MAX),
    (&[4, 1, 2, 3], "set_changes.boundary.certificate.signatures", SEATS_MAX),
    (&[4, 2, 1], "set_changes.next.seats", SEATS_MAX),
    (&[5, 2, 1], "access_log.log.events", ENTRIES_MAX),
    (&[5, 2, 5], "access_log.log.sealed", ENTRIES_MAX),
    (&[5, 2, 3], "access_log.log.consistency_path", ROWS_MAX),
    (&[5, 2, 4, 2], "access_log.log.header.following", ROWS_MAX),
    (&[5, 2, 4, 3, 3], "access_log.log.header.certificate.signatures", SEATS_MAX),
    (&[6, 3], "record_lists.answers", ROWS_MAX),
    (&[6, 3, 2], "record_lists.answers.lists", ROWS_MAX),
    (&[6, 3, 2, 2], "record_lists.answers.lists.entries", ENTRIES_MAX),
    (&[6, 3, 2, 3], "record_lists.answers.lists.consistency_path", ENTRIES_MAX),
    (&[6, 3, 3, 2], "record_lists.answers.header.following", ROWS_MAX),
    (&[6, 3, 3, 3, 3], "record_lists.answers.header.certificate.signatures", SEATS_MAX),
];

/// Whether a file says that it is a list.
///
/// # Errors
/// If it is no message at all.
pub(crate) fn is_list(encoded: &[u8]) -> Result<bool, FieldError> {
    Ok(count(encoded, &[FORMAT])? > 0)
}

/// Refuses a file with more of anything than it may have.
///
/// # Errors
/// Which, or that it is no message.
pub(crate) fn check(encoded: &[u8], limits: &[Limit]) -> Result<(), FieldError> {
    limits.iter().try_for_each(|(path, name, max)| length_in(name, count(encoded, path)?, 0, *max))
}

/// How often the field at the end of a path stands in a message.
fn count(mut encoded: &[u8], path: &[u32]) -> Result<usize, FieldError> {
    let Some((first, rest)) = path.split_first() else { return Ok(1) };
    let mut found = 0;
    while !encoded.is_empty() {
        let (number, content) = take_field(&mut encoded)?;
        if number == *first {
            found += count(content, rest)?;
        }
    }
    Ok(found)
}

/// The number of the next field, and its content if that has a length.
fn take_field<'a>(encoded: &mut &'a [u8]) -> Result<(u32, &'a [u8]), FieldError> {
    let malformed = || FieldError::malformed("file", "is not a Protocol Buffers message");
    let (number, wire_type) = decode_key(encoded).map_err(|_| malformed())?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, number, encoded, DecodeContext::default()).map_err(|_| malformed())?;
        return Ok((number, &[]));
    }
    let length = decode_varint(encoded).ok().and_then(|length| usize::try_from(length).ok());
    let (content, after) = length.and_then(|length| encoded.split_at_checked(length)).ok_or_else(malformed)?;
    *encoded = after;
    Ok((number, content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::pb;
    use prost::Message;

    use super::*;

    fn certificate() -> pb::BlockCertificate {
        pb::BlockCertificate { signatures: vec![Default::default(); 2], ..Default::default() }
    }

    fn header() -> Option<pb::HeaderProof> {
        let following = vec![pb::Header::default(); 2];
        Some(pb::HeaderProof { header: None, following, certificate: Some(certificate()) })
    }

    fn change() -> pb::SetChange {
        let boundary = pb::CertifiedHeader { header: None, certificate: Some(certificate()) };
        let next = pb::ValidatorSet { seats: vec![Default::default(); 2], ..Default::default() };
        pb::SetChange { boundary: Some(boundary), next: Some(next) }
    }

    fn two<T: Clone>(of: T) -> Vec<T> {
        vec![of; 2]
    }

    /// Each thing that is counted is there twice in what holds it.
    fn file() -> pb::ListProof {
        let log = pb::GetAccessLogResponse {
            events: two(Default::default()),
            consistency_path: two(Default::default()),
            header: header(),
            sealed: two(Default::default()),
            log: None,
        };
        let list = pb::ShownRecordList {
            entries: two(Default::default()),
            consistency_path: two(Default::default()),
            list: None,
        };
        let answer = pb::ListPatientRecordsResponse { lists: two(list), header: header(), record_lists: None };
        pb::ListProof {
            format: 1,
            set_changes: two(change()),
            access_log: Some(pb::AccessLogProof { log: Some(log), ..Default::default() }),
            record_lists: Some(pb::RecordListsProof { answers: two(answer), ..Default::default() }),
        }
    }

    fn found(encoded: &[u8], limits: &[Limit]) -> Vec<usize> {
        limits.iter().map(|(path, ..)| count(encoded, path).unwrap()).collect()
    }

    #[test]
    fn what_is_counted_is_what_the_messages_say() {
        let encoded = file().encode_to_vec();
        assert_eq!(found(&encoded, &LIST), [2, 4, 4, 2, 2, 2, 2, 2, 2, 4, 8, 8, 4, 4]);
        assert_eq!((is_list(&encoded), check(&encoded, &LIST)), (Ok(true), Ok(())));

        let head = pb::CertifiedHeader { header: None, certificate: Some(certificate()) };
        let (inclusion_path, set_changes) = (two(Default::default()), two(change()));
        let receipt = pb::Receipt { inclusion_path, head: Some(head), set_changes, ..Default::default() };
        assert_eq!(found(&receipt.encode_to_vec(), &RECEIPT), [2, 2, 2, 4, 4]);
        let path = two(Default::default());
        let decision = pb::GetDecisionResponse { path, header: header(), ..Default::default() };
        let decision = pb::DecisionReceipt { receipt: Some(receipt), decision: Some(decision) }.encode_to_vec();
        assert_eq!(found(&decision, &DECISION), [2, 2, 2, 4, 4, 2, 2, 2]);
        assert_eq!((is_list(&decision), check(&decision, &DECISION)), (Ok(false), Ok(())));
    }

    #[test]
    fn too_much_of_something_is_named_and_what_is_cut_off_is_no_message() {
        let answers = vec![pb::ListPatientRecordsResponse::default(); ROWS_MAX + 1];
        let record_lists = Some(pb::RecordListsProof { answers, ..Default::default() });
        let too_many = pb::ListProof { format: 1, record_lists, ..Default::default() }.encode_to_vec();
        assert!(check(&too_many, &LIST).unwrap_err().to_string().contains("record_lists.answers"));
        let encoded = file().encode_to_vec();
        assert!(check(&encoded[..encoded.len() - 1], &LIST).is_err());
    }
}
