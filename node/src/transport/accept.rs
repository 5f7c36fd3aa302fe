//! Accepting connections: TLS with the profile's verifier, and limits. What TLS
//! libraries and tonic do not limit is limited here: a handshake that never ends
//! would hold its connection for ever, and anybody could open any number.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use consilium_certs::VerifyError;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connections::{Connection, ConnectionLimits, Connections, NotKept, Side};
use crate::contained;

tokio::task_local! {
    /// Why the verifier refused the certificate of the handshake that the present task makes. TLS
    /// tells no more than that it was refused.
    static REFUSAL: RefCell<Option<String>>;
}

/// Notes why a certificate is refused, for the line about its handshake.
pub fn note_refusal(refusal: &VerifyError) {
    // Outside of a handshake nobody would say it.
    let _ = REFUSAL.try_with(|noted| noted.replace(Some(refusal.to_string())));
}

/// Limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct AcceptLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Connections of one identity, and of one member's identities.
    pub of_each: ConnectionLimits,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
}

/// An accepted connection.
pub type Accepted = Connection<TlsStream<TcpStream>>;

/// Accepts until the receiver is gone.
pub async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    limits: AcceptLimits,
    registry: Arc<Connections>,
    accepted: mpsc::Sender<io::Result<Accepted>>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections_max));
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
        let job = Handshake { stream, address, permit, registry: Arc::clone(&registry), limits };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        tokio::spawn(async move {
            if let Ok(Some(connection)) = contained::future(job.run(acceptor)).await {
                let _ = accepted.send(Ok(connection)).await;
            }
        });
    }
}

struct Handshake {
    stream: TcpStream,
    address: SocketAddr,
    permit: OwnedSemaphorePermit,
    registry: Arc<Connections>,
    limits: AcceptLimits,
}

impl Handshake {
    async fn run(self, acceptor: TlsAcceptor) -> Option<Accepted> {
        let Self { stream, address, permit, registry, limits } = self;
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(limits.handshake_timeout, acceptor.accept(stream));
        let handshake = async { (handshake.await, REFUSAL.with(RefCell::take)) };
        let (result, refusal) = REFUSAL.scope(RefCell::default(), handshake).await;
        let stream = match result {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                metrics::counter!("consilium_connections_refused_total", "reason" => "handshake").increment(1);
                match refusal {
                    Some(reason) => tracing::warn!(%address, reason, "certificate refused"),
                    None => tracing::info!(%address, %error, "handshake refused"),
                }
                return None;
            }
            Err(_) => {
                metrics::counter!("consilium_connections_refused_total", "reason" => "timeout").increment(1);
                return None;
            }
        };
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec);
        let other = (chain.as_deref(), address, Side::Caller);
        match registry.keep(stream, other, Some(limits.of_each)) {
            Ok(connection) => Some(connection.holding(permit)),
            Err(why) => {
                let reason = match why {
                    NotKept::TooMany => "identity_limit",
                    NotKept::TooManyOfMember => "member_limit",
                    NotKept::NoIdentity | NotKept::Fallen => "handshake",
                };
                metrics::counter!("consilium_connections_refused_total", "reason" => reason).increment(1);
                tracing::warn!(%address, %why, "connection refused");
                None
            }
        }
    }
}
