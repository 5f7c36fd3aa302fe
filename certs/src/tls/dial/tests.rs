#![allow(clippy::unwrap_used)]
use std::net::TcpListener;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listening(ip: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address of this machine where nobody listens.
fn deserted() -> SocketAddr {
    listening("127.0.0.1").1
}

async fn peer(tcp: TcpStream) -> io::Result<SocketAddr> {
    tcp.peer_addr()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[test]
fn families_take_turns_and_an_address_counts_once() {
    let known = ["[::1]:1", "[::2]:1", "[::1]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"].map(at);
    let turns = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(at);
    assert_eq!(in_turns(known.into_iter()), turns);
    let many = (0..40).map(|n| SocketAddr::from(([10, 0, 0, n], 1)));
    assert_eq!(in_turns(many).len(), ADDRESSES_MAX);
    assert_eq!(in_turns(std::iter::empty()), []);
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let (_listener, live) = listening("127.0.0.1");
    assert_eq!(race(vec![deserted(), deserted(), live], soon(), peer).await.unwrap(), live);
}

#[tokio::test]
async fn an_address_that_says_nothing_does_not_hold_up_the_next() {
    let (_silent, silent) = listening("127.0.0.2");
    let (_listener, live) = listening("127.0.0.1");
    let secure = async |tcp: TcpStream| match tcp.peer_addr()? {
        address if address == silent => std::future::pending().await,
        address => Ok(address),
    };
    assert_eq!(race(vec![silent, live], soon(), secure).await.unwrap(), live);
}

#[tokio::test]
async fn who_is_refused_here_gives_way_too_and_all_failures_are_told() {
    let (_one, one) = listening("127.0.0.2");
    let (_listener, live) = listening("127.0.0.1");
    let strict = async |tcp: TcpStream| match tcp.peer_addr()? {
        address if address == one => Err(io::Error::other("not whom we look for")),
        address => Ok(address),
    };
    assert_eq!(race(vec![one, live], soon(), strict).await.unwrap(), live);
    let error = race(vec![one, deserted()], soon(), strict).await.unwrap_err().to_string();
    let (first, second) = error.split_once(", ").unwrap();
    assert!(error.contains("127.0.0.2: not whom we look for"), "{error}");
    assert!(first.contains("127.0.0.1: ") || second.starts_with("127.0.0.1: "), "{error}");
}

#[tokio::test]
async fn when_time_is_over_those_still_open_are_named() {
    let (_silent, silent) = listening("127.0.0.1");
    let deadline = Instant::now() + Duration::from_millis(30);
    let never = async |_: TcpStream| std::future::pending::<io::Result<()>>().await;
    let error = race(vec![silent], deadline, never).await.unwrap_err();
    assert_eq!(error.to_string(), "127.0.0.1: no answer in time");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_told_from_a_node_that_is_away() {
    let error = dial("nobody.invalid", 1, Duration::from_secs(20), peer).await.unwrap_err();
    assert!(matches!(&error, DialError::Unknown { host, .. } if host == "nobody.invalid"), "{error}");
    let deserted = deserted();
    let error = dial("127.0.0.1", deserted.port(), Duration::from_secs(20), peer).await.unwrap_err();
    assert!(matches!(&error, DialError::Failed(failed) if failed.len() == 1), "{error}");
}
