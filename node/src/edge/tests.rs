//! What a call passes, with services that would do anything.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use consilium_certs::tls::{MemberTrust, StaticTrust};
use consilium_certs::{IdentityRequest, MemberCa, SubjectKey, Validity};
use consilium_proto::names::Role;
use http_body_util::BodyExt;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tonic::Code;
use tonic::transport::server::Connected;
use tonic_types::StatusExt;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::transport::connections::{Connection, Connections, Side};

const LONGEST: Duration = Duration::from_secs(60);
const STATUS: &str = "/consilium.v1.OperatorService/GetStatus";
const WATCH: &str = "/consilium.v1.LedgerService/Watch";
const SUBMIT: &str = "/consilium.v1.LedgerService/Submit";

/// A connection of an identity, with the registry that can cut it.
struct Caller {
    registry: Arc<Connections>,
    connection: Connection<tokio::io::DuplexStream>,
}

impl Caller {
    fn new(role: Role) -> Self {
        let now = OffsetDateTime::now_utc();
        let validity =
            Validity { not_before: now - time::Duration::hours(1), not_after: now + time::Duration::hours(9) };
        let ca = MemberCa::create(&"a.example".parse().unwrap(), validity).unwrap();
        let request = IdentityRequest {
            role,
            name: "ehr".into(),
            dns_names: vec!["localhost".into()],
            ip_addrs: Vec::new(),
            validity,
            key: SubjectKey::Generate,
        };
        let leaf = CertificateDer::from(ca.issue(&request).unwrap().certificate.der().to_vec());
        let trust = MemberTrust { bundle: ca.bundle().clone(), crls: Vec::new(), suspended: false };
        let registry = Arc::new(Connections::new(Arc::new(StaticTrust::new([trust]))));
        let other = (Some(&[leaf][..]), ([127, 0, 0, 1], 1).into(), Side::Caller);
        let connection = registry.keep(tokio::io::duplex(1).0, other, None).unwrap();
        Self { registry, connection }
    }

    fn request(&self, path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
        let mut request = Request::builder().uri(path).extension(self.connection.connect_info());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }
}

/// What a caller gets to know of an answer.
fn told<B>(response: &Response<B>) -> (Code, String) {
    let status = Status::from_header_map(response.headers()).unwrap_or_else(|| Status::new(Code::Ok, ""));
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// Whether the service was asked, and what the caller is told.
async fn asked(edge: &Edge, request: Request<Body>) -> (bool, (Code, String)) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_: Request<Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Body::empty())) }
    });
    let response = edge.layer(service).oneshot(request).await.unwrap();
    (calls.load(Ordering::Relaxed) == 1, told(&response))
}

fn clients() -> Edge {
    Edge::of_clients(2, LONGEST)
}

fn refused(code: Code, reason: &str) -> (bool, (Code, String)) {
    (false, (code, reason.to_owned()))
}

#[tokio::test]
async fn a_call_is_judged_by_its_head() {
    let (edge, service) = (clients(), Caller::new(Role::Service));
    let well = (true, (Code::Ok, String::new()));
    assert_eq!(asked(&edge, service.request(STATUS, &[])).await, well);
    assert_eq!(asked(&edge, service.request(STATUS, &[("grpc-encoding", "identity")])).await, well);
    let nowhere = "/consilium.v1.LedgerService/Rewrite";
    let unknown = refused(Code::Unimplemented, "UNKNOWN_METHOD");
    assert_eq!(asked(&edge, service.request(nowhere, &[])).await, unknown);
    assert_eq!(asked(&edge, service.request("/consilium.v1.PeerService/Exchange", &[])).await, unknown);
    let compressed = service.request(STATUS, &[("grpc-encoding", "gzip")]);
    assert_eq!(asked(&edge, compressed).await, refused(Code::Unimplemented, "COMPRESSION_REFUSED"));
    let soon = service.request(STATUS, &[("grpc-timeout", "soon")]);
    assert_eq!(asked(&edge, soon).await, refused(Code::InvalidArgument, "INVALID_ARGUMENT"));
    let transfer = "/consilium.v1.OperatorService/TransferLeadership";
    assert_eq!(
        asked(&edge, service.request(transfer, &[])).await,
        refused(Code::PermissionDenied, "PERMISSION_DENIED")
    );
    assert_eq!(asked(&edge, Caller::new(Role::Admin).request(transfer, &[])).await, well);
    let nobody = Request::builder().uri(STATUS).body(Body::empty()).unwrap();
    assert_eq!(asked(&edge, nobody).await, refused(Code::Unauthenticated, "IDENTITY_REFUSED"));
    service.registry.cut_member(&"a.example".parse().unwrap());
    let health = service.request("/grpc.health.v1.Health/Check", &[]);
    assert_eq!(asked(&edge, health).await, refused(Code::Unauthenticated, "IDENTITY_REFUSED"));
}

