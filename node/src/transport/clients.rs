//! Connections to peers: mTLS to exactly the node that the ledger names at the
//! address that it names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consilium_certs::ReloadingResolver;
use consilium_certs::tls::{ConsiliumServerVerifier, ExpectedServer, TrustSource, client_config};
use consilium_grpc::peer_service_client::PeerServiceClient;
use consilium_proto::ids::{Height, NodeId};
use consilium_proto::pb;
use consilium_proto::transaction::Slot;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};

use super::connections::{Connection, Connections, POLICY, Side};
use super::{LEDGER_ID_KEY, PEER_MESSAGE_BYTES_MAX, RAFT_ID_KEY};
use crate::identity::trust::LedgerTrust;
use crate::published::LiveTopology;
use consilium_proto::ids::LedgerId;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long attempts wait before the next one: the kernel repeats a lost SYN after a second,
/// then after two and four.
const ATTEMPTS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// What was sent and is not acknowledged by the peer's kernel for so long ends the connection
/// (RFC 5482). TCP repeats it after 0.2 s, 0.4 s, 0.8 s and so on: once a link has lost
/// packets for a while, a new connection gets through long before the old one tries again.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(1);

/// Makes connections to peers. Cheap to clone.
#[derive(Clone)]
pub struct PeerClients {
    topology: LiveTopology,
    trust: Arc<LedgerTrust>,
    resolver: Arc<ReloadingResolver>,
    ledger_id: LedgerId,
    me: NodeId,
    connections: Arc<Connections>,
    renewals: watch::Sender<u64>,
}

impl PeerClients {
    /// With this node's identity, and a registry of connections that holds
    /// those made here.
    #[must_use]
    pub fn new(
        topology: LiveTopology,
        trust: Arc<LedgerTrust>,
        resolver: Arc<ReloadingResolver>,
        ledger_id: LedgerId,
        me: NodeId,
    ) -> Self {
        let source: Arc<dyn TrustSource> = Arc::<LedgerTrust>::clone(&trust);
        let connections = Arc::new(Connections::new(source));
        Self { topology, trust, resolver, ledger_id, me, connections, renewals: watch::Sender::new(0) }
    }

    /// The registry of open connections.
    #[must_use]
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// This node has a new certificate: long streams are opened again, so that
    /// peers see it before the old one ends.
    pub fn certificate_renewed(&self) {
        self.renewals.send_modify(|count| *count += 1);
    }

    /// Tells of every renewal of this node's certificate.
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }

    /// A request with who is calling and for which ledger.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let (Ok(ledger), Ok(id)) = (self.ledger_id.to_string().parse(), self.me.0.to_string().parse()) {
            metadata.insert(LEDGER_ID_KEY, ledger);
            metadata.insert(RAFT_ID_KEY, id);
        }
        request
    }

    /// A new connection. Long streams get one of their own, so that one slow
    /// stream cannot hold up the others.
    ///
    /// # Errors
    /// UNAVAILABLE if the peer cannot be reached or is not who it should be.
    pub async fn connect(&self, peer: NodeId) -> Result<PeerServiceClient<Channel>, Status> {
        let unavailable = |what: String| Status::unavailable(what);
        let topology = self.topology.get();
        let node = topology.peer(peer).ok_or_else(|| unavailable("no such node".into()))?;
        let expected = node.spiffe_id.clone();
        let trust: Arc<dyn TrustSource> = Arc::<LedgerTrust>::clone(&self.trust);
        let verifier =
            ConsiliumServerVerifier::new(trust, ExpectedServer::Exactly(expected)).with_revocation_policy(POLICY);
        let tls = client_config(Arc::new(verifier), Arc::<ReloadingResolver>::clone(&self.resolver))
            .map_err(|e| unavailable(e.to_string()))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let (address, connections) = (node.peer_address.clone(), Arc::clone(&self.connections));
        let channel = Endpoint::from_static("http://peer.consilium.invalid")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .connect_with_connector(tower::service_fn(move |_: Uri| {
                let (connector, address, connections) = (connector.clone(), address.clone(), Arc::clone(&connections));
                async move { open(connector, address, &connections).await.map(TokioIo::new) }
            }))
            .await
            .map_err(|e| unavailable(format!("connecting: {e}")))?;
        Ok(PeerServiceClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX))
    }

    /// Certified blocks of a peer from a height on; how many is for the peer to say.
    ///
    /// # Errors
    /// As the call's.
    pub async fn fetch_blocks(&self, peer: NodeId, from: Height) -> Result<Streaming<pb::FetchBlocksResponse>, Status> {
        let mut client = self.connect(peer).await?;
        let request = pb::FetchBlocksRequest { from_height: from.0 };
        Ok(client.fetch_blocks(self.request(request)).await?.into_inner())
    }

    /// Attachments of a peer: in order, an empty one for each that it has not; those that
    /// did not fit into its answer are left off.
    ///
    /// # Errors
    /// As the call's, or if it gives more than was asked for.
    pub async fn fetch_attachments(&self, peer: NodeId, slots: &[Slot]) -> Result<Vec<Bytes>, Status> {
        let mut client = self.connect(peer).await?;
        let request = pb::FetchAttachmentsRequest { attachments: slots.iter().map(Into::into).collect() };
        let contents = client.fetch_attachments(self.request(request)).await?.into_inner().attachments;
        if contents.len() > slots.len() {
            return Err(Status::invalid_argument("the peer gives more attachments than were asked for"));
        }
        Ok(contents)
    }

    /// End of this node's own certificate, seconds since 1970.
    #[must_use]
    pub fn certificate_not_after(&self) -> i64 {
        self.resolver.current().identity().not_after()
    }

    /// The nodes that can be called.
    #[must_use]
    pub fn peers(&self) -> Vec<NodeId> {
        self.topology.get().others(self.me).collect()
    }
}

async fn open(
    connector: tokio_rustls::TlsConnector,
    address: String,
    connections: &Arc<Connections>,
) -> std::io::Result<Connection<TlsStream<TcpStream>>> {
    let connect = async {
        let stream = reach(&address).await?;
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
        let address = stream.peer_addr()?;
        // The name is not used: the verifier goes by SPIFFE id.
        let name = ServerName::try_from("peer.consilium.invalid").map_err(std::io::Error::other)?;
        let stream = connector.connect(name, stream).await?;
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
        let other = (chain.as_deref(), address, Side::Called);
        connections.keep(stream, other, None).map_err(std::io::Error::other)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

async fn reach(address: &str) -> std::io::Result<TcpStream> {
    for patience in ATTEMPTS {
        if let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            return connected;
        }
    }
    TcpStream::connect(address).await
}
