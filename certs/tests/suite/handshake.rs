//! Real TLS 1.3 handshakes over memory.

use std::sync::{Arc, Mutex};

use consilium_certs::tls::{
    ConsiliumClientVerifier, ConsiliumServerVerifier, ExpectedServer, MemberTrust, StaticTrust, TrustSource,
    client_config, peer_identity, server_config,
};
use consilium_certs::{Crl, IdentityRequest, LoadedIdentity, MemberCa, Serial, SubjectKey, VerifyError};
use consilium_proto::names::{MemberId, Role};
use rustls::sign::SingleCertAndKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, Error, HandshakeKind, NamedGroup,
    ProtocolVersion, ServerConfig, ServerConnection,
};

use crate::common::*;

type Refusals = Arc<Mutex<Vec<VerifyError>>>;

/// Carries bytes both ways until nobody has more to say; each side's outcome.
fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> (Result<(), Error>, Result<(), Error>) {
    let (mut client_outcome, mut server_outcome) = (Ok(()), Ok(()));
    for _ in 0..10 {
        carry(client, server, &mut server_outcome);
        carry(server, client, &mut client_outcome);
    }
    (client_outcome, server_outcome)
}

fn carry<A, B>(from: &mut A, to: &mut B, outcome: &mut Result<(), Error>)
where
    A: std::ops::DerefMut<Target = rustls::ConnectionCommon<A::Data>> + Side,
    B: std::ops::DerefMut<Target = rustls::ConnectionCommon<B::Data>> + Side,
{
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() && outcome.is_ok() {
        to.read_tls(&mut rest).unwrap();
        *outcome = to.process_new_packets().map(|_| ());
    }
}

trait Side {
    type Data;
}

impl Side for ClientConnection {
    type Data = rustls::client::ClientConnectionData;
}

impl Side for ServerConnection {
    type Data = rustls::server::ServerConnectionData;
}

/// A consortium of two members, valid now by the clock that rustls reads.
struct World {
    mary: MemberCa,
    lab: MemberCa,
    refusals: Refusals,
}

impl World {
    fn new() -> Self {
        let now = clock();
        let ca = |member: &str| {
            let validity = validity(now - DAY, now + 100 * DAY);
            MemberCa::create(&member.parse().unwrap(), validity).unwrap()
        };
        Self { mary: ca(MEMBER), lab: ca(OTHER), refusals: Refusals::default() }
    }

    fn trust(&self) -> Vec<MemberTrust> {
        let trust = |ca: &MemberCa| MemberTrust { bundle: ca.bundle().clone(), crls: vec![], suspended: false };
        vec![trust(&self.mary), trust(&self.lab)]
    }

    fn server(&self, trust: Vec<MemberTrust>, roles: &[Role], identity: &Arc<LoadedIdentity>) -> ServerConfig {
        let refusals = Arc::clone(&self.refusals);
        let source: Arc<dyn TrustSource> = Arc::new(StaticTrust::new(trust));
        let verifier = ConsiliumClientVerifier::new(source, roles.iter().copied())
            .on_refusal(Arc::new(move |error| refusals.lock().unwrap().push(error.clone())));
        let resolver = Arc::new(SingleCertAndKey::from(identity.certified_key()));
        server_config(Arc::new(verifier), resolver).unwrap()
    }

    fn client(&self, expected: ExpectedServer, identity: &Arc<LoadedIdentity>) -> ClientConfig {
        let refusals = Arc::clone(&self.refusals);
        let source: Arc<dyn TrustSource> = Arc::new(StaticTrust::new(self.trust()));
        let verifier = ConsiliumServerVerifier::new(source, expected)
            .on_refusal(Arc::new(move |error| refusals.lock().unwrap().push(error.clone())));
        let resolver = Arc::new(SingleCertAndKey::from(identity.certified_key()));
        client_config(Arc::new(verifier), resolver).unwrap()
    }

    fn refused_because(&self) -> Vec<VerifyError> {
        self.refusals.lock().unwrap().clone()
    }
}

fn identity_of(ca: &MemberCa, role: Role, name: &str) -> Arc<LoadedIdentity> {
    identity_valid(ca, role, name, clock() - DAY, clock() + DAY)
}

fn identity_valid(ca: &MemberCa, role: Role, name: &str, from: i64, to: i64) -> Arc<LoadedIdentity> {
    let request = IdentityRequest {
        role,
        name: name.into(),
        dns_names: vec![],
        ip_addrs: vec![],
        validity: validity(from, to),
        key: SubjectKey::Generate,
    };
    let issued = ca.issue(&request).unwrap();
    let key = issued.key_pem.unwrap();
    let loaded = LoadedIdentity::from_pem(issued.cert_pem.as_bytes(), key.as_bytes());
    Arc::new(loaded.unwrap())
}

fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (ClientConnection, ServerConnection) {
    let name = "an.address.that.names.nobody".try_into().unwrap();
    (ClientConnection::new(Arc::clone(client), name).unwrap(), ServerConnection::new(Arc::clone(server)).unwrap())
}

