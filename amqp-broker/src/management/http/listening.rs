//! Accepts connections of HTTP, and serves each in a task of its own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use super::patient::Patient;
use crate::{
    management::service::{Peer, options::HttpOptions},
    server::{Acceptor, instance::Instance},
    sockets::Sockets,
};

/// The pause after accepting failed, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The time for an answer that is under way when the broker ends.
const LAST_ANSWER: Duration = Duration::from_secs(2);

/// The most bytes of a request's line and headers.
const MOST_HEADERS: usize = 32 << 10;

/// Accepts connections until the broker ends, with TLS if that is configured. At the limit of
/// connections the next one waits.
#[cfg_attr(not(feature = "tls"), allow(clippy::clone_on_copy))]
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Option<Acceptor>,
    (router, options): (Router, HttpOptions),
    broker: Arc<Instance>,
) {
    let mut ending = broker.ending();
    let room = Arc::new(Semaphore::new(options.max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let accepted = async {
            broker.sockets.room().await;
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = ended(&mut ending) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        tracing::debug!(%peer, "accepted HTTP");
        let socket = Sockets::enter(&broker.sockets);
        let (router, options, tls, broker) =
            (router.clone(), options.clone(), tls.clone(), Arc::clone(&broker));
        tokio::spawn(async move {
            let _held = (place, socket);
            // The broker's end waits for this connection as long as this receiver is there.
            let mut ending = broker.ending();
            match tls {
                None => serve(stream, peer, (router, &options), &mut ending).await,
                Some(tls) => match timeout(options.header_timeout, handshake(tls, stream)).await {
                    Ok(Some(stream)) => serve(stream, peer, (router, &options), &mut ending).await,
                    Ok(None) | Err(_) => tracing::debug!(%peer, "no TLS with an HTTP client"),
                },
            }
        });
    }
}

#[cfg(feature = "tls")]
async fn handshake(
    tls: Acceptor,
    stream: tokio::net::TcpStream,
) -> Option<impl AsyncRead + AsyncWrite + Unpin + Send> {
    tls.accept(stream).await.ok()
}

#[cfg(not(feature = "tls"))]
async fn handshake(tls: Acceptor, _: tokio::net::TcpStream) -> Option<tokio::net::TcpStream> {
    match tls {}
}

/// Serves a connection to its end; at the broker's end it answers what it has begun.
pub(crate) async fn serve<S>(
    stream: S,
    peer: SocketAddr,
    (router, options): (Router, &HttpOptions),
    ending: &mut watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let client = Peer { is_near: peer.ip().to_canonical().is_loopback(), ..Peer::default() };
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        pass_over_last_slash(&mut request);
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(MOST_HEADERS)
        .serve_connection(TokioIo::new(Patient::new(stream, options.body_timeout)), service);
    let mut connection = std::pin::pin!(connection);
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = ended(ending) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = end {
        tracing::debug!(%peer, %error, "an HTTP connection was lost");
    }
}

/// As RabbitMQ's, the management API passes over a slash at the end of a path.
fn pass_over_last_slash(request: &mut Request<Incoming>) {
    let uri = request.uri();
    let Some(path) = uri.path().strip_suffix('/').filter(|path| path.starts_with("/api/")) else { return };
    let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if let Ok(changed) = path.parse() {
        *request.uri_mut() = changed;
    }
}

/// Waits until the broker ends.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // The sender is there as long as the broker.
    let _ = ending.wait_for(|is_ending| *is_ending).await;
}
