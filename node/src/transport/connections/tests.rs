//! When a connection ends by the clock.

#![allow(clippy::unwrap_used)]

use consilium_certs::tls::StaticTrust;
use consilium_certs::{IdentityRequest, MemberCa, SubjectKey, Validity};
use time::{Duration, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const DAYS: std::time::Duration = std::time::Duration::from_secs(3 * 86_400);

fn validity(end: Duration) -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity { not_before: now - Duration::hours(1), not_after: now + end }
}

fn member(id: &str, ca_end: Duration) -> MemberCa {
    MemberCa::create(&id.parse().unwrap(), validity(ca_end)).unwrap()
}

fn leaf(ca: &MemberCa, name: &str) -> CertificateDer<'static> {
    leaf_of(ca, Role::Service, name)
}

fn leaf_of(ca: &MemberCa, role: Role, name: &str) -> CertificateDer<'static> {
    let request = IdentityRequest {
        role,
        name: name.into(),
        dns_names: vec!["localhost".into()],
        ip_addrs: Vec::new(),
        validity: validity(Duration::days(1)),
        key: SubjectKey::Generate,
    };
    CertificateDer::from(ca.issue(&request).unwrap().certificate.der().to_vec())
}

/// A connection of an identity that ends in a day, under a CA that ends as told.
fn kept(ca_end: Duration) -> (Arc<Connections>, Connection<tokio::io::DuplexStream>) {
    let (registry, connection, _) = connected(ca_end, Side::Caller);
    (registry, connection)
}

/// The same with the other end of it.
fn connected(
    ca_end: Duration,
    side: Side,
) -> (Arc<Connections>, Connection<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
    let ca = member("a.example", ca_end);
    let role = if side == Side::Called { Role::Node } else { Role::Service };
    let leaf = leaf_of(&ca, role, "ehr");
    let trust = MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
    let registry = Arc::new(Connections::new(Arc::new(StaticTrust::new([trust]))));
    let (stream, far) = tokio::io::duplex(16);
    let other = (Some(&[leaf][..]), ([127, 0, 0, 1], 1).into(), side);
    let connection = registry.keep(stream, other, None).unwrap();
    (registry, connection, far)
}

#[test]
fn a_connection_ends_with_the_first_certificate_of_its_path() {
    const HOUR_S: i64 = 3_600;
    let (registry, connection) = kept(Duration::hours(2));
    assert!(connection.info.stands());
    assert_eq!(registry.cut_expired(now_s() + HOUR_S), 0);
    assert_eq!(registry.cut_expired(now_s() + 3 * HOUR_S), 1);
    assert!(!connection.info.stands());
    let (registry, _connection) = kept(Duration::days(9));
    assert_eq!(registry.cut_expired(now_s() + 3 * HOUR_S), 0);
    assert_eq!(registry.cut_expired(now_s() + 25 * HOUR_S), 1);
}

#[test]
fn one_members_identities_together_leave_room_to_others() {
    let members = ["a.example", "b.example"].map(|id| member(id, Duration::days(9)));
    let trust = |ca: &MemberCa| MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
    let registry = Arc::new(Connections::new(Arc::new(StaticTrust::new(members.each_ref().map(trust)))));
    let limits = Some(ConnectionLimits { identity: 2, member: 3 });
    let connect = |ca: &MemberCa, name: &str, side| {
        let other = (Some(&[leaf(ca, name)][..]), ([127, 0, 0, 1], 1).into(), side);
        registry.keep(tokio::io::duplex(1).0, other, limits)
    };
    let [a, b] = &members;
    let _open = [connect(a, "x", Side::Caller), connect(a, "x", Side::Caller)].map(Result::unwrap);
    assert_eq!(connect(a, "x", Side::Caller).err(), Some(NotKept::TooMany));
    let third = connect(a, "y", Side::Caller).unwrap();
    assert_eq!(connect(a, "z", Side::Caller).err(), Some(NotKept::TooManyOfMember));
    assert!(connect(b, "x", Side::Caller).is_ok());
    drop(third);
    assert!(connect(a, "z", Side::Caller).is_ok());
}

#[test]
fn a_members_connections_are_cut_by_its_name_and_no_others() {
    let members = ["a.example", "b.example"].map(|id| member(id, Duration::days(9)));
    let trust = |ca: &MemberCa| MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
    let registry = Arc::new(Connections::new(Arc::new(StaticTrust::new(members.each_ref().map(trust)))));
    let connect = |ca: &MemberCa, name: &str, side| {
        let other = (Some(&[leaf(ca, name)][..]), ([127, 0, 0, 1], 1).into(), side);
        registry.keep(tokio::io::duplex(1).0, other, None).unwrap()
    };
    let [a, b] = &members;
    let of_a = [connect(a, "x", Side::Caller), connect(a, "y", Side::Caller)];
    let of_b = connect(b, "x", Side::Caller);
    assert_eq!(registry.cut_member(&"a.example".parse().unwrap()), 2);
    assert_eq!(of_a.each_ref().map(|connection| connection.info.stands()), [false, false]);
    assert!(of_b.info.stands());
    assert_eq!(registry.cut_member(&"a.example".parse().unwrap()), 0, "it was cut before");
    assert_eq!(registry.cut_member(&"c.example".parse().unwrap()), 0);
}

#[tokio::test]
async fn whoever_calls_and_says_nothing_is_not_waited_for() {
    const SHORT: std::time::Duration = std::time::Duration::from_millis(20);
    let (_registry, mut silent, _far) = connected(Duration::days(9), Side::Caller);
    assert!(matches!(silent.first, First::Awaited(FIRST_BYTE_MAX)));
    silent.first = First::Awaited(SHORT);
    assert_eq!(silent.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let (_registry, mut spoken, mut far) = connected(Duration::days(9), Side::Caller);
    spoken.first = First::Awaited(SHORT);
    far.write_u8(7).await.unwrap();
    assert_eq!(spoken.read_u8().await.unwrap(), 7);
    assert!(tokio::time::timeout(5 * SHORT, spoken.read_u8()).await.is_err(), "what spoke may rest");
    let (_registry, called, _far) = connected(Duration::days(9), Side::Called);
    assert!(matches!(called.first, First::Came), "who is called may wait to be asked");
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_its_identity_stands() {
    let (registry, mut connection, _far) = connected(Duration::days(9), Side::Caller);
    assert_eq!(registry.close_idle(DAYS), 0);
    let busy = connection.info.busy();
    assert_eq!(registry.close_idle(std::time::Duration::ZERO), 0);
    let other = connection.info.busy();
    drop(busy);
    assert_eq!(registry.close_idle(std::time::Duration::ZERO), 0);
    drop(other);
    assert_eq!(registry.close_idle(DAYS), 0);
    assert_eq!(registry.close_idle(std::time::Duration::ZERO), 1);
    assert!(connection.info.stands());
    assert_eq!(connection.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    let (registry, _connection, _far) = connected(Duration::days(9), Side::Called);
    assert_eq!(registry.close_idle(std::time::Duration::ZERO), 0, "of who was called the caller decides");
}
