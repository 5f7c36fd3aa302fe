//! Distance between nodes: a proxy before each node's listener for peers, in which every byte
//! takes its time, both ways. It loses nothing, and holds no more than some bytes on their way: a
//! long wire, not a narrow one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::node::Node;

const BUFFER_BYTES: usize = 64 * 1024;
/// Reads whose bytes are on their way: whoever sends more waits.
const ON_THEIR_WAY: usize = 4_096;

/// Puts the nodes apart: what one sends to another arrives so much later. Whoever calls
/// [`Node::proxied`] is far; the proxies last as long as the runtime.
///
/// # Errors
/// If an address is in use.
pub async fn put_apart(nodes: &[Node], one_way: Duration) -> anyhow::Result<()> {
    for node in nodes {
        let (address, target) = (node.proxied(), node.peer);
        let listener = TcpListener::bind(address).await.with_context(|| format!("proxy on {address}"))?;
        tokio::spawn(serve(listener, target, one_way));
    }
    Ok(())
}

async fn serve(listener: TcpListener, target: SocketAddr, one_way: Duration) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(pass(stream, target, one_way));
    }
}

async fn pass(stream: TcpStream, target: SocketAddr, one_way: Duration) -> io::Result<()> {
    let onward = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    onward.set_nodelay(true)?;
    let ((from_caller, to_caller), (from_called, to_called)) = (stream.into_split(), onward.into_split());
    // Whichever ends first ends the connection.
    tokio::select! {
        ended = later(from_caller, to_called, one_way) => ended,
        ended = later(from_called, to_caller, one_way) => ended,
    }
}

/// Passes on what it reads, each byte so much later, until there is no more.
async fn later(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, one_way: Duration) -> io::Result<()> {
    let (sender, mut on_its_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    let read = async {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = from.read(&mut buffer).await?;
            // Its receiver is here as long as this is.
            if count == 0 || sender.send((Instant::now() + one_way, buffer[..count].to_vec())).await.is_err() {
                drop(sender);
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = on_its_way.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_: ((), ())| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn bytes_arrive_later_all_of_them_and_in_order() {
        let (mut caller, from) = tokio::io::duplex(16);
        let (to, mut called) = tokio::io::duplex(16);
        let wire = tokio::spawn(later(from, to, Duration::from_millis(15)));
        let sent: Vec<u8> = (0..200).collect();
        let began = Instant::now();
        let copy = sent.clone();
        tokio::spawn(async move { caller.write_all(&copy).await });
        let mut first = [0];
        called.read_exact(&mut first).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(15));
        let mut rest = Vec::new();
        called.read_to_end(&mut rest).await.unwrap();
        assert_eq!([first.as_slice(), &rest].concat(), sent);
        wire.await.unwrap().unwrap();
    }
}
