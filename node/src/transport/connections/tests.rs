//! When a connection ends by the clock.

#![allow(clippy::unwrap_used)]

use consilium_certs::tls::StaticTrust;
use consilium_certs::{IdentityRequest, MemberCa, SubjectKey, Validity};
use time::{Duration, OffsetDateTime};

use super::*;

fn validity(end: Duration) -> Validity {
    let now = OffsetDateTime::now_utc();
    Validity { not_before: now - Duration::hours(1), not_after: now + end }
}

fn member(id: &str, ca_end: Duration) -> MemberCa {
    MemberCa::create(&id.parse().unwrap(), validity(ca_end)).unwrap()
}

fn leaf(ca: &MemberCa, name: &str) -> CertificateDer<'static> {
    let request = IdentityRequest {
        role: Role::Service,
        name: name.into(),
        dns_names: Vec::new(),
        ip_addrs: Vec::new(),
        validity: validity(Duration::days(1)),
        key: SubjectKey::Generate,
    };
    CertificateDer::from(ca.issue(&request).unwrap().certificate.der().to_vec())
}

/// A connection of an identity that ends in a day, under a CA that ends as told.
fn kept(ca_end: Duration) -> (Arc<Connections>, Connection<tokio::io::DuplexStream>) {
    let ca = member("a.example", ca_end);
    let leaf = leaf(&ca, "ehr");
    let trust = MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
    let registry = Arc::new(Connections::new(Arc::new(StaticTrust::new([trust]))));
    let stream = tokio::io::duplex(1).0;
    let other = (Some(&[leaf][..]), ([127, 0, 0, 1], 1).into(), Side::Caller);
    let connection = registry.keep(stream, other, None).unwrap();
    (registry, connection)
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
