//! Golden bytes of what is hashed and signed, and the joints between modules:
//! votes, certificates and receipts. A change here breaks ledgers that exist.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::cose;
use consilium_proto::hash::Hash;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{
    Epoch, Fingerprint, HeaderHash, Height, LedgerId, NodeId, TimeMs, TransactionId, VotingPower,
};
use consilium_proto::light_client::{SetChange, TrustError, TrustedSet};
use consilium_proto::merkle::{Frontier, root_of};
use consilium_proto::pb;
use consilium_proto::receipt::{Receipt, ReceiptError};
use consilium_proto::signing::{SignatureAlgorithm, SigningKey, VerifyingKey};
use consilium_proto::transaction::{
    self, ActionProof, SignedHead, Transaction, TransactionHead, signing_key_fingerprint,
};
use consilium_proto::validators::{Quorum, Validator, ValidatorSet};
use consilium_proto::vote::{self, BlockCertificate, CertificateError, CertifiedHeader, Equivocation, Vote};
use proptest::prelude::*;
use prost::Message;

fn header(set: &ValidatorSet, tree_size: u64, tree_root: Hash) -> Header {
    Header {
        ledger_id: LedgerId::from_bytes([1; 32]),
        height: Height(7),
        previous_hash: HeaderHash::from_bytes([3; 32]),
        time: TimeMs(4),
        epoch: Epoch(0),
        tree_size,
        tree_root,
        state_root: Hash::from_bytes([8; 32]),
        validators_hash: set.hash(),
        next_validators_hash: set.hash(),
        proposer: NodeId(1),
        log_hash: Hash::from_bytes([9; 32]),
    }
}

fn network(powers: &[u64]) -> (Vec<SigningKey>, ValidatorSet) {
    let keys: Vec<_> = powers.iter().map(|_| SigningKey::generate(SignatureAlgorithm::Es256).unwrap()).collect();
    let seat = |(id, (key, power)): (u64, (&SigningKey, &u64))| Validator {
        id: NodeId(id),
        power: VotingPower(*power),
        key: key.verifying_key(),
    };
    let seats = (1..).zip(keys.iter().zip(powers)).map(seat).collect();
    (keys, ValidatorSet::new(seats, Quorum::new(2, 3).unwrap()).unwrap())
}

fn certify(header: &Header, keys: &[SigningKey], signers: &[u64]) -> BlockCertificate {
    let sign = |id: &u64| {
        let vote = Vote::sign(NodeId(*id), header, &keys[*id as usize - 1]).unwrap();
        (NodeId(*id), vote.signature)
    };
    BlockCertificate::new(header.height, header.hash(), signers.iter().map(sign).collect())
}

/// What their bytes mean does not matter here.
fn three_actions() -> pb::TransactionBody {
    pb::TransactionBody {
        ledger_id: vec![1; 32].into(),
        nonce: vec![3; 16].into(),
        valid_until_ms: 0x0102,
        actions: [b"first".as_slice(), b"second", b"third"].map(Bytes::from_static).to_vec(),
        author: vec![2; 32].into(),
    }
}

/// One action is shown with the head that its author signed, and no other can be put in its place.
#[test]
fn each_action_is_proven_for_itself() {
    let body = three_actions();
    let head = TransactionHead::of(&body).unwrap();
    for index in 0..3 {
        let proof = ActionProof::of(&body, index).unwrap();
        assert_eq!((proof.verify(&head), &proof.action), (Ok(()), &body.actions[index]));
        let wire = pb::ActionProof::from(&proof);
        assert_eq!(ActionProof::try_from(&wire).as_ref(), Ok(&proof));
        let shown = wire.encode_to_vec();
        let hidden = body.actions.iter().enumerate().filter(|(other, _)| *other != index);
        for (_, action) in hidden {
            assert!(!shown.windows(action.len()).any(|part| part == action), "the others stay hidden");
        }
        assert!(!shown.windows(16).any(|part| part == body.nonce), "nor is shown what opens them");
        let (mut forged, mut elsewhere) = (proof.clone(), proof.clone());
        forged.action = Bytes::from_static(b"other");
        elsewhere.index = (index as u64 + 1) % 3;
        assert!(forged.verify(&head).is_err() && elsewhere.verify(&head).is_err());
        assert!(proof.verify(&TransactionHead { action_count: 2, ..head }).is_err());
    }
    assert!(ActionProof::of(&body, 3).is_err());
    let other = TransactionHead::of(&pb::TransactionBody { nonce: vec![4; 16].into(), ..body }).unwrap();
    assert_ne!(other.id(), head.id(), "an equal one with another nonce is another one");
}

