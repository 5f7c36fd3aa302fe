use consilium_kit::chain::{Chain, certificate};
use consilium_proto::limits::VALIDATORS_MAX;

use super::*;

fn largest() -> CertifyInput {
    let header = Chain::new(&[1]).append();
    let signers: Vec<u64> = (1..=VALIDATORS_MAX as u64).collect();
    let certificate = certificate(&header, &signers[..1]);
    let signature = *certificate.signatures().next().map_or(&[0; 64], |(_, signature)| signature);
    let signatures = signers.into_iter().map(|id| (NodeId(id), signature)).collect();
    let certificate = consilium_proto::vote::BlockCertificate::new(header.height, header.hash(), signatures);
    CertifyInput::Certificate(Box::new(CertifiedHeader { header, certificate }))
}

fn popped(inbox: &mut Inbox) -> usize {
    std::iter::from_fn(|| inbox.pop()).count()
}

#[test]
fn what_peers_say_is_dropped_beyond_so_many_bytes() {
    let mut inbox = Inbox::default();
    let fit = INPUTS_BYTES_MAX / largest().bytes();
    assert!(fit < INPUTS_MAX / 10, "certificates are what makes bytes");
    (0..2 * fit).for_each(|_| inbox.push(largest()));
    assert_eq!((popped(&mut inbox), inbox.bytes), (fit, 0));
}

#[test]
fn what_peers_say_is_dropped_beyond_so_much_and_what_this_node_did_never_is() {
    let mut inbox = Inbox::default();
    let said = || CertifyInput::UncertifiedFrom { peer: NodeId(2), height: Height(1) };
    (0..=INPUTS_MAX).for_each(|_| inbox.push(said()));
    inbox.push(CertifyInput::Nodes { keys: BTreeMap::new(), clock_skew_max_ms: 1 });
    assert_eq!(popped(&mut inbox), INPUTS_MAX + 1);
    assert!(inbox.is_empty());
}
