#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use prost::Name;

use super::*;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, VALIDATORS_MAX};
use crate::pb;

fn verdict<M: Message + Name>(message: &M) -> Result<(), Refused> {
    check(&M::full_name(), &message.encode_to_vec())
}

/// As small as a transaction can be.
fn transaction(body: usize) -> pb::SignedTransaction {
    pb::SignedTransaction {
        body: Some(pb::TransactionBody {
            actions: vec![vec![1; body].into()],
            author: vec![2; 32].into(),
            ..Default::default()
        }),
        signature: vec![3; 64].into(),
        attachments: Vec::new(),
    }
}

fn block(transactions: Vec<pb::SignedTransaction>, attachments: Vec<Bytes>) -> pb::FetchBlocksResponse {
    let executed = |transaction| pb::ExecutedTransaction { transaction: Some(transaction), outcome: 1, withheld: None };
    let transactions = transactions.into_iter().map(executed).collect();
    pb::FetchBlocksResponse {
        block: Some(pb::Block { transactions, ..pb::Block::default() }),
        attachments,
        ..pb::FetchBlocksResponse::default()
    }
}

#[test]
fn what_honest_nodes_send_passes() {
    // The most and smallest transactions, and the most attachments, all of them gone.
    let small = vec![transaction(100); BLOCK_TRANSACTIONS_MAX];
    assert_eq!(verdict(&block(small, Vec::new())), Ok(()));
    let many = 64;
    let bodies = BLOCK_BYTES_MAX / (many * 70);
    let gone = vec![Bytes::new(); bodies * many];
    assert_eq!(verdict(&block(vec![transaction(many * 70); bodies], gone)), Ok(()));
    let signature = |validator| pb::CertificateSignature { validator, signature: vec![7; 64].into() };
    let certificate = pb::BlockCertificate {
        height: 1,
        header_hash: vec![1; 32].into(),
        signatures: (0..VALIDATORS_MAX as u64).map(signature).collect(),
    };
    let certified = pb::CertifiedHeader { certificate: Some(certificate), ..pb::CertifiedHeader::default() };
    let message = pb::PeerMessage { message: Some(pb::peer_message::Message::Certified(certified)) };
    assert_eq!(verdict(&pb::ExchangeRequest { messages: vec![message; 256] }), Ok(()));
    assert_eq!(verdict(&pb::FetchBlocksResponse::default()), Ok(()));
}

#[test]
fn many_empty_parts_are_refused_at_every_depth() {
    let empty = vec![pb::SignedTransaction::default(); 100_000];
    assert_eq!(verdict(&pb::ForwardRequest { transactions: empty.clone() }), Err(Refused::TooManyParts));
    assert_eq!(verdict(&block(empty, Vec::new())), Err(Refused::TooManyParts));
    let gone = vec![Bytes::new(); 1_000_000];
    assert_eq!(verdict(&block(Vec::new(), gone.clone())), Err(Refused::TooManyParts));
    let within = pb::SignedTransaction { attachments: gone, ..pb::SignedTransaction::default() };
    assert_eq!(verdict(&block(vec![within], Vec::new())), Err(Refused::TooManyParts));
    let messages = vec![pb::PeerMessage::default(); 100_000];
    assert_eq!(verdict(&pb::ExchangeRequest { messages }), Err(Refused::TooManyParts));
}

#[test]
fn what_is_no_message_is_refused() {
    let cut = [0x3a, 0x05, 0x01].repeat(SMALL_BYTES);
    assert_eq!(check("consilium.v1.ExchangeRequest", &cut), Err(Refused::Malformed));
}

/// An empty table would let everything through.
#[test]
fn the_shape_of_all_messages_is_known() {
    let place = |name: &str| *SHAPES.places.get(name).unwrap();
    let shape = &SHAPES.shapes[place("consilium.v1.FetchBlocksResponse")];
    assert_eq!(shape.get(&1), Some(&Part::Message(place("consilium.v1.Block"))));
    assert_eq!(shape.get(&4), Some(&Part::Bytes));
    // Of the contract and of what it imports.
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let fields = files.iter().flat_map(|file| &file.message_type).flat_map(|message| &message.field);
    for field in fields.filter(|field| field.r#type() == Type::Message) {
        place(field.type_name().trim_start_matches('.'));
    }
}
