//! The broker over HTTP: metrics for Prometheus, health, and RabbitMQ's management API.

mod amqp;
mod answer;
mod api;
pub(crate) mod definitions;
mod health;
mod http;
mod login;
mod metrics;
mod observed;
mod page;
pub(crate) mod samples;
pub(crate) mod service;
mod shape;

use std::{io, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    middleware::{self, Next},
    response::Response,
};
use tokio::net::{TcpListener, ToSocketAddrs};

use self::{
    answer::api_error::ApiError,
    samples::sampler::Samples,
    service::{Service, options::HttpOptions, password_checks::PasswordChecks},
};
#[cfg(feature = "tls")]
use crate::server::tls::Tls;
use crate::{
    broker::{Broker, Listener},
    server::Acceptor,
};

/// Metrics, health and management over HTTP, with the feature `management`.
impl Broker {
    /// Serves HTTP at `address`: metrics for Prometheus at `/metrics`, `/metrics/per-object` and
    /// `/metrics/detailed`, health at `/health/live` and `/health/ready`, and, unless the options
    /// say otherwise, RabbitMQ's management API under `/api` and a page at `/`. Port 0 chooses a
    /// free port.
    ///
    /// Users log in with their names and passwords, and may do what their permissions and
    /// [tags](crate::UserTag) allow; as in RabbitMQ, one without a tag for it may do nothing here.
    /// Under plain HTTP passwords can be read on the way: elsewhere than on this machine
    /// `listen_https` should be used.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use amqp_broker::{Broker, HttpOptions};
    ///
    /// let broker = Broker::builder().build();
    /// let listener = broker.listen_http("127.0.0.1:0", HttpOptions::new()).await?;
    /// println!("http://{}/metrics", listener.local_addr());
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn listen_http(
        &self,
        address: impl ToSocketAddrs,
        options: HttpOptions,
    ) -> io::Result<Listener> {
        self.serve_http(TcpListener::bind(address).await?, None, options)
    }

    /// Serves HTTP under TLS, as [`listen_http`](Self::listen_http). With the feature `tls`.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "tls")]
    pub async fn listen_https(
        &self,
        address: impl ToSocketAddrs,
        tls: &Tls,
        options: HttpOptions,
    ) -> io::Result<Listener> {
        self.serve_http(TcpListener::bind(address).await?, Some(tls.clone()), options)
    }

    fn serve_http(
        &self,
        listener: TcpListener,
        tls: Option<Acceptor>,
        options: HttpOptions,
    ) -> io::Result<Listener> {
        if let Some(failure) = self.inner.failure() {
            return Err(io::Error::other(failure));
        }
        let local_addr = listener.local_addr()?;
        let router = self.router(&options);
        let listens = self.inner.listening.begin(local_addr, if tls.is_some() { "https" } else { "http" });
        let accepting = http::accept(listener, tls, (router, options), Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            let _listens = listens;
            accepting.await;
        });
        Ok(Listener::new(local_addr, task.abort_handle()))
    }
}

impl Broker {
    /// Returns what a listener with these options serves.
    fn router(&self, options: &HttpOptions) -> Router {
        let samples = if options.has_management { Samples::of(self) } else { Arc::default() };
        let (broker, options) = (self.clone(), options.clone());
        router(Service { broker, options, samples, checks: PasswordChecks::default() })
    }

    /// Serves HTTP on a stream, as a listener does on each of its own.
    #[cfg(feature = "fuzzing")]
    pub(crate) async fn serve_http_on<S>(&self, stream: S, peer: std::net::SocketAddr, options: &HttpOptions)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    {
        http::serve(stream, peer, (self.router(options), options), &mut self.inner.ending()).await;
    }
}

/// Returns the routes, with the headers that every answer has.
fn router(service: Service) -> Router {
    Router::new()
        .merge(health::routes())
        .merge(metrics::routes(&service))
        .merge(match service.options.has_management {
            true => api::routes(&service, definitions::routes()).merge(page::routes()),
            false => Router::new(),
        })
        .fallback(async || ApiError::NotFound)
        .layer(middleware::from_fn(add_headers))
        .with_state(service)
}

/// The headers of every answer: a browser takes it for what it says it is, keeps no copy, and shows
/// it in no frame.
async fn add_headers(request: axum::extract::Request, next: Next) -> Response {
    const NAMES: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in NAMES {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
