//! The contract's documents: what node and client refuse alike.

use consilium_certs::contract::genesis::{GenesisError, check, check_members, verify_endorsements};
use consilium_certs::contract::identity_rules::{authorities, is_bundle_of, verify, verify_revocations};
use consilium_certs::contract::invitation::{Invitation, InvitationError, MemberProblem, NodeProblem, Standing};
use consilium_certs::{BundleError, MemberCa, VerifyError};
use consilium_proto::genesis::{Genesis, endorsement_input, ledger_id};
use consilium_proto::names::{MemberId, NodeName, Role};
use consilium_proto::parameters::recommended_parameters;
use consilium_proto::pb::{self, Endorsement, GenesisDocument, GenesisMember, GenesisNode};
use consilium_proto::signing::{SignatureAlgorithm, SigningError, SigningKey};
use prost::Message;

use crate::common::{DAY, MEMBER, NOW, OTHER, around, ca, issue, revoked};

/// Two members, ascending by id: `lab` with a node, `st-mary` with two.
struct Founders {
    lab: MemberCa,
    mary: MemberCa,
    genesis: pb::Genesis,
}

fn id(member: &str) -> MemberId {
    member.parse().unwrap()
}

fn vote_key() -> Vec<u8> {
    SigningKey::generate(SignatureAlgorithm::Es256).unwrap().verifying_key().raw().to_vec()
}

fn ders(ca: &MemberCa) -> Vec<bytes::Bytes> {
    ca.bundle().to_ders().into_iter().map(Into::into).collect()
}

fn member(ca: &MemberCa, raft_ids: &[u64]) -> GenesisMember {
    let node = |(i, raft_id): (usize, &u64)| GenesisNode {
        name: format!("n{}", i + 1),
        raft_id: *raft_id,
        peer_address: format!("127.0.0.1:{raft_id}1"),
        client_address: format!("127.0.0.1:{raft_id}2"),
        vote_key: vote_key().into(),
    };
    GenesisMember {
        id: ca.bundle().member().to_string(),
        display_name: "A hospital".into(),
        ca_bundle: ders(ca),
        stake: 10,
        nodes: raft_ids.iter().enumerate().map(node).collect(),
    }
}

impl Founders {
    fn new() -> Self {
        let (lab, mary) = (ca(OTHER), ca(MEMBER));
        let genesis = pb::Genesis {
            format_version: 1,
            network: "test".into(),
            time_ms: NOW as u64 * 1_000,
            parameters: Some(recommended_parameters()),
            members: vec![member(&lab, &[1]), member(&mary, &[2, 3])],
        };
        Self { lab, mary, genesis }
    }

    fn endorse(&self, ca: &MemberCa, role: Role, member: &str) -> Endorsement {
        let issued = issue(ca, role, "anna");
        let key = SigningKey::from_pem(&issued.key_pem.unwrap()).unwrap();
        let signature = key.sign(&endorsement_input(&ledger_id(&self.genesis.encode_to_vec()))).unwrap();
        Endorsement {
            member: member.into(),
            certificate_chain: vec![issued.certificate.der().to_vec().into()],
            signature: signature.to_vec().into(),
        }
    }

    fn endorsements(&self) -> Vec<Endorsement> {
        vec![self.endorse(&self.lab, Role::Admin, OTHER), self.endorse(&self.mary, Role::Admin, MEMBER)]
    }

    fn document(&self, endorsements: Vec<Endorsement>) -> Vec<u8> {
        GenesisDocument { body: self.genesis.encode_to_vec().into(), endorsements }.encode_to_vec()
    }

    fn parsed(&self, endorsements: Vec<Endorsement>) -> Genesis {
        Genesis::parse(&self.document(endorsements)).unwrap()
    }
}

/// The refusal of a genesis that was changed and then endorsed by all.
fn changed(change: impl FnOnce(&mut pb::Genesis)) -> GenesisError {
    let mut founders = Founders::new();
    change(&mut founders.genesis);
    let genesis = founders.parsed(founders.endorsements());
    assert_eq!(check(&genesis).err(), check_members(&genesis).err());
    check(&genesis).unwrap_err()
}

/// The refusal of a good genesis with other endorsements.
fn endorsed(change: impl FnOnce(&Founders, &mut Vec<Endorsement>)) -> GenesisError {
    let founders = Founders::new();
    let mut endorsements = founders.endorsements();
    change(&founders, &mut endorsements);
    let genesis = founders.parsed(endorsements);
    assert_eq!(check_members(&genesis), Ok(()));
    assert_eq!(check(&genesis).err(), verify_endorsements(&genesis).err());
    check(&genesis).unwrap_err()
}

#[test]
fn a_good_genesis_names_its_endorsers() {
    let founders = Founders::new();
    let endorsers = check(&founders.parsed(founders.endorsements())).unwrap();
    let endorsers: Vec<String> = endorsers.iter().map(|e| e.administrator.to_string()).collect();
    assert_eq!(endorsers, ["spiffe://lab.example/admin/anna", "spiffe://st-mary.example/admin/anna"]);
}

