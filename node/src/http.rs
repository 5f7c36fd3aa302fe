//! `/livez`, `/readyz`, `/metrics`: for probes and scrapers. Nothing here names
//! a record, a patient or a client, and whoever reaches the port cannot keep the others out
//! ([`places`]).

mod places;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use self::places::Places;
use crate::published::Published;

/// Connections at once: probes and scrapers are few.
pub(crate) const CONNECTIONS_MAX: usize = 32;

/// Serves until the node stops.
pub async fn serve(listener: TcpListener, published: Arc<Published>, metrics: PrometheusHandle) {
    let places = Places::default();
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(place) = places.take(address.ip()) else { continue };
        let (published, metrics) = (Arc::clone(&published), metrics.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                place.asks();
                let response = respond(&request, &published, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(2))
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                _ = tokio::time::timeout(Duration::from_secs(30), served) => {}
                () = place.cut() => {}
            }
        });
    }
}

fn respond(request: &Request<Incoming>, published: &Published, metrics: &PrometheusHandle) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    match request.uri().path() {
        "/livez" => answer(StatusCode::OK, "live\n".into()),
        "/readyz" => match readiness(published) {
            Ok(()) => answer(StatusCode::OK, "ready\n".into()),
            Err(why) => answer(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => {
            metrics.run_upkeep();
            answer(StatusCode::OK, metrics.render())
        }
        _ => answer(StatusCode::NOT_FOUND, "no such page\n".into()),
    }
}

/// Ready: a leader is known, everything it committed before is applied here,
/// and the node has not put itself aside.
fn readiness(published: &Published) -> Result<(), String> {
    if published.is_quarantined() {
        return Err("quarantined: the state differs from the certified chain".into());
    }
    let status = published.status();
    if let Some(skew) = status.skew {
        return Err(format!("the clock of this node is {skew}"));
    }
    if published.leader().is_none() {
        return Err("no leader is known".into());
    }
    let commit = status.raft.commit.0;
    let applied = published.applied().index.0;
    let behind = commit.saturating_sub(applied);
    if behind > 1_000 { Err(format!("{behind} log entries behind")) } else { Ok(()) }
}

fn answer(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}
