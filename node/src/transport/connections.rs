//! All open connections of a node, accepted and made, with the means to cut
//! those whose identity has lost its standing. A handshake judges an identity
//! once; what happens to it afterwards (a revocation, a suspension, a rotated
//! CA, the end of its certificate) is judged here, for as long as the
//! connection lives.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use consilium_certs::tls::{MemberTrust, TrustSource, peer_identity};
use consilium_certs::{IdentityCertificate, Purpose, RevocationPolicy, verify_chain};
use consilium_proto::names::{MemberId, Role};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::clock::now_s;
use crate::identity::forecast::Expiries;

/// Time for the first byte behind a handshake.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(5);
/// Lists past their next update still count, as in the handshake.
pub(crate) const POLICY: RevocationPolicy = RevocationPolicy { enforce_expiry: false };

/// Who is at the other end; an extension of every request.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The verified certificate.
    pub identity: Arc<IdentityCertificate>,
    /// Its address.
    pub address: SocketAddr,
    end: Arc<AtomicI64>,
    cut: CancellationToken,
    calls: Arc<Calls>,
}

/// The calls of a connection.
#[derive(Debug)]
struct Calls {
    since: Instant,
    under_way: AtomicUsize,
    /// When the last one ended, in milliseconds since `since`.
    rests_since_ms: AtomicU64,
}

impl Calls {
    fn new() -> Self {
        Self { since: Instant::now(), under_way: AtomicUsize::new(0), rests_since_ms: AtomicU64::new(0) }
    }

    /// How long there has been none, if there is none.
    fn rest(&self) -> Option<Duration> {
        let rests_since = Duration::from_millis(self.rests_since_ms.load(Ordering::Relaxed));
        let rests = self.under_way.load(Ordering::Relaxed) == 0;
        rests.then(|| self.since.elapsed().saturating_sub(rests_since))
    }
}

/// A call is under way, for as long as this lives.
#[derive(Debug)]
pub struct Busy(Arc<Calls>);

impl Drop for Busy {
    fn drop(&mut self) {
        let now_ms = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.rests_since_ms.store(now_ms, Ordering::Relaxed);
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PeerInfo {
    /// Counts a call: a connection with calls under way does not rest.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.calls.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.calls))
    }

    /// Whether the identity still stands: not cut, not expired.
    #[must_use]
    pub fn stands(&self) -> bool {
        !self.cut.is_cancelled() && now_s() <= self.end.load(Ordering::Relaxed)
    }

    /// Ends when the identity loses its standing.
    pub fn cut(&self) -> WaitForCancellationFutureOwned {
        self.cut.clone().cancelled_owned()
    }
}

/// The other end of a connection, as the handshake left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It called this node.
    Caller,
    /// This node called it.
    Called,
}

impl Side {
    fn purpose(self) -> Purpose {
        match self {
            Self::Caller => Purpose::Client,
            Self::Called => Purpose::Server,
        }
    }
}

/// The registry of open connections.
#[derive(Debug)]
pub struct Connections {
    trust: Arc<dyn TrustSource>,
    expiries: Expiries,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last: u64,
    connections: BTreeMap<u64, OpenConnection>,
}

#[derive(Debug, Clone)]
struct OpenConnection {
    identity: Arc<IdentityCertificate>,
    chain: Arc<[CertificateDer<'static>]>,
    side: Side,
    /// Until when the identity stands if nothing is renewed, in seconds since
    /// 1970: the end of its certificate, or of its CA's if that comes first.
    end: Arc<AtomicI64>,
    cut: CancellationToken,
    /// The connection is over, whether its identity stands or not. Cancelled with `cut`.
    closed: CancellationToken,
    calls: Arc<Calls>,
}

/// Why a connection was not kept after its handshake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The handshake left no identity.
    #[error("no identity")]
    NoIdentity,
    /// The identity lost its standing during the handshake.
    #[error("the identity has no standing any more")]
    Fallen,
    /// The identity has as many connections as it may have.
    #[error("too many connections of one identity")]
    TooMany,
    /// The identities of its member have as many as they may have together.
    #[error("too many connections of one member's identities")]
    TooManyOfMember,
}

/// How many connections may be made to this node.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// By one identity.
    pub identity: usize,
    /// By the identities of one member.
    pub member: usize,
}

impl Connections {
    /// None yet.
    #[must_use]
    pub fn new(trust: Arc<dyn TrustSource>) -> Self {
        Self { trust, expiries: Expiries::default(), open: Mutex::default() }
    }

    /// When the identities seen here end.
    #[must_use]
    pub fn expiries(&self) -> &Expiries {
        &self.expiries
    }