#[test]
fn names_addresses_and_bundles_are_each_members_own() {
    let name = NodeName::parse("name", "n1").unwrap();
    let twice = changed(|g| g.members[1].nodes[1].name = "n1".into());
    assert_eq!(twice, GenesisError::NodeTwice { member: id(MEMBER), node: name });
    let address =
        |member: &str, address: &str| GenesisError::AddressTwice { member: id(member), address: address.into() };
    let own = changed(|g| g.members[0].nodes[0].peer_address = "127.0.0.1:12".into());
    assert_eq!(own, address(OTHER, "127.0.0.1:12"));
    let others = changed(|g| g.members[1].nodes[1].client_address = "127.0.0.1:11".into());
    assert_eq!(others, address(MEMBER, "127.0.0.1:11"));
    let foreign = ders(&ca("mallory.example"));
    let found = BundleError::OtherMember { expected: id(OTHER), found: id("mallory.example") };
    let foreign = changed(|g| g.members[0].ca_bundle = foreign);
    assert_eq!(foreign, GenesisError::Bundle { member: id(OTHER), cause: found });
    let before_its_ca = changed(|g| g.time_ms = (NOW - 200 * DAY) as u64 * 1_000);
    assert_eq!(before_its_ca, GenesisError::CaNotValid { member: id(OTHER) });
}

#[test]
fn every_member_endorses_once_in_order_and_nobody_else() {
    let order = |member: &str| GenesisError::Order { member: id(member) };
    assert_eq!(endorsed(|_, e| e.swap(0, 1)), order(OTHER));
    assert_eq!(endorsed(|_, e| e.insert(0, e[0].clone())), order(OTHER));
    assert_eq!(endorsed(|f, e| e.push(f.endorse(&f.mary, Role::Admin, MEMBER))), order(MEMBER));
    assert_eq!(endorsed(|_, e| drop(e.remove(1))), GenesisError::NotEndorsed { members: vec![id(MEMBER)] });
    let stranger = GenesisError::Stranger { member: "mallory.example".into() };
    assert_eq!(endorsed(|f, e| e.push(f.endorse(&ca("mallory.example"), Role::Admin, "mallory.example"))), stranger);
    assert_eq!(endorsed(|_, e| e[1].member = "mallory.example".into()), stranger);
}

#[test]
fn an_endorsement_is_an_administrators_under_its_members_bundle() {
    let service = endorsed(|f, e| e[0] = f.endorse(&f.lab, Role::Service, OTHER));
    assert_eq!(service, GenesisError::NotAdmin { member: id(OTHER), found: Role::Service });
    let impostor = endorsed(|f, e| e[0] = f.endorse(&ca(OTHER), Role::Admin, OTHER));
    assert!(matches!(impostor, GenesisError::Certificate { .. }), "{impostor}");
    let other_member = endorsed(|f, e| e[0] = f.endorse(&f.mary, Role::Admin, OTHER));
    let cause = VerifyError::TrustDomain { presented: id(MEMBER), expected: id(OTHER) };
    assert_eq!(other_member, GenesisError::Certificate { member: id(OTHER), cause });
    let moved = Founders::new();
    let moved = endorsed(|_, e| e[0].signature = moved.endorsements()[0].signature.clone());
    assert_eq!(
        moved,
        GenesisError::Signature { member: id(OTHER), cause: SigningError::Invalid(SignatureAlgorithm::Es256) }
    );
    let cut = endorsed(|_, e| e[0].signature.truncate(63));
    assert_eq!(cut, GenesisError::Signature { member: id(OTHER), cause: SigningError::SignatureLength(63) });
}

#[test]
fn a_bundle_holds_cas_of_its_member_alone() {
    let of = |cas: &[&MemberCa]| -> Vec<Vec<u8>> { cas.iter().flat_map(|ca| ca.bundle().to_ders()).collect() };
    let (mary, next, lab) = (ca(MEMBER), ca(MEMBER), ca(OTHER));
    let is_bundle = |cas: &[&MemberCa]| is_bundle_of(&id(MEMBER), &of(cas));
    assert!(is_bundle(&[&mary]) && is_bundle(&[&mary, &next]));
    assert!(!is_bundle(&[&lab]) && !is_bundle(&[&mary, &lab]) && !is_bundle(&[&mary, &mary]) && !is_bundle(&[]));
    assert!(!is_bundle_of(&id(MEMBER), &[b"no certificate"]));
}

/// Node 5 of `st-mary` joins; node 1 of `lab` serves.
fn invitation(founders: &Founders) -> pb::JoinInvitation {
    let member = |ca: &MemberCa| pb::MemberState {
        id: ca.bundle().member().to_string(),
        ca_bundle: ders(ca),
        status: pb::MemberStatus::Active.into(),
        ..Default::default()
    };
    let node = |raft_id: u64, member: &str| pb::NodeState {
        raft_id,
        member: member.into(),
        name: "n5".into(),
        peer_address: "127.0.0.1:1".into(),
        client_address: "127.0.0.1:2".into(),
        vote_key: vote_key().into(),
        status: pb::NodeStatus::Active.into(),
        replaces: 0,
    };
    pb::JoinInvitation {
        genesis: founders.document(founders.endorsements()).into(),
        node: Some(node(5, MEMBER)),
        nodes: vec![node(1, OTHER)],
        members: vec![member(&founders.lab), member(&founders.mary)],
        height: 7,
    }
}

