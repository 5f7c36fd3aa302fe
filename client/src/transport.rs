//! Connections to nodes: HTTP/2 over mutual TLS 1.3.
//!
//! The server must prove to be a node of a member that the profile allows; its
//! address plays no part. A handshake shows only that it has a certificate of
//! the right form ([`Plausible`]). For all but proofs of a member's standing the
//! ledger must vouch for it, too ([`Guarded`]).
//! Connections are made when first needed, made again when they break, and
//! present the certificate that is in the files then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consilium_certs::tls::{
    DialError, ExpectedServer, PlausibleServerVerifier, RefusalHook, dial, first_contact_config, peer_identity,
};
use consilium_certs::{ReloadingResolver, VerifyError};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_grpc::validators_service_client::ValidatorsServiceClient;
use consilium_proto::limits::ANSWER_BYTES_MAX;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint as Template, Uri};

use crate::clock::now_ms;
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::guarded::Guarded;
use crate::standing::{Presented, Standings};

/// For TCP and TLS; what is asked before a connection is used has limits of its own.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Makes channels to nodes that the ledger vouches for.
#[derive(Debug, Clone)]
pub struct Dialer {
    connector: Arc<Connector>,
    standings: Arc<Standings>,
}

impl Dialer {
    pub(crate) fn new(connector: Arc<Connector>, standings: Standings) -> Self {
        Self { connector, standings: Arc::new(standings) }
    }

    /// A channel to `host:port`; connects when first used. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If the address is malformed or TLS cannot be set up.
    pub fn channel(&self, address: &str) -> Result<Channel, ClientError> {
        let (plausible, standings) = (self.connector.to(address)?, Arc::clone(&self.standings));
        let connect = tower::service_fn(move |_: Uri| {
            let (plausible, standings) = (plausible.clone(), Arc::clone(&standings));
            async move { Guarded::admit(plausible.connect().await?, standings).await.map(TokioIo::new) }
        });
        Ok(template(address)?.connect_with_connector_lazy(connect))
    }
}

/// Makes connections to whoever may be a node of the members expected.
#[derive(Debug)]
pub(crate) struct Connector {
    expected: ExpectedServer,
    resolver: Arc<ReloadingResolver>,
}

impl Connector {
    pub(crate) fn new(expected: ExpectedServer, resolver: Arc<ReloadingResolver>) -> Self {
        Self { expected, resolver }
    }

    /// A channel that nothing vouches for: for answers that prove themselves.
    pub(crate) fn channel_for_proofs(&self, address: &str) -> Result<Channel, ClientError> {
        let plausible = self.to(address)?;
        let connect = tower::service_fn(move |_: Uri| {
            let plausible = plausible.clone();
            async move { plausible.connect().await.map(|connection| TokioIo::new(connection.tls)) }
        });
        Ok(template(address)?.connect_with_connector_lazy(connect))
    }

    fn to(&self, address: &str) -> Result<Target, ClientError> {
        let refusal = Arc::new(Mutex::new(None::<VerifyError>));
        let noted = Arc::clone(&refusal);
        let hook: RefusalHook = Arc::new(move |reason| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        });
        let verifier = PlausibleServerVerifier::new(self.expected.clone(), hook);
        let config = first_contact_config(Arc::new(verifier), Arc::<ReloadingResolver>::clone(&self.resolver))
            .map_err(|e| ClientError::Tls(e.to_string()))?;
        let (tls, resolver) = (TlsConnector::from(Arc::new(config)), Arc::clone(&self.resolver));
        let endpoint = Arc::new(address.parse::<Endpoint>()?);
        Ok(Target { tls, resolver, refusal, endpoint, address: address.into() })
    }
}

/// Where a channel leads.
#[derive(Clone)]
struct Target {
    tls: TlsConnector,
    resolver: Arc<ReloadingResolver>,
    /// Why the last handshake was refused here.
    refusal: Arc<Mutex<Option<VerifyError>>>,
    endpoint: Arc<Endpoint>,
    /// The same as it was written: what it is known by.
    address: Arc<str>,
}

impl Target {
    async fn connect(&self) -> Result<Plausible, ClientError> {
        pick_up_renewal(Arc::clone(&self.resolver)).await;
        let transport = |cause: String| ClientError::Transport { endpoint: self.address.to_string(), cause };
        let name = ServerName::try_from(self.endpoint.host().to_owned()).map_err(|e| transport(e.to_string()))?;
        let secure = |tcp: TcpStream| {
            let name = name.clone();
            async move {
                tcp.set_nodelay(true)?;
                self.tls.connect(name, tcp).await
            }
        };
        let tls = dial(self.endpoint.host(), self.endpoint.port(), CONNECT_TIMEOUT, secure).await;
        let tls = tls.map_err(|error| {
            let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (refusal, error) {
                (Some(refusal), DialError::Failed(_) | DialError::Unknown { .. }) => {
                    ClientError::NodeRefused { node: self.address.to_string(), refusal: Box::new(refusal.into()) }
                }
                (None, error @ DialError::Unknown { .. }) => {
                    ClientError::NoAddress { endpoint: self.address.to_string(), cause: error.to_string() }
                }
                (None, error @ DialError::Failed(_)) => transport(error.to_string()),
            }
        })?;
        Plausible::of(tls, &self.address).ok_or_else(|| transport("the server showed no certificate".into()))
    }
}

/// A connection to who may be a node. Nothing vouches for it, and it has no use
/// but to be judged, or to carry what proves itself.
pub(crate) struct Plausible {
    tls: TlsStream<TcpStream>,
    presented: Presented,
}

impl Plausible {
    fn of(tls: TlsStream<TcpStream>, address: &str) -> Option<Self> {
        let shown = tls.get_ref().1.peer_certificates();
        let id = peer_identity(shown).ok()?.spiffe_id().clone();
        let chain = shown?.iter().cloned().map(CertificateDer::into_owned).collect();
        Some(Self { tls, presented: Presented { id, chain, address: address.to_owned() } })
    }

    pub(crate) fn presented(&self) -> &Presented {
        &self.presented
    }

    pub(crate) fn stream(&mut self) -> &mut TlsStream<TcpStream> {
        &mut self.tls
    }
}

/// A ledger client with this SDK's limits.
#[must_use]
pub fn ledger_service(channel: Channel) -> LedgerServiceClient<Channel> {
    LedgerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// A client for stake, elections and their past.
#[must_use]
pub fn validators_service(channel: Channel) -> ValidatorsServiceClient<Channel> {
    ValidatorsServiceClient::new(channel)
}

fn template(address: &str) -> Result<Template, ClientError> {
    let endpoint = address.parse::<Endpoint>()?;
    let malformed = || ClientError::Usage(format!("endpoint {endpoint} is not host:port"));
    // The scheme says nothing here: the connector always speaks TLS.
    Ok(Template::from_shared(format!("http://{endpoint}"))
        .map_err(|_| malformed())?
        .origin(format!("https://{endpoint}").parse().map_err(|_| malformed())?)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

/// Each new connection presents the newest good certificate of the files. While
/// what lies there is torn, expired or not valid yet, the last good one serves.
async fn pick_up_renewal(resolver: Arc<ReloadingResolver>) {
    let now_s = i64::try_from(now_ms() / 1_000).unwrap_or(i64::MAX);
    let look = move || drop(resolver.reload_if_changed(|new| new.identity().check_time(now_s)));
    // Files may be slow. A look that was not taken is taken next time.
    let _ = tokio::task::spawn_blocking(look).await;
}
