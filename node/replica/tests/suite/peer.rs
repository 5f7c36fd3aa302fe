//! What nodes tell each other, on the wire and back.

use bytes::Bytes;
use consilium_consensus::{LogHash, LogIndex, LogPosition, Term};
use consilium_kit::chain::{Chain, certificate};
use consilium_kit::keys;
use consilium_proto::ids::{Epoch, Height, NodeId, TimeMs};
use consilium_proto::pb;
use consilium_proto::vote::{CertifiedHeader, Vote};
use consilium_replica::peer::{PeerMessage, Recollection};

fn messages() -> Vec<PeerMessage> {
    let header = Chain::new(&[1, 2]).append();
    let vote = Vote::sign(NodeId(1), &header, &keys::vote(1)).unwrap();
    let certificate = certificate(&header, &[1, 2]);
    let hash = LogHash::from_bytes([7; 32]);
    let acknowledged = LogPosition { index: LogIndex(u64::MAX), term: Term(u64::MAX), hash };
    vec![
        PeerMessage::Raft(Bytes::from_static(b"raft")),
        PeerMessage::Vote(vote.clone()),
        PeerMessage::RelayedVote(vote.clone()),
        PeerMessage::Certified(Box::new(CertifiedHeader { header, certificate })),
        PeerMessage::UncertifiedFrom(Height(7)),
        PeerMessage::WallClock(TimeMs(1_800_000_000_000)),
        PeerMessage::Recall(Epoch(7)),
        PeerMessage::Recollection(Box::new(Recollection { vote: None, acknowledged: None })),
        PeerMessage::Recollection(Box::new(Recollection { vote: Some(vote), acknowledged: Some(acknowledged) })),
    ]
}

#[test]
fn every_message_comes_back_as_it_was_said() {
    for message in messages() {
        let wire = pb::PeerMessage::from(message.clone());
        assert_eq!(PeerMessage::try_from(wire), Ok(message));
    }
}

#[test]
fn nothing_is_no_message() {
    assert!(PeerMessage::try_from(pb::PeerMessage::default()).is_err());
}

#[test]
fn a_message_is_not_larger_than_it_claims() {
    for message in messages() {
        let wire = prost_len(&pb::PeerMessage::from(message.clone()));
        assert!(wire <= message.size() + 16, "{message:?}: {wire} bytes");
    }
}

fn prost_len(message: &pb::PeerMessage) -> usize {
    prost::Message::encoded_len(message)
}