#[test]
fn ids_and_signed_bytes_are_golden() {
    // Computed with Python's hashlib and CBOR written by hand, not by this code.
    let head = TransactionHead::of(&three_actions()).unwrap();
    assert_eq!(head.id().to_string(), "8d98bb784932e7830678d07a7b72e31235c9fca464e252f0d1efdd55eb977805");
    assert_eq!(
        hex::encode(head.signing_bytes()),
        "0f636f6e73696c69756d2f74782f7632db1bc06da6df2d7d96181d4ed5428c35cc30c4a345c9b8c831c05e5600eb393c"
    );
    let leaf = Leaf {
        transaction_id: TransactionId::from_bytes([9; 32]),
        height: Height(77),
        outcome: pb::Outcome::Applied,
        signature_hash: Hash::from_bytes([8; 32]),
    };
    assert_eq!(leaf.hash().to_string(), "c93a10c1653134594ff62ddf2ed10290a1caa4459ac52214b481d9ef860fffd0");
    // The key and the thumbprint of RFC 9679, section 6.
    let point = format!("04{RFC9679_X}{RFC9679_Y}");
    let key = VerifyingKey::from_raw(SignatureAlgorithm::Es256, &hex::decode(point).unwrap()).unwrap();
    assert_eq!(hex::encode(key.thumbprint()), "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec");
    let bytes = vote::signing_bytes(
        &key,
        &LedgerId::from_bytes([4; 32]),
        Height(77),
        &HeaderHash::from_bytes([5; 32]),
        &Hash::from_bytes([6; 32]),
    );
    assert_eq!(
        hex::encode(bytes),
        "846a5369676e6174757265315885a70126045820496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec19018b013a00011170582005050505050505050505050505050505050505050505050505050505050505053a00011171184d3a00011172582004040404040404040404040404040404040404040404040404040404040404043a00011173004058200606060606060606060606060606060606060606060606060606060606060606"
    );
}

const RFC9679_X: &str = "65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d";
const RFC9679_Y: &str = "1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c";

#[test]
fn certificates_need_distinct_seats_and_more_than_two_thirds() {
    let (keys, set) = network(&[1, 1, 1, 1]);
    let header = header(&set, 2, Hash::from_bytes([1; 32]));
    certify(&header, &keys, &[1, 2, 3]).verify(&header, &set).unwrap();
    let none = certify(&header, &keys, &[1, 2]).verify(&header, &set);
    assert_eq!(none, Err(CertificateError::NoQuorum { power: 2, total: 4 }));
    // Exactly two thirds is not enough.
    let (keys, set) = network(&[1, 1, 1]);
    let header = Header { validators_hash: set.hash(), ..header };
    assert!(certify(&header, &keys, &[1, 2]).verify(&header, &set).is_err());
    certify(&header, &keys, &[1, 2, 3]).verify(&header, &set).unwrap();
}

