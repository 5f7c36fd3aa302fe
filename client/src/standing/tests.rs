#![allow(clippy::unwrap_used)]
use consilium_certs::{RevocationReason, RevokeTarget};
use time::OffsetDateTime;

use super::*;
use crate::files;
use crate::fixture::{MEMBER, Member, Network};

fn row(member: &Member) -> MemberState {
    let ca_bundle = member.ca.ca().bundle().to_ders().into_iter().map(Into::into).collect();
    MemberState { id: member.id.clone(), ca_bundle, status: MemberStatus::Active.into(), ..Default::default() }
}

fn shown(member: &Member, identity: &str) -> Presented {
    let pem = files::read(&member.dir.join(format!("{identity}.pem")), 100_000).unwrap();
    let chain = consilium_certs::pem::certificates(&pem).unwrap();
    let id = consilium_certs::IdentityCertificate::parse(&chain[0]).unwrap().spiffe_id().clone();
    Presented { id, chain, address: String::new() }
}

fn judged(row: Option<MemberState>, server: &Presented) -> Result<(), Refusal> {
    Standing::of(server.id.member(), row).unwrap().judge(server)
}

#[test]
fn a_node_stands_and_falls_with_its_members_row() {
    let network = Network::new();
    let (member, id) = (&network.member, MEMBER.parse::<MemberId>().unwrap());
    let node = shown(member, "node-n1");
    assert_eq!(judged(Some(row(member)), &node), Ok(()));
    assert_eq!(judged(None, &node), Err(Refusal::NoMember(id.clone())));
    for (status, refusal) in [
        (MemberStatus::Suspended, Refusal::Suspended(id.clone())),
        (MemberStatus::Removed, Refusal::Removed(id.clone())),
    ] {
        let row = MemberState { status: status.into(), ..row(member) };
        assert_eq!(judged(Some(row), &node), Err(refusal));
    }
    // Under the CA of the genesis, which has left the bundle since.
    let rotated = Member::new(&network.folder.path().join("rotated"), MEMBER, 1);
    assert!(matches!(judged(Some(row(&rotated)), &node), Err(Refusal::Certificate(_))));
    assert_eq!(judged(Some(row(&rotated)), &shown(&rotated, "node-n1")), Ok(()));
    // Listed as withdrawn, whatever the bundle says.
    let withdrawn = member.ca.ca().bundle().certificates().iter().map(|ca| ca.authority().to_bytes()).collect();
    let withdrawn = MemberState { withdrawn, ..row(member) };
    assert_eq!(judged(Some(withdrawn), &node), Err(Refusal::Withdrawn(id)));
    // An identity of another role is no node.
    assert!(matches!(judged(Some(row(member)), &shown(member, "service-ehr")), Err(Refusal::Certificate(_))));
}

#[test]
fn a_revoked_node_is_refused_and_an_overdue_list_locks_nobody_out() {
    let network = Network::new();
    let member = &network.member;
    let now = OffsetDateTime::now_utc();
    let node = shown(member, "node-n1");
    let overdue = member.ca.crl(now - time::Duration::days(9), time::Duration::days(1)).unwrap();
    let with = |crl: Vec<u8>| Some(MemberState { crls: vec![crl.into()], ..row(member) });
    assert_eq!(judged(with(overdue), &node), Ok(()));
    member.ca.revoke(&RevokeTarget::Identity(node.id.clone()), RevocationReason::KeyCompromise, now).unwrap();
    let crl = member.ca.crl(now, time::Duration::days(7)).unwrap();
    let refused = judged(with(crl), &node);
    assert!(matches!(refused, Err(Refusal::Certificate(VerifyError::Revoked { .. }))), "{refused:?}");
    assert_eq!(judged(Some(row(member)), &shown(member, "node-n4")), Ok(()), "another one is not touched");
}

#[test]
fn a_row_of_another_member_is_a_contradiction() {
    let network = Network::new();
    let other: MemberId = "other.example".parse().unwrap();
    assert!(Standing::of(&other, Some(row(&network.member))).is_err());
    let unspecified = MemberState { status: MemberStatus::Unspecified.into(), ..row(&network.member) };
    assert!(Standing::of(&MEMBER.parse().unwrap(), Some(unspecified)).is_err());
}
