#![allow(clippy::unwrap_used)]
use super::*;
use consilium_proto::ids::VotingPower;
use consilium_proto::validators::{Quorum, Validator};

fn ledger() -> LedgerId {
    LedgerId::from_bytes([1; 32])
}

fn key(id: u64) -> Arc<SigningKey> {
    consilium_kit::keys::vote(id)
}

fn set(ids: &[u64]) -> ValidatorSet {
    let seat = |id: &u64| Validator { id: NodeId(*id), power: VotingPower(1), key: key(*id).verifying_key() };
    ValidatorSet::new(ids.iter().map(seat).collect(), Quorum::new(2, 3).unwrap()).unwrap()
}

fn candidacy() -> Candidacy {
    let last = LogPosition { index: LogIndex(9), term: Term(2), hash: LogHash::from_bytes([3; 32]) };
    let membership = Membership::new([1, 2, 3, 4].map(|id| RaftId::new(id).unwrap()), []);
    Candidacy { term: Term(3), candidate: RaftId::new(1).unwrap(), last, applied: LogIndex(7), membership }
}

fn grants(signers: &[u64], candidacy: &Candidacy) -> BTreeMap<NodeId, SignatureBytes> {
    let grant = |id: &u64| (NodeId(*id), key(*id).sign(&candidacy.signing_bytes(&ledger())).unwrap());
    signers.iter().map(grant).collect()
}

fn of_four() -> Electorate {
    Electorate::new(vec![set(&[1, 2, 3, 4])], vec![set(&[4, 5, 6])])
}

#[test]
fn more_than_two_thirds_of_the_power_make_a_mandate() {
    let electorate = of_four();
    assert_eq!(electorate.mandate(&candidacy(), &grants(&[1, 2], &candidacy()), &ledger()), None);
    let mandate = electorate.mandate(&candidacy(), &grants(&[1, 2, 4, 9], &candidacy()), &ledger()).unwrap();
    assert_eq!(mandate.grants.keys().copied().collect::<Vec<_>>(), [NodeId(1), NodeId(2), NodeId(4)]);
    assert_eq!(electorate.verify(&mandate, &ledger()), Ok(()));
    // A set that is only known elects nobody here.
    assert_eq!(electorate.mandate(&candidacy(), &grants(&[4, 5, 6], &candidacy()), &ledger()), None);
}

#[test]
fn a_grant_is_for_one_ledger_term_candidate_and_log() {
    let electorate = of_four();
    let granted = grants(&[1, 2, 3], &candidacy());
    let others = [
        Candidacy { term: Term(4), ..candidacy() },
        Candidacy { candidate: RaftId::new(2).unwrap(), ..candidacy() },
        Candidacy { last: LogPosition { term: Term(1), ..candidacy().last }, ..candidacy() },
        Candidacy { last: LogPosition { index: LogIndex(8), ..candidacy().last }, ..candidacy() },
        Candidacy { last: LogPosition { hash: LogHash::NONE, ..candidacy().last }, ..candidacy() },
        Candidacy { applied: LogIndex(6), ..candidacy() },
        Candidacy { membership: Membership::new([RaftId::new(1).unwrap()], []), ..candidacy() },
    ];
    for other in others {
        let candidacy = other.clone();
        let forged = Mandate { candidacy, validators_hash: set(&[1, 2, 3, 4]).hash(), grants: granted.clone() };
        assert_eq!(electorate.verify(&forged, &ledger()), Err(MandateError::NoQuorum), "{other:?}");
    }
    let mandate = electorate.mandate(&candidacy(), &granted, &ledger()).unwrap();
    let elsewhere = LedgerId::from_bytes([2; 32]);
    assert_eq!(electorate.verify(&mandate, &elsewhere), Err(MandateError::NoQuorum));
}

#[test]
fn a_mandate_of_unknown_validators_proves_nothing() {
    let mandate = of_four().mandate(&candidacy(), &grants(&[1, 2, 3], &candidacy()), &ledger()).unwrap();
    let newer = Electorate::new(vec![set(&[5, 6, 7])], vec![]);
    assert_eq!(newer.verify(&mandate, &ledger()), Err(MandateError::UnknownValidators));
}

