//! The listeners and what they serve.

use std::sync::Arc;
use std::time::Duration;

use consilium_certs::tls::{ConsiliumClientVerifier, RefusalHook, TrustSource, server_config};
use consilium_grpc::access_service_server::AccessServiceServer;
use consilium_grpc::governance_service_server::GovernanceServiceServer;
use consilium_grpc::identity_service_server::IdentityServiceServer;
use consilium_grpc::ledger_service_server::LedgerServiceServer;
use consilium_grpc::operator_service_server::OperatorServiceServer;
use consilium_grpc::patients_service_server::PatientsServiceServer;
use consilium_grpc::peer_service_server::PeerServiceServer;
use consilium_grpc::records_service_server::RecordsServiceServer;
use consilium_grpc::validators_service_server::ValidatorsServiceServer;
use consilium_proto::names::Role;
use consilium_proto::pb;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic::transport::server::Router as TonicRouter;
use tower::layer::util::{Identity, Stack};

use crate::api::Api;
use crate::config::Config;
use crate::contained::ContainRequests;
use crate::edge::Edge;
use crate::edge::rpcs::{self, SMALL_MESSAGE_BYTES_MAX};
use crate::fault::Fault;
use crate::http;
use crate::identity::trust::LedgerTrust;
use crate::published::Published;
use crate::setup::Prepared;
use crate::transport::PEER_MESSAGE_BYTES_MAX;
use crate::transport::accept::{AcceptLimits, Accepted, accept, note_refusal};
use crate::transport::connections::{ConnectionLimits, Connections, POLICY};
use crate::transport::peer_service::Peers;
use consilium_proto::limits::REQUEST_BYTES_MAX;

/// Services of ours: they serve, or do not, together.
const OURS: &str = "consilium.";
/// Requests under way on a connection of a peer.
const PEER_CONCURRENCY: usize = 1_024;
/// A connection of a client is told to end after so long, when it may well begin another: what was
/// agreed on in a handshake does not hold for ever.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60 * 60);
/// And ends after so much longer: its last requests are answered by then.
const CONNECTION_GRACE: Duration = Duration::from_secs(90);
/// What a client may send ahead of what is read of a call: a message of the longest kind.
const CLIENT_CALL_WINDOW: u32 = 1_024 * 1_024 + 64 * 1_024;
/// Of all its calls on a connection together.
const CLIENT_CONNECTION_WINDOW: u32 = 2 * 1_024 * 1_024;
const PEER_CALL_WINDOW: u32 = 4 * 1_024 * 1_024;
const PEER_CONNECTION_WINDOW: u32 = 16 * 1_024 * 1_024;

/// Every request is contained, and passes the edge.
type Layers = Stack<Edge, Stack<ContainRequests, Identity>>;
type Router = TonicRouter<Layers>;

/// Bound sockets.
pub(super) struct Listeners {
    client: TcpListener,
    peer: TcpListener,
    http: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// The key whose address cannot be listened on.
    pub(super) async fn bind(config: &Config) -> Result<Self, Fault> {
        let bind = |key: &'static str, address| async move {
            let failed =
                |e| Fault::System(format!("configuration key `listen.{key}`: cannot listen on {address}: {e}"));
            TcpListener::bind(address).await.map_err(failed)
        };
        let http = match config.listen.http {
            Some(address) => Some(bind("http", address).await?),
            None => None,
        };
        Ok(Self {
            client: bind("client", config.listen.client).await?,
            peer: bind("peer", config.listen.peer).await?,
            http,
        })
    }
}

/// What all listeners share.
pub(super) struct Serving<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) published: &'a Arc<Published>,
    pub(super) trust: &'a Arc<LedgerTrust>,
    pub(super) connections: &'a Arc<Connections>,
    pub(super) stopping: &'a CancellationToken,
}

