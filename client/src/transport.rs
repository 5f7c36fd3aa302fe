//! Connections to nodes: HTTP/2 over mutual TLS 1.3.
//!
//! The server must prove to be a node of a member, under the CA bundle that the
//! genesis document or a newer invitation names; its address plays no part.
//! Connections are made when first needed, made again when they break, and
//! present the certificate that is in the files then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use consilium_certs::ReloadingResolver;
use consilium_certs::tls::{ConsiliumServerVerifier, ExpectedServer, RefusalHook, TrustSource, client_config};
use consilium_grpc::ledger_service_client::LedgerServiceClient;
use consilium_grpc::validators_service_client::ValidatorsServiceClient;
use consilium_proto::genesis::Genesis;
use consilium_proto::limits::ANSWER_BYTES_MAX;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::clock::now_ms;
use crate::error::ClientError;
use crate::identity::Identity;
use crate::trust::{self, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Makes channels to the nodes of one ledger under one identity.
#[derive(Debug, Clone)]
pub struct Dialer {
    trust: Arc<dyn TrustSource>,
    resolver: Arc<ReloadingResolver>,
}

impl Dialer {
    /// A dialer that trusts the CA bundles of the genesis document and, in
    /// their place where it has them, those of an invitation.
    ///
    /// # Errors
    /// If a bundle is outside the certificate profile.
    pub fn new(genesis: &Genesis, trust: Option<&Trust>, identity: &Identity) -> Result<Self, ClientError> {
        Ok(Self { trust: Arc::new(trust::server_trust(genesis, trust)?), resolver: identity.resolver() })
    }

    /// A channel to `host:port`; connects when first used. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// If the address is malformed or TLS cannot be set up.
    pub fn channel(&self, address: &str) -> Result<Channel, ClientError> {
        let refusal = Arc::new(Mutex::new(None::<String>));
        let noted = Arc::clone(&refusal);
        let hook: RefusalHook = Arc::new(move |reason| {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_string());
        });
        let verifier = ConsiliumServerVerifier::new(Arc::clone(&self.trust), ExpectedServer::AnyNode).on_refusal(hook);
        let resolver = Arc::clone(&self.resolver);
        let config = client_config(Arc::new(verifier), Arc::<ReloadingResolver>::clone(&resolver))
            .map_err(|e| ClientError::Tls(e.to_string()))?;
        let connector = TlsConnector::from(Arc::new(config));
        let connect = tower::service_fn(move |uri: Uri| {
            let (connector, refusal, resolver) = (connector.clone(), Arc::clone(&refusal), Arc::clone(&resolver));
            async move {
                pick_up_renewal(resolver).await;
                connect_tls(&connector, &uri, &refusal).await.map(TokioIo::new)
            }
        });
        Ok(endpoint(address)?.connect_with_connector_lazy(connect))
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

fn endpoint(address: &str) -> Result<Endpoint, ClientError> {
    let malformed = || ClientError::Usage(format!("endpoint {address:?} is not host:port"));
    let with_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !with_port {
        return Err(malformed());
    }
    // The scheme says nothing here: the connector always speaks TLS.
    Ok(Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| malformed())?
        .origin(format!("https://{address}").parse().map_err(|_| malformed())?)
        .connect_timeout(CONNECT_TIMEOUT)
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

async fn connect_tls(
    connector: &TlsConnector,
    uri: &Uri,
    refusal: &Mutex<Option<String>>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or_default();
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    connector.connect(name, tcp).await.map_err(|error| {
        match refusal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(reason) => std::io::Error::other(format!("the server's certificate is refused: {reason}")),
            None => error,
        }
    })
}
