//! Dialling a name that has several addresses. They are tried side by side, each a little after
//! the one before, the families in turns (RFC 8305 in short): one address that swallows packets
//! costs a quarter of a second, not the whole time that there is. Who answers is judged by the
//! caller; here nothing is believed and nothing is asked.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Addresses of a name that are tried at most.
pub const ADDRESSES_MAX: usize = 8;
/// After so long without a connection the next address is tried beside.
const CONNECT_HEAD_START: Duration = Duration::from_millis(250);
/// What one that is connected has for its handshake before the next is tried beside.
const HANDSHAKE_HEAD_START: Duration = Duration::from_secs(1);

/// Why no connection was made.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name leads nowhere, or nobody could say where within the time.
    #[error("no address is known for {host} ({cause})")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// None of the addresses led to a connection, each for a reason of its own.
    #[error("{}", listed(.0))]
    Failed(Vec<(IpAddr, io::Error)>),
}

fn listed(failures: &[(IpAddr, io::Error)]) -> String {
    let one = |(address, error): &(IpAddr, io::Error)| match error.kind() {
        io::ErrorKind::TimedOut => format!("{address}: no answer in time"),
        _ => format!("{address}: {error}"),
    };
    failures.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Connects to the first address of a name over which `secure` comes to an end. `within` is the
/// time for all of it: the look-up, TCP and `secure`. What lost the race is dropped.
///
/// # Errors
/// [`DialError`].
pub async fn dial<T, S, Securing>(host: &str, port: u16, within: Duration, secure: S) -> Result<T, DialError>
where
    S: Fn(TcpStream) -> Securing,
    Securing: Future<Output = io::Result<T>>,
{
    let deadline = Instant::now() + within;
    let unknown = |cause| DialError::Unknown { host: host.to_owned(), cause };
    let known = tokio::time::timeout_at(deadline, tokio::net::lookup_host((host, port))).await;
    let known = known.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unknown)?;
    let addresses = in_turns(known);
    if addresses.is_empty() {
        return Err(unknown(io::ErrorKind::NotFound.into()));
    }
    race(addresses, deadline, secure).await
}

/// The families in turns, beginning with that of the first; each address once.
fn in_turns(known: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in known {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let first = all.first().is_some_and(SocketAddr::is_ipv6);
    let (mut these, mut others) = all.iter().copied().partition::<Vec<_>, _>(|address| address.is_ipv6() == first);
    these.reverse();
    others.reverse();
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_MAX && !(these.is_empty() && others.is_empty()) {
        turns.extend(these.pop());
        turns.extend(others.pop());
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

async fn race<T, S, Securing>(addresses: Vec<SocketAddr>, deadline: Instant, secure: S) -> Result<T, DialError>
where
    S: Fn(TcpStream) -> Securing,
    Securing: Future<Output = io::Result<T>>,
{
    let connect = async |address| (address, TcpStream::connect(address).await);
    let end = async |address, tcp| (address, secure(tcp).await);
    let (mut connecting, mut securing) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut waiting = addresses.into_iter();
    let (mut open, mut failed) = (Vec::new(), Vec::new());
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next
            && let Some(address) = waiting.next()
        {
            open.push(address);
            connecting.push(connect(address));
            next = Instant::now() + CONNECT_HEAD_START;
        }
        if open.is_empty() && waiting.len() == 0 {
            return Err(DialError::Failed(failed));
        }
        let (address, error) = tokio::select! {
            Some((address, connected)) = connecting.next() => match connected {
                Ok(tcp) => {
                    securing.push(end(address, tcp));
                    next = Instant::now() + HANDSHAKE_HEAD_START;
                    continue;
                }
                Err(error) => (address, error),
            },
            Some((address, secured)) = securing.next() => match secured {
                Ok(connection) => return Ok(connection),
                Err(error) => (address, error),
            },
            () = tokio::time::sleep_until(next), if waiting.len() > 0 => continue,
            () = tokio::time::sleep_until(deadline) => {
                let late = open.into_iter().map(|address: SocketAddr| (address.ip(), io::ErrorKind::TimedOut.into()));
                failed.extend(late);
                return Err(DialError::Failed(failed));
            }
        };
        open.retain(|other| *other != address);
        failed.push((address.ip(), error));
        // Whoever waits for its turn need wait no longer.
        next = Instant::now();
    }
}

#[cfg(test)]
mod tests;