#[test]
fn a_certificate_of_another_header_set_or_key_is_refused() {
    let (keys, set) = network(&[1, 1, 1, 1]);
    let (other_keys, other_set) = network(&[1, 1, 1, 1]);
    let header = header(&set, 2, Hash::from_bytes([1; 32]));
    let other = Header { time: TimeMs(5), ..header.clone() };
    let certificate = certify(&header, &keys, &[1, 2, 3]);
    assert_eq!(certificate.verify(&other, &set), Err(CertificateError::OtherHeader { height: Height(7) }));
    assert_eq!(certificate.verify(&header, &other_set), Err(CertificateError::OtherValidators { height: Height(7) }));
    let forged = certify(&header, &other_keys, &[1, 2, 3]);
    assert_eq!(forged.verify(&header, &set), Err(CertificateError::BadSignature(NodeId(1))));
    let mut signatures: BTreeMap<_, _> = certificate.signatures().map(|(id, s)| (id, *s)).collect();
    signatures.insert(NodeId(9), [0; 64]);
    let strange = BlockCertificate::new(header.height, header.hash(), signatures);
    assert_eq!(strange.verify(&header, &set), Err(CertificateError::NoSeat(NodeId(9))));
}

#[test]
fn repeated_signers_do_not_parse() {
    let (keys, set) = network(&[1, 1, 1]);
    let certificate = certify(&header(&set, 2, Hash::from_bytes([1; 32])), &keys, &[1, 2]);
    let mut message = pb::BlockCertificate::from(&certificate);
    message.signatures[1] = message.signatures[0].clone();
    assert!(BlockCertificate::try_from(&message).is_err());
}

/// A receipt of a small ledger, and its leaf.
fn receipt() -> (Receipt, ValidatorSet, Vec<SigningKey>) {
    let (keys, set) = network(&[1, 1, 1, 1]);
    let ledger = LedgerId::from_bytes([1; 32]);
    let author = SigningKey::from_ed25519_seed(&[7; 32]);
    let body = pb::TransactionBody { ledger_id: ledger.to_bytes(), ..three_actions() };
    let signed = transaction::sign(body, signing_key_fingerprint(&author.verifying_key()), &author, Vec::new());
    let signed = transaction::signed_head(&signed.unwrap()).unwrap();
    let leaf = Leaf {
        transaction_id: signed.head.id(),
        height: Height(7),
        outcome: pb::Outcome::Applied,
        signature_hash: transaction::signature_hash(&signed.signature),
    };
    let [first, second] = Leaf::genesis(ledger);
    let hashes = [first.hash(), second.hash(), leaf.hash()];
    let mut frontier = Frontier::new();
    hashes.iter().for_each(|h| drop(frontier.append(*h).unwrap()));
    assert_eq!(frontier.root(), root_of(hashes).unwrap());
    let header = header(&set, 3, frontier.root());
    let inclusion_path = vec![consilium_proto::merkle::node_hash(&hashes[0], &hashes[1])];
    let certificate = certify(&header, &keys, &[1, 2, 4]);
    let head = CertifiedHeader { header, certificate };
    let (set_changes, signed) = (Vec::new(), Some(signed));
    (Receipt { ledger_id: ledger, leaf, leaf_index: 2, inclusion_path, head, set_changes, signed }, set, keys)
}

