use std::convert::Infallible;

use http_body_util::BodyExt;
use tokio_stream::wrappers::ReceiverStream;
use tower::{ServiceExt, service_fn};

use super::*;

/// The last word of an answer: of its head, or behind its body.
async fn status_of<S>(service: S) -> String
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let answer = ContainRequests.layer(service).oneshot(Request::new(Body::empty())).await.expect("it cannot fail");
    let (head, body) = answer.into_parts();
    let trailers = body.collect().await.expect("it ends with a status").trailers().cloned().unwrap_or_default();
    let status = trailers.get("grpc-status").or(head.headers.get("grpc-status"));
    status.map(|status| status.to_str().expect("digits").to_owned()).unwrap_or_default()
}

/// Answers with a body of one frame and a panic.
async fn half(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut frames = 0;
    let frame = move || {
        frames += 1;
        assert!(frames < 2, "the second item");
        Some((Ok::<_, Status>(Frame::data(Bytes::from_static(b"item"))), ()))
    };
    let mut frame = frame;
    let frames = futures::stream::unfold((), move |()| std::future::ready(frame()));
    Ok(Response::new(Body::new(http_body_util::StreamBody::new(frames))))
}

#[tokio::test]
async fn a_request_that_panics_is_answered_internal() {
    let at_once = service_fn(|_| -> std::future::Ready<Result<Response<Body>, Infallible>> { panic!("at once") });
    assert_eq!(status_of(at_once).await, "13");
    let later = service_fn(|_| async {
        tokio::task::yield_now().await;
        panic!("later")
    });
    assert_eq!(status_of(later).await, "13");
    assert_eq!(status_of(service_fn(half)).await, "13");
    let well = service_fn(|_| async { Ok(Status::not_found("none").into_http()) });
    assert_eq!(status_of(well).await, "5");
}

#[tokio::test]
async fn a_stream_whose_task_panics_ends_internal() {
    let (items, received) = mpsc::channel::<Result<u32, Status>>(1);
    feed(items, |items| async move {
        items.send(Ok(1)).await.expect("somebody reads");
        panic!("behind the first item");
    });
    let items: Vec<_> = futures::StreamExt::collect(ReceiverStream::new(received)).await;
    assert_eq!(
        items.iter().map(|item| item.as_ref().map_err(Status::code).copied()).collect::<Vec<_>>(),
        [Ok(1), Err(tonic::Code::Internal)]
    );
    let (items, received) = mpsc::channel::<Result<u32, Status>>(1);
    feed(items, |_| async {
        let read: Result<u32, _> = blocking(|| panic!("while reading the disk")).await;
        panic!("told of it: {read:?}");
    });
    let items: Vec<_> = futures::StreamExt::collect(ReceiverStream::new(received)).await;
    assert_eq!(
        items.iter().map(|item| item.as_ref().map_err(Status::code).copied()).collect::<Vec<_>>(),
        [Err(tonic::Code::Internal)]
    );
}

#[test]
fn streams_that_nobody_reads_hold_no_thread() {
    const THREADS: usize = 2;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(THREADS).build().expect("threads");
    runtime.block_on(async {
        let mut unread = Vec::new();
        for _ in 0..10 * THREADS {
            let (items, received) = mpsc::channel::<Result<usize, Status>>(1);
            feed(items, |items| async move {
                for item in 0.. {
                    let read = blocking(move || item).await.map_err(Status::from);
                    if items.send(read).await.is_err() {
                        return;
                    }
                }
            });
            unread.push(received);
        }
        for received in &mut unread {
            assert!(matches!(received.recv().await, Some(Ok(0))));
        }
        assert_eq!(blocking(|| 7).await, Ok(7));
    });
}

#[test]
fn what_is_outside_of_a_request_is_not_contained() {
    assert!(!is_contained());
    assert_eq!(call(is_contained), Ok(true));
    assert_eq!(call(|| assert!(call::<()>(|| panic!("inside")).is_err() && is_contained())), Ok(()));
    assert!(!is_contained());
}

#[tokio::test]
async fn what_an_answer_holds_is_held_until_it_was_sent() {
    let (held, released) = tokio::sync::oneshot::channel::<()>();
    let held = std::sync::Mutex::new(Some(held));
    let service = service_fn(move |_| {
        let held = held.lock().expect("nobody panics with it").take();
        async move {
            let mut response = Response::new(Body::new(http_body_util::Full::new(Bytes::from_static(b"all"))));
            response.extensions_mut().insert(Held::new(held));
            Ok::<_, Infallible>(response)
        }
    });
    let answer = ContainRequests.layer(service).oneshot(Request::new(Body::empty())).await.unwrap();
    let mut released = std::pin::pin!(released);
    assert!(futures::poll!(released.as_mut()).is_pending());
    answer.into_body().collect().await.expect("it is all of it");
    assert!(futures::poll!(released.as_mut()).is_ready());
}
