//! Accepting connections: TLS with the profile's verifier, limits, and the
//! means to cut a connection whose identity has lost its standing. What TLS
//! libraries and tonic do not limit is limited here (traps 25).

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use consilium_certs::tls::{MemberTrust, TrustSource, peer_identity};
use consilium_certs::{IdentityCertificate, Purpose, RevocationPolicy, verify_chain};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::runtime::shared::now_ms;

/// Limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one identity.
    pub per_identity_max: usize,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
}

/// Who is at the other end; an extension of every request.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The verified certificate.
    pub identity: Arc<IdentityCertificate>,
    /// Its address.
    pub address: SocketAddr,
    cut: CancellationToken,
}

impl PeerInfo {
    /// Whether the identity still stands: not cut, not expired.
    #[must_use]
    pub fn stands(&self) -> bool {
        let now_s = i64::try_from(now_ms().0 / 1_000).unwrap_or(i64::MAX);
        !self.cut.is_cancelled() && now_s <= self.identity.not_after()
    }

    /// Ends when the identity loses its standing.
    pub fn cut(&self) -> WaitForCancellationFutureOwned {
        self.cut.clone().cancelled_owned()
    }
}

/// Open connections of a listener, to be judged again when members change.
#[derive(Debug, Default)]
pub struct Connections {
    open: Mutex<BTreeMap<u64, OpenConnection>>,
}

#[derive(Debug)]
struct OpenConnection {
    identity: Arc<IdentityCertificate>,
    chain: Vec<CertificateDer<'static>>,
    cut: CancellationToken,
}

impl Connections {
    /// Cuts every connection whose identity no longer verifies; returns how many.
    pub fn judge_again(&self, trust: &dyn TrustSource) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let now_s = i64::try_from(now_ms().0 / 1_000).unwrap_or(i64::MAX);
        let fallen = open.values().filter(|c| {
            let member = trust.member(c.identity.spiffe_id().trust_domain());
            !member.is_some_and(|member| stands(&c.chain, &member, now_s))
        });
        fallen.map(|c| c.cut.cancel()).count()
    }

    fn count(&self, identity: &IdentityCertificate) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|c| c.identity.spiffe_id() == identity.spiffe_id()).count()
    }

    fn insert(&self, number: u64, connection: OpenConnection) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, connection);
    }

    fn remove(&self, number: u64) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }
}

fn stands(chain: &[CertificateDer<'_>], member: &MemberTrust, now_s: i64) -> bool {
    let policy = RevocationPolicy { enforce_expiry: false };
    !member.suspended && verify_chain(chain, &member.bundle, &member.crls, policy, now_s, Purpose::Client).is_ok()
}

/// An accepted connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    number: u64,
    registry: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.registry.remove(self.number);
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

/// Accepts until the receiver is gone.
pub async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limits: AcceptLimits,
    registry: Arc<Connections>,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let mut number = 0;
    while !accepted.is_closed() {
        let (stream, address) = tokio::select! {
            result = listener.accept() => match result {
                Ok(connection) => connection,
                Err(error) => {
                    // Out of file descriptors: wait, and do not spin.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = accepted.closed() => return,
        };
        let Ok(permit) = Arc::clone(&slots).try_acquire_owned() else {
            metrics::counter!("consilium_connections_refused_total", "reason" => "limit").increment(1);
            continue;
        };
        number += 1;
        let job = Handshake { stream, address, number, permit, registry: Arc::clone(&registry), limits };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            if let Some(connection) = job.run(acceptor).await {
                let _ = accepted.send(Ok(connection)).await;
            }
        });
    }
}

struct Handshake {
    stream: TcpStream,
    address: SocketAddr,
    number: u64,
    permit: OwnedSemaphorePermit,
    registry: Arc<Connections>,
    limits: AcceptLimits,
}

impl Handshake {
    async fn run(self, acceptor: TlsAcceptor) -> Option<Connection> {
        let Self { stream, address, number, permit, registry, limits } = self;
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(limits.handshake_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                metrics::counter!("consilium_connections_refused_total", "reason" => "handshake").increment(1);
                tracing::info!(%address, %error, "handshake refused");
                return None;
            }
            Err(_) => {
                metrics::counter!("consilium_connections_refused_total", "reason" => "timeout").increment(1);
                return None;
            }
        };
        let chain: Vec<CertificateDer<'static>> =
            stream.get_ref().1.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
        let identity = Arc::new(peer_identity(Some(&chain)).ok()?);
        if registry.count(&identity) >= limits.per_identity_max {
            metrics::counter!("consilium_connections_refused_total", "reason" => "identity_limit").increment(1);
            tracing::warn!(identity = %identity.spiffe_id(), "too many connections of one identity");
            return None;
        }
        let cut = CancellationToken::new();
        let info = PeerInfo { identity: Arc::clone(&identity), address, cut: cut.clone() };
        registry.insert(number, OpenConnection { identity, chain, cut: cut.clone() });
        Some(Connection { stream, info, cut: Box::pin(cut.cancelled_owned()), number, registry, _permit: permit })
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