/// One handshake of a client with St. Mary's node; each side's outcome.
fn attempt(
    world: &World,
    trust: Vec<MemberTrust>,
    roles: &[Role],
    identity: &Arc<LoadedIdentity>,
) -> (Result<(), Error>, Result<(), Error>) {
    let node = identity_of(&world.mary, Role::Node, "n1");
    let server = Arc::new(world.server(trust, roles, &node));
    let client = Arc::new(world.client(ExpectedServer::AnyNode, identity));
    let (mut client, mut server) = connect(&client, &server);
    shake(&mut client, &mut server)
}

fn alert(description: AlertDescription) -> Result<(), Error> {
    Err(Error::AlertReceived(description))
}

fn invalid(error: CertificateError) -> Result<(), Error> {
    Err(Error::InvalidCertificate(error))
}

fn serial_of(identity: &LoadedIdentity) -> Serial {
    identity.identity().serial().clone()
}

#[test]
fn accepts_with_hybrid_key_exchange_and_without_resumption() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let nurse = identity_of(&world.lab, Role::Clinician, "nurse");
    let expected = ExpectedServer::Exactly(node.identity().spiffe_id().clone());
    let server_config = Arc::new(world.server(world.trust(), &Role::ALL, &node));
    let client_config = Arc::new(world.client(expected, &nurse));
    // A second time with the same configurations, where others would resume.
    for _ in 0..2 {
        let (mut client, mut server) = connect(&client_config, &server_config);
        assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())));
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = client.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.tls13_tickets_received(), 0);
        assert_eq!(server.alpn_protocol(), Some(&b"h2"[..]));
        let peer = peer_identity(server.peer_certificates()).unwrap();
        assert_eq!(&peer, nurse.identity());
        let peer = peer_identity(client.peer_certificates()).unwrap();
        assert_eq!(&peer, node.identity());
    }
    assert_eq!(world.refused_because(), []);
    assert_eq!(peer_identity(None), Err(VerifyError::EmptyChain));
}

#[test]
fn a_client_without_the_hybrid_falls_back() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let server = Arc::new(world.server(world.trust(), &Role::ALL, &node));
    let mut provider = consilium_certs::tls::provider();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    let verifier = ConsiliumServerVerifier::new(Arc::new(StaticTrust::new(world.trust())), ExpectedServer::AnyNode);
    let client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            identity_of(&world.lab, Role::Clinician, "p1").certified_key(),
        )));
    let (mut client, mut server) = connect(&Arc::new(client), &server);
    assert_eq!(shake(&mut client, &mut server), (Ok(()), Ok(())));
    let group = server.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519);
}