#[tokio::test]
async fn streams_of_every_kind_have_a_place_until_they_are_over() {
    let (edge, caller) = (clients(), Caller::new(Role::Service));
    let service = service_fn(|_: Request<Body>| async {
        let silent = futures::stream::pending::<Result<Frame<Bytes>, Status>>();
        Ok::<_, Infallible>(Response::new(Body::new(http_body_util::StreamBody::new(silent))))
    });
    let call = |path| edge.layer(service).oneshot(caller.request(path, &[]));
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let open = [call("/grpc.health.v1.Health/Watch").await.unwrap(), call(reflection).await.unwrap()];
    assert_eq!(told(&call(WATCH).await.unwrap()), (Code::ResourceExhausted, "OVERLOADED".to_owned()));
    assert_eq!(told(&call(STATUS).await.unwrap()).0, Code::Ok);
    drop(open);
    assert_eq!(told(&call(WATCH).await.unwrap()).0, Code::Ok);
}

#[test]
fn a_members_people_leave_streams_to_others() {
    let streams = Reserve::new(room(2));
    let name = |member: &str, number: usize| -> SpiffeId {
        format!("spiffe://{member}.example/clinician/c{number}").parse().unwrap()
    };
    let take = |member: &str, number: usize| streams.take(&name(member, number));
    let held: Vec<_> = (0..2 * IDENTITIES_OF_MEMBER).map(|number| take("a", number / 2).unwrap()).collect();
    assert!(take("a", 0).is_none() && take("a", 99).is_none());
    assert!(take("b", 0).is_some());
    drop(held);
    assert!(take("a", 99).is_some());
}

#[tokio::test]
async fn calls_end_in_time_and_say_what_may_come_of_them() {
    let (edge, caller) = (clients(), Caller::new(Role::Service));
    let never = service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let late = async |path: &'static str, timeout: &'static str| {
        told(&edge.layer(never).oneshot(caller.request(path, &[("grpc-timeout", timeout)])).await.unwrap())
    };
    let over = |reason: &str| (Code::DeadlineExceeded, reason.to_owned());
    assert_eq!(late(STATUS, "20m").await, over("DEADLINE"));
    assert_eq!(late(STATUS, "0n").await, over("DEADLINE"));
    assert_eq!(late(SUBMIT, "20m").await, over("OUTCOME_UNKNOWN"));
    assert_eq!(late(WATCH, "20m").await, over("DEADLINE"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_to_the_service() {
    let pace = Pace { patience: Duration::from_millis(20), ..PACE_OF_CLIENTS };
    let door = Door { rpcs: rpcs::of_clients(), pace, longest: LONGEST, streams: None };
    let (edge, caller) = (Edge(Arc::new(door)), Caller::new(Role::Service));
    let reads = service_fn(|request: Request<Body>| async {
        let failed = request.into_body().collect().await.err();
        Ok::<_, Infallible>(failed.map_or_else(|| Response::new(Body::empty()), Status::into_http))
    });
    let silent = http_body_util::StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, Status>>());
    let request = caller.request(STATUS, &[]).map(|_| Body::new(silent));
    let answer = edge.layer(reads).oneshot(request).await.unwrap();
    assert_eq!(told(&answer), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
    let whole = edge.layer(reads).oneshot(caller.request(STATUS, &[])).await.unwrap();
    assert_eq!(told(&whole).0, Code::Ok);
}

#[tokio::test]
async fn nobody_is_refused_without_a_reason() {
    let (edge, caller) = (clients(), Caller::new(Role::Service));
    let at_once = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Status::out_of_range("found 70000 bytes").into_http::<Body>())
    });
    let answer = edge.layer(at_once).oneshot(caller.request(STATUS, &[])).await.unwrap();
    assert_eq!(told(&answer), (Code::InvalidArgument, "TOO_LARGE".to_owned()));
    // Behind some answers of a stream.
    let later = service_fn(|_: Request<Body>| async {
        let mut trailers = tonic::codegen::http::HeaderMap::new();
        Status::internal("failed to decode").add_header(&mut trailers).unwrap();
        let frames = [Frame::data(Bytes::from_static(b"item")), Frame::trailers(trailers)];
        let frames = futures::stream::iter(frames.map(Ok::<_, Status>));
        Ok::<_, Infallible>(Response::new(Body::new(http_body_util::StreamBody::new(frames))))
    });
    let answer = edge.layer(later).oneshot(caller.request(WATCH, &[])).await.unwrap();
    let collected = answer.into_body().collect().await.unwrap();
    let ended = Status::from_header_map(collected.trailers().unwrap()).unwrap();
    assert_eq!(
        (ended.code(), ended.get_details_error_info().unwrap().reason.as_str()),
        (Code::InvalidArgument, "INVALID_ARGUMENT")
    );
    assert_eq!(collected.to_bytes(), "item");
}