#[test]
fn a_receipt_proves_its_leaf_and_nothing_else() {
    let (receipt, set, _) = receipt();
    let ledger = receipt.ledger_id;
    receipt.verify(ledger, &set).unwrap();
    let parsed = Receipt::try_from(&pb::Receipt::from(&receipt)).unwrap();
    assert_eq!(parsed, receipt);
    let other = LedgerId::from_bytes([2; 32]);
    assert!(matches!(receipt.verify(other, &set), Err(ReceiptError::OtherLedger { .. })));
    let mut wrong = receipt.clone();
    wrong.leaf.outcome = pb::Outcome::RecordExists;
    assert_eq!(wrong.verify(ledger, &set), Err(ReceiptError::NotIncluded));
    let mut wrong = receipt.clone();
    wrong.leaf_index = 1;
    assert_eq!(wrong.verify(ledger, &set), Err(ReceiptError::NotIncluded));
    let mut wrong = receipt.clone();
    wrong.leaf.height = Height(8);
    assert_eq!(wrong.verify(ledger, &set), Err(ReceiptError::LeafAboveHead));
    let signed = receipt.signed.unwrap();
    signed.verify(&SigningKey::from_ed25519_seed(&[7; 32]).verifying_key()).unwrap();
    assert!(signed.verify(&SigningKey::from_ed25519_seed(&[8; 32]).verifying_key()).is_err());
    let other_author = TransactionHead { author: Fingerprint::from_bytes([4; 32]), ..signed.head };
    for other in [SignedHead { head: other_author, ..signed }, SignedHead { signature: [1; 64], ..signed }] {
        let wrong = Receipt { signed: Some(other), ..receipt.clone() };
        assert_eq!(wrong.verify(ledger, &set), Err(ReceiptError::OtherTransaction));
    }
    let mut wrong = receipt;
    wrong.head.header.state_root = Hash::from_bytes([0; 32]);
    assert!(matches!(wrong.verify(ledger, &set), Err(ReceiptError::Certificate(_))));
}

/// The keys of a later set must not write the past anew: it certifies nothing at or below
/// the height that made it.
#[test]
fn backdated_receipt() {
    let (mut receipt, set, keys) = receipt();
    let certified = |height: u64, like: &Header| {
        let header = Header { height: Height(height), ..like.clone() };
        CertifiedHeader { certificate: certify(&header, &keys, &[1, 2, 3]), header }
    };
    let like = receipt.head.header.clone();
    let mut trusted = TrustedSet::of_ledger(receipt.ledger_id, set.clone(), Height(5));
    trusted.verify(&certified(6, &like)).unwrap();
    trusted.follow(&SetChange { boundary: certified(6, &like), next: set.clone() }).unwrap();
    for height in [0, 5, 6] {
        let error = TrustError::Backdated { height: Height(height), above: Height(6) };
        assert_eq!(trusted.verify(&certified(height, &like)), Err(error));
    }
    trusted.verify(&certified(7, &like)).unwrap();
    // For those who know the set of the head's height, nothing changes.
    receipt.leaf.height = Height(2);
    receipt.head = certified(2, &like);
    assert_ne!(receipt.verify(receipt.ledger_id, &set), Err(ReceiptError::LeafAboveHead));
}

/// A vote doubles as an RFC 9942 receipt: another verifier accepts it, and
/// refuses it for another leaf or key.
#[test]
fn votes_are_cose_receipts() {
    let (receipt, set, keys) = receipt();
    let receipts = receipt.cose_receipts(&set);
    assert_eq!(receipts.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [1, 2, 4]);
    for ((_, bytes), key) in receipts.iter().zip([&keys[0], &keys[1], &keys[3]]) {
        // It names the key that it verifies under.
        let kid = key.verifying_key().thumbprint();
        assert_eq!(cose::Receipt::decode(bytes).unwrap().kid(), Some(&kid[..]));
        let leaf = receipt.leaf.hash();
        let verified = cose::verify_inclusion_receipt(bytes, leaf.as_bytes(), &key.verifying_key()).unwrap();
        assert_eq!((verified.tree_size, verified.leaf_index), (3, 2));
        assert_eq!(verified.root, *receipt.head.header.tree_root.as_bytes());
        assert!(cose::verify_inclusion_receipt(bytes, &[0; 32], &key.verifying_key()).is_err());
        assert!(cose::verify_inclusion_receipt(bytes, leaf.as_bytes(), &keys[2].verifying_key()).is_err());
    }
}