/// A leader that lags goes by the validators of the past, whom nobody may know any more.
#[test]
fn a_quorum_of_known_validators_is_believed_whoever_is_named() {
    let mandate = of_four().mandate(&candidacy(), &grants(&[1, 2, 3], &candidacy()), &ledger()).unwrap();
    let newer = Electorate::new(vec![set(&[2, 3, 5, 6])], vec![set(&[1, 2, 3, 5])]);
    assert_eq!(newer.verify(&mandate, &ledger()), Ok(()));
    let fewer = Electorate::new(vec![set(&[2, 3, 5, 6])], vec![set(&[1, 2, 5, 6])]);
    assert_eq!(fewer.verify(&mandate, &ledger()), Err(MandateError::UnknownValidators));
}

#[test]
fn it_goes_over_the_wire() {
    let mandate = of_four().mandate(&candidacy(), &grants(&[1, 2, 3], &candidacy()), &ledger()).unwrap();
    assert_eq!(Mandate::try_from(&pb::Mandate::from(&mandate)), Ok(mandate));
    let hand_over = HandOver { term: Term(7), leader: RaftId::new(3).unwrap(), signature: [5; 64] };
    assert_eq!(HandOver::decode(&hand_over.encode()), Some(hand_over));
    assert_eq!(HandOver::decode(&hand_over.encode()[1..]), None);
    let Candidacy { applied, membership, .. } = candidacy();
    for hand_over in [None, Some(hand_over)] {
        let tail = Tail(vec![LogHash::from_bytes([4; 32]), candidacy().last.hash]);
        let standpoint = Standpoint { hand_over, tail, applied, membership: membership.clone() };
        let bytes = standpoint.encode();
        assert!(bytes.len() <= STANDPOINT_LEN_MAX && Standpoint::hands_over(&bytes) == hand_over.is_some());
        assert_eq!(Standpoint::decode(&bytes), Some(standpoint));
        assert_eq!(Standpoint::decode(&bytes[..bytes.len() - 1]), None);
    }
}

#[test]
fn the_set_of_now_counts_for_those_who_are_behind() {
    let nodes = |ids: &[u64]| ids.iter().map(|id| NodeId(*id)).collect();
    let nobody = set(&[1]).hash();
    assert!(!of_four().is_quorum_ahead(&nodes(&[1, 2, 3, 4, 5, 6]), &nobody), "nobody is behind");
    assert!(of_four().is_quorum_ahead(&nodes(&[4, 5, 6]), &set(&[4, 5, 6]).hash()), "these elected the leader");
    let behind = of_four().with_ahead(Some(set(&[5, 6, 7])));
    assert!(behind.is_quorum_ahead(&nodes(&[5, 6, 7]), &nobody));
    assert!(!behind.is_quorum_ahead(&nodes(&[1, 2, 3, 4, 5, 6]), &nobody));
    // It elects nobody here, and is believed.
    assert_eq!(behind.mandate(&candidacy(), &grants(&[5, 6, 7], &candidacy()), &ledger()), None);
    let shown = Mandate {
        candidacy: candidacy(),
        validators_hash: set(&[5, 6, 7]).hash(),
        grants: grants(&[5, 6, 7], &candidacy()),
    };
    assert_eq!(behind.verify(&shown, &ledger()), Ok(()));
}

#[test]
fn a_tail_names_the_last_entries() {
    let hash = |byte| LogHash::from_bytes([byte; 32]);
    let tail = Tail(vec![hash(4), hash(5)]);
    let at = |index| tail.at(LogIndex(9), LogIndex(index));
    assert_eq!([at(7), at(8), at(9), at(10)], [None, Some(hash(4)), Some(hash(5)), None]);
    assert_eq!(Tail::decode(&tail.encode()), Some(tail.clone()));
    assert_eq!(Tail::decode(&tail.encode()[1..]), None);
    assert_eq!(Tail::decode(&[0; TAIL_LEN_MAX + HASH_LEN]), None);
    assert_eq!(Tail::default().last(), LogHash::NONE);
}