    /// Keeps a connection from here on, within limits.
    ///
    /// # Errors
    /// [`NotKept`].
    pub fn keep<S>(
        self: &Arc<Self>,
        stream: S,
        (chain, address, side): (Option<&[CertificateDer<'_>]>, SocketAddr, Side),
        limits: Option<ConnectionLimits>,
    ) -> Result<Connection<S>, NotKept> {
        let chain: Arc<[_]> = chain.unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
        let identity = Arc::new(peer_identity(Some(&chain)).map_err(|_| NotKept::NoIdentity)?);
        let cut = CancellationToken::new();
        let end = Arc::new(AtomicI64::new(identity.not_after()));
        let (closed, calls) = (cut.child_token(), Arc::new(Calls::new()));
        let info = PeerInfo {
            identity: Arc::clone(&identity),
            address,
            end: Arc::clone(&end),
            cut: cut.clone(),
            calls: Arc::clone(&calls),
        };
        let entry = OpenConnection { identity, chain, side, end, cut, closed: closed.clone(), calls };
        let number = self.insert(entry, limits)?;
        let closed = Box::pin(closed.cancelled_owned());
        let first = match side {
            Side::Caller => First::Awaited(FIRST_BYTE_MAX),
            Side::Called => First::Came,
        };
        let connection = Connection { stream, info, closed, first, number, registry: Arc::clone(self), permit: None };
        // Registered first, judged then: a block that came in between has
        // either found it in the registry or is seen by this look.
        if self.stands(number) { Ok(connection) } else { Err(NotKept::Fallen) }
    }

    fn insert(&self, entry: OpenConnection, limits: Option<ConnectionLimits>) -> Result<u64, NotKept> {
        let mut open = self.open();
        if let Some(limits) = limits {
            let own = entry.identity.spiffe_id();
            let others = open.connections.values().filter(|other| other.side == entry.side);
            let others = others.map(|other| other.identity.spiffe_id()).filter(|id| id.member() == own.member());
            let (of_member, of_one) = others.fold((0, 0), |(all, one), id| (all + 1, one + usize::from(id == own)));
            if of_one >= limits.identity {
                return Err(NotKept::TooMany);
            }
            if of_member >= limits.member {
                return Err(NotKept::TooManyOfMember);
            }
        }
        if entry.identity.spiffe_id().role() == Role::Node {
            self.expiries.note(entry.identity.spiffe_id(), &entry.chain);
        }
        open.last += 1;
        let number = open.last;
        open.connections.insert(number, entry);
        Ok(number)
    }

    fn stands(&self, number: u64) -> bool {
        let entry = self.open().connections.get(&number).cloned();
        entry.is_some_and(|entry| self.verifies(&entry))
    }

    /// Whether an identity verifies at present; notes until when.
    fn verifies(&self, entry: &OpenConnection) -> bool {
        let member = self.trust.member(entry.identity.spiffe_id().member());
        member.is_some_and(|member: Arc<MemberTrust>| {
            let MemberTrust { bundle, crls, suspended } = &*member;
            let verified = verify_chain(&entry.chain, bundle, crls, POLICY, now_s(), entry.side.purpose());
            verified.is_ok_and(|chain| {
                entry.end.store(chain.not_after, Ordering::Relaxed);
                !suspended
            })
        })
    }

    /// Cuts every connection of a member's identities, by name alone: that takes no signature check and
    /// next to no time. Those whose handshake is under way are judged by the trust source: it must know
    /// of the end before this is called for the last time. Returns how many.
    pub fn cut_member(&self, member: &MemberId) -> usize {
        let open = self.open();
        let of_member = open.connections.values().filter(|c| c.identity.spiffe_id().member() == member);
        of_member.filter(|c| !c.cut.is_cancelled()).map(|c| c.cut.cancel()).count()
    }

    /// Cuts every connection whose identity no longer verifies; returns how
    /// many. Takes a signature check or two for each: not for network threads.
    pub fn judge_again(&self) -> usize {
        self.cut(|entry| !self.verifies(entry))
    }

    /// Cuts every connection whose certificate, or the CA above it, has ended;
    /// returns how many.
    pub fn cut_expired(&self, now_s: i64) -> usize {
        self.cut(|entry| now_s > entry.end.load(Ordering::Relaxed))
    }

    /// Closes every connection of a caller that has had no call under way for so long; returns how many.
    /// Its identity stands: it may connect again.
    pub fn close_idle(&self, longest: Duration) -> usize {
        let open = self.open();
        let idle = open
            .connections
            .values()
            .filter(|c| c.side == Side::Caller && c.calls.rest().is_some_and(|rest| rest >= longest));
        idle.filter(|c| !c.closed.is_cancelled()).map(|c| c.closed.cancel()).count()
    }

    fn cut(&self, fallen: impl Fn(&OpenConnection) -> bool) -> usize {
        // Copied, so that nobody who connects has to wait for the verdicts.
        let entries: Vec<_> = self.open().connections.values().filter(|c| !c.cut.is_cancelled()).cloned().collect();
        entries.iter().filter(|entry| fallen(entry)).map(|entry| entry.cut.cancel()).count()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first byte behind a handshake. Whoever calls has something to say at once: the preface of HTTP/2,
/// for which HTTP itself would wait for ever.
#[derive(Debug)]
enum First {
    /// It was not asked for yet; for how long it may then take.
    Awaited(Duration),
    /// Until then.
    Until(Pin<Box<Sleep>>),
    Came,
}

impl First {
    /// Whether it does not come.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Awaited(longest) => {
                let mut late = Box::pin(tokio::time::sleep(*longest));
                let is_late = late.as_mut().poll(cx).is_ready();
                *self = Self::Until(late);
                is_late
            }
            Self::Until(late) => late.as_mut().poll(cx).is_ready(),
            Self::Came => false,
        }
    }
}

/// A connection that can be cut.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    info: PeerInfo,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    first: First,
    number: u64,
    registry: Arc<Connections>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<S> Connection<S> {
    /// Holds a listener's slot for as long as it lives.
    #[must_use]
    pub fn holding(mut self, permit: OwnedSemaphorePermit) -> Self {
        self.permit = Some(permit);
        self
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.registry.open().connections.remove(&self.number);
    }
}

impl<S> Connected for Connection<S> {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.first = First::Came;
                Poll::Ready(read)
            }
            Poll::Pending if self.first.is_late(cx) => {
                metrics::counter!("consilium_connections_refused_total", "reason" => "silent").increment(1);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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

#[cfg(test)]
mod tests;