#[test]
fn an_invitation_tells_members_and_nodes() {
    let message = invitation(&Founders::new());
    let parsed = Invitation::parse(&message.encode_to_vec()).unwrap();
    assert_eq!(parsed.spiffe_id.to_string(), "spiffe://st-mary.example/node/n5");
    assert_eq!((parsed.height().0, parsed.own_bundle.member().as_str()), (7, MEMBER));
    assert_eq!(parsed.encode(), message.encode_to_vec());
    assert!(parsed.members.values().all(|member| member.standing == Standing::Active));
}

#[test]
fn an_invitation_that_does_not_hold_together_is_refused() {
    let founders = Founders::new();
    let good = invitation(&founders);
    let refusal = |spoil: &dyn Fn(&mut pb::JoinInvitation)| {
        let mut bad = good.clone();
        spoil(&mut bad);
        Invitation::parse(&bad.encode_to_vec()).unwrap_err()
    };
    let of_member = |problem| InvitationError::Member { member: OTHER.into(), problem };
    let of_node = |problem| InvitationError::Node { raft_id: 1, problem };
    assert_eq!(Invitation::parse(b"\xff\xff").unwrap_err(), InvitationError::Encoding);
    let unendorsed = founders.document(Vec::new());
    let missing = GenesisError::NotEndorsed { members: vec![id(OTHER), id(MEMBER)] };
    assert_eq!(refusal(&|i| i.genesis = unendorsed.clone().into()), InvitationError::Genesis(missing));
    assert_eq!(refusal(&|i| i.node = None), InvitationError::NoNode);
    assert_eq!(refusal(&|i| i.nodes.clear()), InvitationError::NobodyServes);
    assert_eq!(refusal(&|i| i.members[0].status = 0), of_member(MemberProblem::Standing));
    assert_eq!(refusal(&|i| i.members[0].status = 99), of_member(MemberProblem::Standing));
    assert_eq!(refusal(&|i| i.members.push(i.members[0].clone())), of_member(MemberProblem::Twice));
    let found = BundleError::OtherMember { expected: id(OTHER), found: id(MEMBER) };
    let foreign = refusal(&|i| i.members[0].ca_bundle = i.members[1].ca_bundle.clone());
    assert_eq!(foreign, of_member(MemberProblem::Bundle(found)));
    assert_eq!(refusal(&|i| drop(i.members.remove(0))), of_node(NodeProblem::MemberMissing));
    assert_eq!(refusal(&|i| i.nodes.push(i.nodes[0].clone())), of_node(NodeProblem::Twice));
    let retired = pb::NodeStatus::Retired as i32;
    assert_eq!(refusal(&|i| i.nodes[0].status = retired), of_node(NodeProblem::NotActive));
    let spoils: [fn(&mut pb::NodeState); 2] = [|n| n.name = "N".into(), |n| n.client_address = "no port".into()];
    for spoil in spoils {
        assert!(matches!(
            refusal(&|i| spoil(&mut i.nodes[0])),
            InvitationError::Node { problem: NodeProblem::Field(_), .. }
        ));
    }
    let bad_key = refusal(&|i| i.nodes[0].vote_key = vec![4; 65].into());
    assert!(matches!(bad_key, InvitationError::Node { problem: NodeProblem::VoteKey(_), .. }), "{bad_key}");
}

#[test]
fn the_rules_know_a_ca_by_its_key() {
    let (first, second) = (ca(MEMBER), ca(MEMBER));
    let bundle = [ders(&first), ders(&second)].concat();
    let mut both = [first.certificate().authority(), second.certificate().authority()];
    both.sort();
    assert_eq!(authorities(&bundle, &[]), both);
    assert_eq!(authorities(&bundle[1..], &[]), [second.certificate().authority()]);
    let issued = issue(&first, Role::Service, "ehr");
    let chain = [bytes::Bytes::copy_from_slice(issued.certificate.der())];
    let verified = |crls: &[bytes::Bytes]| verify(&chain, &bundle, crls, NOW as u64).map(|chain| chain.authority);
    assert_eq!(verified(&[]), Some(first.certificate().authority()));
    let serial = issued.certificate.serial();
    let list = |ca: &MemberCa| bytes::Bytes::from(ca.crl(&[revoked(serial)], 1, around(NOW)).unwrap());
    let parsed = verify_revocations(&list(&second), &bundle).unwrap();
    assert_eq!(parsed.authority(), second.certificate().authority());
    assert_eq!(verified(&[list(&second)]), Some(first.certificate().authority()));
    assert_eq!(verified(&[list(&first)]), None);
}