#[test]
fn the_wrong_members_ca_is_refused() {
    let world = World::new();
    // The laboratory's CA mints an administrator of St. Mary's.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = leaf_params();
    params.not_before = at(clock() - DAY);
    params.not_after = at(clock() + DAY);
    params.subject_alt_names = vec![uri("spiffe://st-mary.example/admin/evil")];
    let ca_key = rcgen::KeyPair::from_pem(&world.lab.key_pem()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(world.lab.cert_pem(), &ca_key).unwrap();
    let minted = params.signed_by(&key, &issuer).unwrap();
    let identity = LoadedIdentity::from_pem(minted.pem().as_bytes(), key.serialize_pem().as_bytes());
    let outcome = attempt(&world, world.trust(), &Role::ALL, &Arc::new(identity.unwrap()));
    assert_eq!(outcome.0, alert(AlertDescription::UnknownCA));
    assert_eq!(outcome.1, invalid(CertificateError::UnknownIssuer));
    assert_eq!(world.refused_because(), [VerifyError::UnknownIssuer]);
}

#[test]
fn strangers_suspended_members_and_wrong_roles_are_refused() {
    let world = World::new();
    let service = identity_of(&world.lab, Role::Service, "lis");
    let member: MemberId = OTHER.parse().unwrap();

    let only_mary = world.trust().into_iter().take(1).collect();
    let outcome = attempt(&world, only_mary, &Role::ALL, &service);
    assert_eq!(outcome.0, alert(AlertDescription::UnknownCA));

    let mut suspended = world.trust();
    suspended[1].suspended = true;
    let outcome = attempt(&world, suspended, &Role::ALL, &service);
    assert_eq!(outcome.0, alert(AlertDescription::AccessDenied));

    let outcome = attempt(&world, world.trust(), &[Role::Node], &service);
    assert_eq!(outcome.0, alert(AlertDescription::AccessDenied));
    assert_eq!(
        world.refused_because(),
        [
            VerifyError::UnknownMember(member.clone()),
            VerifyError::MemberSuspended(member),
            VerifyError::RoleNotAccepted(Role::Service),
        ]
    );
}

#[test]
fn revoked_and_stale_revocation_are_refused() {
    let world = World::new();
    let now = clock();
    let service = identity_of(&world.lab, Role::Service, "lis");
    let with_crl = |entries: &[_], next_update| {
        let der = world.lab.crl(entries, 1, validity(now - DAY, next_update)).unwrap();
        let mut trust = world.trust();
        trust[1].crls = vec![Crl::parse(&der, world.lab.bundle()).unwrap()];
        trust
    };
    let fresh = with_crl(&[], now + DAY);
    let outcome = attempt(&world, fresh, &Role::ALL, &service);
    assert_eq!(outcome, (Ok(()), Ok(())));

    let entry = revoked(&serial_of(&service));
    let outcome = attempt(&world, with_crl(&[entry], now + DAY), &Role::ALL, &service);
    assert_eq!(outcome.0, alert(AlertDescription::CertificateRevoked));

    let outcome = attempt(&world, with_crl(&[], now - 60), &Role::ALL, &service);
    assert_eq!(outcome.0, alert(AlertDescription::UnknownCA));
    let reasons = world.refused_because();
    let serial = serial_of(&service);
    assert_eq!(reasons[0], VerifyError::Revoked { serial });
    assert!(matches!(reasons[1], VerifyError::CrlExpired { next_update, .. } if next_update == now - 60));
}

#[test]
fn expired_and_not_yet_valid_are_refused() {
    let world = World::new();
    let now = clock();
    for (from, to) in [(now - 2 * DAY, now - DAY), (now + DAY, now + 2 * DAY)] {
        let stale = identity_valid(&world.lab, Role::Service, "lis", from, to);
        let outcome = attempt(&world, world.trust(), &Role::ALL, &stale);
        assert_eq!(outcome.0, alert(AlertDescription::CertificateExpired));
    }
    let reasons = world.refused_because();
    assert!(matches!(reasons[0], VerifyError::Expired { .. }));
    assert!(matches!(reasons[1], VerifyError::NotYetValid { .. }));
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let server = Arc::new(world.server(world.trust(), &Role::ALL, &node));
    let verifier = ConsiliumServerVerifier::new(Arc::new(StaticTrust::new(world.trust())), ExpectedServer::AnyNode);
    let client = ClientConfig::builder_with_provider(Arc::new(consilium_certs::tls::provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let (mut client, mut server) = connect(&Arc::new(client), &server);
    let outcome = shake(&mut client, &mut server);
    assert_eq!(outcome.0, alert(AlertDescription::CertificateRequired));
    assert_eq!(outcome.1, Err(Error::NoCertificatesPresented));
}

#[test]
fn a_client_refuses_servers_that_it_did_not_expect() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let clinician = identity_of(&world.mary, Role::Clinician, "who");
    let try_server = |served: &Arc<LoadedIdentity>, expected: ExpectedServer| {
        let server = Arc::new(world.server(world.trust(), &Role::ALL, served));
        let client = Arc::new(world.client(expected, &clinician));
        let (mut client, mut server) = connect(&client, &server);
        shake(&mut client, &mut server).0
    };
    let mary: MemberId = MEMBER.parse().unwrap();
    let lab: MemberId = OTHER.parse().unwrap();
    let id = node.identity().spiffe_id().clone();
    let other_id = "spiffe://st-mary.example/node/n2".parse().unwrap();
    let denied = invalid(CertificateError::ApplicationVerificationFailure);

    assert_eq!(try_server(&node, ExpectedServer::NodeOf(mary.clone())), Ok(()));
    assert_eq!(try_server(&node, ExpectedServer::NodeOf(lab.clone())), invalid(CertificateError::UnknownIssuer));
    let expected = ExpectedServer::Exactly(other_id);
    assert_eq!(try_server(&node, expected.clone()), denied);
    // A clinician's certificate cannot play a server.
    assert_eq!(try_server(&clinician, ExpectedServer::AnyNode), denied);
    let ExpectedServer::Exactly(other_id) = expected else { unreachable!() };
    assert_eq!(
        world.refused_because(),
        [
            VerifyError::TrustDomain { presented: mary, expected: lab },
            VerifyError::UnexpectedIdentity { presented: Box::new(id), expected: Box::new(other_id) },
            VerifyError::WrongPurpose { role: Role::Clinician, purpose: consilium_certs::Purpose::Server },
        ]
    );
}

#[test]
fn a_stolen_certificate_without_its_key_is_of_no_use() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let victim = identity_of(&world.lab, Role::Admin, "chief");
    let thief = identity_of(&world.lab, Role::Clinician, "p1");
    let stolen =
        rustls::sign::CertifiedKey::new(victim.certified_key().cert.clone(), Arc::clone(&thief.certified_key().key));
    let server = Arc::new(world.server(world.trust(), &Role::ALL, &node));
    let mut client = world.client(ExpectedServer::AnyNode, &thief);
    client.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
    let (mut client, mut server) = connect(&Arc::new(client), &server);
    let outcome = shake(&mut client, &mut server);
    assert_eq!(outcome.1, invalid(CertificateError::BadSignature));
}

/// Both sides speak through the common type as well, as tokio-rustls does.
#[test]
fn connections_are_plain_rustls_connections() {
    let world = World::new();
    let node = identity_of(&world.mary, Role::Node, "n1");
    let server = Arc::new(world.server(world.trust(), &Role::ALL, &node));
    let connection = Connection::Server(ServerConnection::new(server).unwrap());
    assert!(connection.is_handshaking());
}
