//! Headers that lie, and certificates that certify nothing.

use consilium_proto::vote::CertificateError;

use super::*;

#[test]
fn certificates_need_a_quorum_of_genesis_validators() {
    let mut ledger = Ledger::usual();
    ledger.blocks[3].certificate = Some(ledger.certificate(3, &[1, 2]));
    let error = CertificateError::NoQuorum { power: 200, total: 300 };
    assert_eq!(ledger.failure(), VerifyFailure::Certificate { height: Height(3), error });
    ledger.blocks[3].certificate = Some(ledger.certificate(2, &[1, 2, 3]));
    let error = CertificateError::OtherHeader { height: Height(3) };
    assert_eq!(ledger.failure(), VerifyFailure::Certificate { height: Height(3), error });
}

#[test]
fn false_headers_are_found_even_if_certified() {
    type Case = (fn(&mut Header), fn(&VerifyFailure) -> bool);
    let cases: [Case; 8] = [
        (
            |h| h.previous_hash = HeaderHash::from_bytes([7; 32]),
            |f| matches!(f, VerifyFailure::PreviousHash { height: Height(3), .. }),
        ),
        (|h| h.time = TimeMs(NOW_MS), |f| matches!(f, VerifyFailure::Time { height: Height(3), .. })),
        (|h| h.tree_size += 1, |f| matches!(f, VerifyFailure::Count { what: "tree_size", .. })),
        (|h| h.tree_root = Hash::from_bytes([7; 32]), |f| matches!(f, VerifyFailure::TreeRoot { .. })),
        (|h| h.state_root = Hash::from_bytes([7; 32]), |f| matches!(f, VerifyFailure::StateRoot { .. })),
        (|h| h.validators_hash = Hash::from_bytes([7; 32]), |f| *f == VerifyFailure::Validators { height: Height(3) }),
        (|h| h.height = Height(4), |f| *f == VerifyFailure::Height { expected: Height(3), found: Height(4) }),
        (
            |h| h.ledger_id = consilium_proto::ids::LedgerId::from_bytes([7; 32]),
            |f| matches!(f, VerifyFailure::OtherLedger { .. }),
        ),
    ];
    for (i, (falsify, expected)) in cases.into_iter().enumerate() {
        let mut ledger = Ledger::usual();
        ledger.blocks.pop();
        ledger.headers.pop();
        let root = ledger.state_root();
        ledger.append(3, Vec::new(), |header| {
            header.state_root = root;
            falsify(header);
        });
        ledger.certify(3);
        let failure = ledger.failure();
        assert!(expected(&failure), "case {i}: {failure}");
    }
}

#[test]
fn the_genesis_header_follows_from_the_genesis_document() {
    let cases: [fn(&mut Header); 4] = [
        |h| h.time = TimeMs(NOW_MS + 1),
        |h| h.previous_hash = HeaderHash::from_bytes([7; 32]),
        |h| h.next_validators_hash = Hash::from_bytes([7; 32]),
        |h| h.proposer = NodeId(1),
    ];
    for falsify in cases {
        let mut ledger = Ledger::new();
        let mut header = ledger.headers[0].clone();
        falsify(&mut header);
        ledger.blocks[0].block.as_mut().unwrap().header = Some((&header).into());
        assert!(matches!(ledger.failure(), VerifyFailure::GenesisHeader { .. }));
    }
}
