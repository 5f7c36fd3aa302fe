//! A member's entry node that answers clients falsely: the honest node runs behind it, and what
//! it answers is altered on the way. To clients it shows the node's own certificate; the honest
//! node hears the client whose keys the harness has, since what happens inside a liar's machine
//! binds nobody.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use consilium_certs::tls::{ConsiliumClientVerifier, StaticTrust, server_config};
use consilium_proto::genesis::Genesis;
use consilium_proto::names::Role;
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::transport::{Channel, Server};
use tower::Service;

use crate::network::Network;
use crate::raw::{RawIdentity, trust_of};
use crate::user::User;

/// Of connections to the liar, at a time.
const HANDSHAKES_MAX: usize = 64;

/// What is said instead of an answer: by the last part of the call's path, and the encoded
/// message. `None` says what is true.
pub type Falsify = fn(&str, &[u8]) -> Option<Vec<u8>>;

/// Serves in the name of a node, for one client; returns host:port. Ends with the runtime.
///
/// # Errors
/// If a file is missing, or no port is free.
pub async fn lying_entry(network: &Network, node: usize, client: &User, falsify: Falsify) -> anyhow::Result<String> {
    let node = &network.nodes[node];
    let genesis = Genesis::parse(&std::fs::read(&network.genesis_path)?)?;
    let verifier = ConsiliumClientVerifier::new(Arc::new(StaticTrust::new(trust_of(&genesis)?)), Role::ALL);
    let read = |name: &str| std::fs::read_to_string(node.dir.join(name));
    let identity = RawIdentity::from_pem(&read("node-n1.pem")?, &read("node-n1.key")?)?;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(Arc::new(verifier), Arc::new(identity))?));
    let listener = TcpListener::bind(SocketAddr::from((node.client.ip(), 0))).await?;
    let address = listener.local_addr()?.to_string();
    let connections = futures::stream::unfold(listener, |listener| async move {
        let (stream, _) = listener.accept().await.ok()?;
        Some((stream, listener))
    });
    // A client that gave a call up may leave a handshake open: it holds up no other.
    let handshakes = connections.map(move |stream| acceptor.accept(stream)).buffer_unordered(HANDSHAKES_MAX);
    let incoming = handshakes.filter(|stream| std::future::ready(stream.is_ok()));
    let between = Between { honest: client.channel(node)?, falsify };
    // All calls end in the layer; some service must be named.
    let (_, never_asked) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(tower::layer::layer_fn(move |_| between.clone())).add_service(never_asked);
    tokio::spawn(server.serve_with_incoming(incoming));
    Ok(address)
}

#[derive(Clone)]
struct Between {
    honest: Channel,
    falsify: Falsify,
}

impl Service<http::Request<Body>> for Between {
    type Response = http::Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.honest.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let (answer, falsify) = (self.honest.call(request), self.falsify);
        Box::pin(async move {
            let (parts, body) = answer.await?.into_parts();
            // Streams end when their reader has enough: they pass as they are.
            if call.starts_with("List") || call == "Watch" {
                return Ok(http::Response::from_parts(parts, body));
            }
            let Ok(collected) = body.collect().await else {
                return Ok(http::Response::from_parts(parts, Body::empty()));
            };
            let trailers = collected.trailers().cloned();
            let told = collected.to_bytes();
            let lie = told.get(5..).and_then(|message| falsify(&call, message));
            let body = Full::new(lie.map_or(told, |lie| frame(&lie)));
            let body = body.with_trailers(async move { trailers.map(Ok) });
            Ok(http::Response::from_parts(parts, Body::new(body)))
        })
    }
}

/// One message: a byte for compression, four of length.
fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    framed.freeze()
}
