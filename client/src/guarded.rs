//! A connection that lasts as long as the ledger vouches for whom it leads to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use crate::error::ClientError;
use crate::standing::{Presented, Standings};
use crate::transport::Plausible;

/// A connection to a server that the ledger vouches for: the row of its member
/// is proven, and the certificate holds under it. Looked into again at every
/// interval and whenever the row changes; it breaks when that comes out otherwise.
pub(crate) struct Guarded {
    connection: Plausible,
    state: State,
}

enum State {
    /// Ends when the server is not vouched for any more.
    Standing(BoxFuture<'static, ClientError>),
    Fallen(ClientError),
}

impl Guarded {
    /// Asks how the member stands, and judges the certificate.
    pub(crate) async fn admit(connection: Plausible, standings: Arc<Standings>) -> Result<Self, ClientError> {
        let server = connection.presented().clone();
        // Told of what changes from here on, also while it is judged.
        let changes = standings.changes();
        standings.judge(&server).await?;
        Ok(Self { connection, state: State::Standing(Box::pin(fallen(standings, server, changes))) })
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let State::Standing(fallen) = &mut self.state
            && let Poll::Ready(why) = fallen.as_mut().poll(cx)
        {
            self.state = State::Fallen(why);
        }
        match &self.state {
            State::Standing(_) => Ok(()),
            State::Fallen(why) => Err(io::Error::other(why.clone())),
        }
    }
}

async fn fallen(standings: Arc<Standings>, server: Presented, mut changes: watch::Receiver<u64>) -> ClientError {
    loop {
        // The sender lives in `standings`: an error of the receiver is impossible.
        let _ = tokio::time::timeout(standings.refresh(), changes.changed()).await;
        if let Err(why) = standings.judge(&server).await {
            return why;
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Whoever keeps a connection open reads from it all the time.
        self.check(cx)?;
        Pin::new(self.connection.stream()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.connection.stream()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.stream()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.connection.stream()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.connection.stream()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