/// Evidence that a validator signed a root that is not in its header: with the vote for
/// the right one, or with the header. A true vote is evidence of nothing.
#[test]
fn false_root() {
    let (keys, set) = network(&[1, 1]);
    let (key, stranger) = (&keys[0], keys[1].verifying_key());
    let header = header(&set, 2, Hash::from_bytes([1; 32]));
    let good = Vote::sign(NodeId(1), &header, key).unwrap();
    let lie = |tree_root: Hash, height: u64| {
        let Vote { ledger_id, header_hash, .. } = good;
        let signed = vote::signing_bytes(&key.verifying_key(), &ledger_id, Height(height), &header_hash, &tree_root);
        Vote { tree_root, height: Height(height), signature: key.sign(&signed).unwrap(), ..good.clone() }
    };
    let bad = lie(Hash::from_bytes([2; 32]), 7);
    let proofs = [
        Equivocation::new(bad.clone(), good.clone()).unwrap(),
        Equivocation::of_header(bad.clone(), header.clone()).unwrap(),
        // Nor does another height beside the right hash help it.
        Equivocation::of_header(lie(Hash::from_bytes([2; 32]), 8), header.clone()).unwrap(),
    ];
    for evidence in proofs {
        assert!(evidence.verifies(&key.verifying_key()) && !evidence.verifies(&stranger));
        assert_eq!(
            (evidence.validator(), evidence.height(), evidence.ledger_id()),
            (NodeId(1), Height(7), good.ledger_id)
        );
        assert_eq!(Equivocation::try_from(&pb::Equivocation::from(&evidence)), Ok(evidence));
    }
    assert_eq!(Equivocation::new(bad.clone(), good.clone()), Equivocation::new(good.clone(), bad.clone()));
    assert!(Equivocation::new(good.clone(), good.clone()).is_err());
    assert!(Equivocation::of_header(good.clone(), header.clone()).is_err());
    let other = Header { tree_root: Hash::from_bytes([2; 32]), ..header.clone() };
    assert!(Equivocation::of_header(good.clone(), other).is_err(), "it never signed that header");
    let both =
        pb::Equivocation { first: Some((&bad).into()), second: Some((&good).into()), header: Some((&header).into()) };
    assert!(Equivocation::try_from(&both).is_err());
}

/// What an outsider was shown is enough: the lie comes back out of the COSE receipt.
#[test]
fn a_cose_receipt_over_a_false_root_is_evidence() {
    let (receipt, set, keys) = receipt();
    let header = receipt.head.header.clone();
    let invented = Hash::from_bytes([0xee; 32]);
    let false_root = consilium_proto::merkle::node_hash(&receipt.inclusion_path[0], &invented);
    let key = keys[0].verifying_key();
    let signed = vote::signing_bytes(&key, &header.ledger_id, header.height, &header.hash(), &false_root);
    let signatures = BTreeMap::from([(NodeId(1), keys[0].sign(&signed).unwrap())]);
    let certificate = BlockCertificate::new(header.height, header.hash(), signatures);
    let lie = CertifiedHeader { header: header.clone(), certificate };
    let (_, shown) = lie.cose_receipts(&set, receipt.leaf_index, &receipt.inclusion_path).remove(0);
    cose::verify_inclusion_receipt(&shown, invented.as_bytes(), &key).expect("outsiders believe it");

    let vote = cose::Receipt::decode(&shown).unwrap().vote(NodeId(1), invented.as_bytes()).unwrap();
    assert!(Equivocation::of_header(vote, header.clone()).unwrap().verifies(&key));
    let (_, honest) = receipt.cose_receipts(&set).remove(0);
    let honest = cose::Receipt::decode(&honest).unwrap();
    let vote = honest.vote(NodeId(1), receipt.leaf.hash().as_bytes()).unwrap();
    assert!(vote.verifies(&key) && Equivocation::of_header(vote, header.clone()).is_err());
    // Whoever holds another leaf against an honest one has no signature under it.
    let accused = honest.vote(NodeId(1), invented.as_bytes()).unwrap();
    assert!(!Equivocation::of_header(accused, header).unwrap().verifies(&key));
}

