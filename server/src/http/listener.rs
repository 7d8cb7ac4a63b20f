//! The listener: connections are counted, slow ones are cut, and stopping waits for what is in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::door::{Admission, Door, Marker};
use super::exchange::Peer;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once, a quarter of them from one address; beyond that the oldest idle ones are cut, and where all
    /// are busy, more wait in the system's queue.
    pub connections: usize,
    /// How long a request's head, and a TLS handshake, may take; also how long a connection may rest between requests.
    pub head: Duration,
    /// How long a request's body may take to arrive.
    pub body: Duration,
    /// How long stopping waits for requests in flight.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// A bound socket that is about to be served.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// For HTTPS.
    pub tls: Option<TlsAcceptor>,
    /// What a connection may take.
    pub limits: Limits,
}

impl Listener {
    /// Serves until `stop` resolves, then drains.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Self { socket, tls, limits } = self;
        let graceful = Arc::new(GracefulShutdown::new());
        let door = Door::new(limits.connections);
        let mut stop = std::pin::pin!(stop);
        'serving: loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: let some connections end first.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            prepare(&stream);
            let place = loop {
                match door.admit(peer) {
                    Admission::Welcome(place) => break place,
                    Admission::ShareTaken => {
                        tracing::debug!("an address has its share of connections; one more was cut");
                        continue 'serving;
                    }
                    // Everything is busy: this one and those behind it wait.
                    Admission::Full => tokio::select! {
                        biased;
                        () = &mut stop => break 'serving,
                        () = door.left() => {}
                    },
                }
            };
            let (router, tls, watcher) = (router.clone(), tls.clone(), graceful.watcher());
            tokio::spawn(async move {
                let connection = talk(stream, peer, tls, router, limits, watcher, place.marker());
                tokio::select! {
                    () = connection => {}
                    () = place.cut() => {}
                }
            });
        }
        drop(socket);
        if let Ok(graceful) = Arc::try_unwrap(graceful)
            && tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err()
        {
            tracing::warn!("some connections were cut: they did not end in time");
        }
    }
}

/// Answers are small: send them at once, and give up on a peer that reads nothing for half a minute.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    crate::platform::drop_silent_peers(stream);
}

async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    watcher: Watcher,
    marker: Marker,
) {
    let peer = Peer { address: peer, body_time: limits.body };
    let service = service(peer, router, marker);
    let Some(tls) = tls else { return http1(stream, service, limits, watcher).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(limits.head, tls.accept(stream)).await {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2(stream, service, limits, watcher).await;
        } else {
            http1(stream, service, limits, watcher).await;
        }
    }
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl Answers,
    limits: Limits,
    watcher: Watcher,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that hangs up or talks nonsense is its own affair.
    let _ = watcher.watch(connection).await;
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl Answers,
    limits: Limits,
    watcher: Watcher,
) {
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.head)
        .max_concurrent_streams(32)
        .max_header_list_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let _ = watcher.watch(connection).await;
}

/// What hyper calls for each request.
trait Answers:
    hyper::service::Service<
        hyper::Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send + 'static,
    >
{
}

impl<S> Answers for S where
    S: hyper::service::Service<
            hyper::Request<Incoming>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        >
{
}

fn service(peer: Peer, router: Router, marker: Marker) -> impl Answers {
    hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let busy = marker.busy();
        let answer = router.clone().call(request);
        async move {
            let _until_answered = busy;
            answer.await
        }
    })
}