impl Serving<'_> {
    /// Starts the services.
    ///
    /// # Errors
    /// If TLS or reflection cannot be set up.
    pub(super) fn start(
        &self,
        listeners: Listeners,
        api: Api,
        peers: Peers,
        metrics: PrometheusHandle,
    ) -> Result<(), Fault> {
        let limits = &self.prepared.config.limits;
        let client_tls = self.acceptor(Role::ALL.to_vec())?;
        let peer_tls = self.acceptor(vec![Role::Node])?;
        let router = self.client_router(api)?;
        self.listen(router, listeners.client, client_tls, limits.connections_max.get());
        self.listen(peer_router(peers), listeners.peer, peer_tls, limits.peer_connections_max.get());
        if let Some(listener) = listeners.http {
            tokio::spawn(http::serve(listener, Arc::clone(self.published), metrics));
        }
        Ok(())
    }

    fn acceptor(&self, roles: Vec<Role>) -> Result<TlsAcceptor, Fault> {
        let trust: Arc<dyn TrustSource> = Arc::<LedgerTrust>::clone(self.trust);
        let hook: RefusalHook = Arc::new(note_refusal);
        let verifier = ConsiliumClientVerifier::new(trust, roles).with_revocation_policy(POLICY).on_refusal(hook);
        let resolver = Arc::clone(&self.prepared.resolver);
        let config = server_config(Arc::new(verifier), resolver).map_err(|e| Fault::Setup(format!("TLS: {e}")))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn client_router(&self, api: Api) -> Result<Router, Fault> {
        let (health, health_service) = tonic_health::server::health_reporter();
        tokio::spawn(report_health(Arc::clone(self.published), health));
        let failed = |e| Fault::Setup(format!("reflection: {e}"));
        let (v1, v1alpha) = (reflection().build_v1().map_err(failed)?, reflection().build_v1alpha().map_err(failed)?);
        let (large, small) = (REQUEST_BYTES_MAX, SMALL_MESSAGE_BYTES_MAX);
        let limits = &self.prepared.config.limits;
        let concurrency = limits.requests_per_connection_max.get();
        let streams = limits.streams_per_identity_max.get();
        let edge = Edge::of_clients(streams, limits.request_timeout);
        Ok(server(edge, concurrency, streams)
            .initial_stream_window_size(CLIENT_CALL_WINDOW)
            .initial_connection_window_size(CLIENT_CONNECTION_WINDOW)
            .max_connection_age(CONNECTION_AGE_MAX)
            .max_connection_age_grace(CONNECTION_GRACE)
            .add_service(LedgerServiceServer::new(api.clone()).max_decoding_message_size(large))
            .add_service(RecordsServiceServer::new(api.clone()).max_decoding_message_size(small))
            .add_service(IdentityServiceServer::new(api.clone()).max_decoding_message_size(large))
            .add_service(AccessServiceServer::new(api.clone()).max_decoding_message_size(small))
            .add_service(PatientsServiceServer::new(api.clone()).max_decoding_message_size(small))
            .add_service(ValidatorsServiceServer::new(api.clone()).max_decoding_message_size(small))
            .add_service(GovernanceServiceServer::new(api.clone()).max_decoding_message_size(large))
            .add_service(OperatorServiceServer::new(api).max_decoding_message_size(small))
            .add_service(health_service)
            .add_service(v1)
            .add_service(v1alpha))
    }

    /// Serves on a listener, with at most so many connections in `all`.
    fn listen(&self, router: Router, listener: TcpListener, tls: TlsAcceptor, all: usize) {
        let limits = &self.prepared.config.limits;
        let limits = AcceptLimits {
            connections_max: all,
            // By however many identities, a member leaves a quarter to others.
            of_each: ConnectionLimits { identity: limits.connections_per_identity_max.get(), member: all - all / 4 },
            handshake_timeout: limits.handshake_timeout,
        };
        let (sender, receiver) = mpsc::channel::<std::io::Result<Accepted>>(64);
        tokio::spawn(accept(listener, tls, limits, Arc::clone(self.connections), sender));
        let stop = self.stopping.clone().cancelled_owned();
        tokio::spawn(async move {
            let incoming = tokio_stream::wrappers::ReceiverStream::new(receiver);
            if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop).await {
                tracing::error!(%error, "a listener ended");
            }
        });
    }
}

fn peer_router(peers: Peers) -> Router {
    let callers = peers.callers.clone();
    let service = PeerServiceServer::new(peers)
        .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
    server(Edge::of_peers(), PEER_CONCURRENCY, 0)
        .initial_stream_window_size(PEER_CALL_WINDOW)
        .initial_connection_window_size(PEER_CONNECTION_WINDOW)
        .add_service(InterceptedService::new(service, callers))
}

/// Of so many calls of a connection at a time, and so many streams of answers beside them.
fn server(edge: Edge, concurrency: usize, streams: usize) -> Server<Layers> {
    Server::builder()
        .layer(ContainRequests)
        .layer(edge)
        .concurrency_limit_per_connection(concurrency)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_header_list_size(16 * 1024)
        .max_concurrent_streams(u32::try_from(concurrency.saturating_add(streams)).ok())
}

/// Tells of everything that clients may call.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let described = rpcs::services().into_iter().filter(|name| !name.starts_with("grpc.reflection."));
    described.fold(builder, |builder, name| builder.with_service_name(name))
}

/// Serving as long as a leader is known and the node has not put itself aside.
async fn report_health(published: Arc<Published>, health: tonic_health::server::HealthReporter) {
    let mut leader = published.watch_leader();
    loop {
        let serving = leader.borrow_and_update().is_some() && !published.is_quarantined();
        let status = match serving {
            true => tonic_health::ServingStatus::Serving,
            false => tonic_health::ServingStatus::NotServing,
        };
        for service in std::iter::once("").chain(rpcs::services().into_iter().filter(|name| name.starts_with(OURS))) {
            health.set_service_status(service, status).await;
        }
        if leader.changed().await.is_err() {
            return;
        }
    }
}