proptest! {
    /// Hostile bytes never panic a parser.
    #[test]
    fn parsers_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let bytes = Bytes::from(bytes);
        let ledger = LedgerId::from_bytes([1; 32]);
        let _ = consilium_proto::genesis::Genesis::parse(&bytes);
        if let Ok(m) = pb::SignedTransaction::decode(bytes.clone()) {
            let _ = Transaction::parse(&m, ledger);
        }
        let body = Some(pb::TransactionBody { actions: vec![bytes.clone()], ..three_actions() });
        let bare = pb::SignedTransaction { body, signature: vec![1; 64].into(), attachments: Vec::new() };
        let _ = Transaction::parse(&bare, ledger);
        if let Ok(m) = pb::Receipt::decode(bytes.clone()) {
            let _ = Receipt::try_from(&m);
        }
        if let Ok(m) = pb::BlockCertificate::decode(bytes.clone()) {
            let _ = BlockCertificate::try_from(&m);
        }
        if let Ok(m) = pb::Vote::decode(bytes) {
            let _ = Vote::try_from(&m);
        }
    }
}

/// The bytes beside a label in the example at the top of transaction.proto,
/// and in the lines that continue it.
fn example(label: &str) -> Vec<u8> {
    let text = include_str!("../../consilium/v1/transaction.proto");
    let (_, rest) = text.split_once(&format!("//   {label} ")).unwrap();
    let mut lines = rest.lines();
    let mut digits = lines.next().unwrap().trim().to_owned();
    lines.map_while(|line| line.strip_prefix("//              ")).for_each(|more| digits += more.trim());
    hex::decode(digits).unwrap()
}

#[test]
fn the_example_in_transaction_proto_is_a_transaction() {
    let body = pb::TransactionBody {
        ledger_id: vec![4; 32].into(),
        nonce: vec![5; 16].into(),
        valid_until_ms: 1_800_000_000_000,
        actions: transaction::encode_actions(&[pb::Action {
            action: Some(pb::action::Action::RetractRecord(pb::RetractRecord {
                record_id: vec![6; 16].into(),
                version: 1,
                reason: 0,
            })),
        }]),
        author: Bytes::new(),
    };
    let key = SigningKey::from_ed25519_seed(&[7; 32]);
    let signed = transaction::sign(body, signing_key_fingerprint(&key.verifying_key()), &key, Vec::new()).unwrap();
    let body = signed.body.as_ref().unwrap();
    assert_eq!(body.encode_to_vec(), example("body"));
    assert_eq!(body.author[..], example("author"));
    assert_eq!(signed.signature[..], example("signature"));
    let parsed = Transaction::parse(&signed, LedgerId::from_bytes([4; 32])).unwrap();
    assert_eq!(parsed.id.as_bytes()[..], example("id"));
}

#[test]
fn every_rpc_names_reasons_that_are_documented() {
    let documented = include_str!("../../../docs/errors.md");
    for service in [
        include_str!("../../consilium/v1/governance_service.proto"),
        include_str!("../../consilium/v1/identity_service.proto"),
        include_str!("../../consilium/v1/ledger_service.proto"),
        include_str!("../../consilium/v1/operator_service.proto"),
        include_str!("../../consilium/v1/records_service.proto"),
        include_str!("../../consilium/v1/validators_service.proto"),
    ] {
        for (before, rpc) in service.match_indices("\n  rpc ").map(|(at, _)| service.split_at(at)) {
            let (_, reasons) = before.rsplit_once("// Reasons: ").unwrap();
            assert!(!reasons.contains("rpc"), "{} names no reasons", rpc.lines().nth(1).unwrap());
            let words = reasons.split(|c: char| !c.is_ascii_uppercase() && c != '_');
            for reason in words.filter(|word| word.contains('_')) {
                assert!(documented.contains(&format!("| `{reason}` |")), "{reason} is not in docs/errors.md");
            }
        }
    }
}
