//! Connections that only listen to channels, for the second version of the protocol.

use redis::{
    Client, Cmd, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, Value, aio::PubSub,
    parse_redis_value_async,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::authentication::authentication;
use crate::redis::options::RedisLogin;

/// Opens one. It has the client's name, unless TLS is spoken: the name must be set before the
/// connection listens, and the crate leaves no room for that.
pub(super) async fn listen(client: &Client, login: &RedisLogin, name: Option<&str>) -> RedisResult<PubSub> {
    let info = client.get_connection_info();
    match (name, info.addr()) {
        (Some(name), ConnectionAddr::Tcp(host, port)) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            named(stream, info.redis_settings(), login, name).await
        }
        #[cfg(unix)]
        (Some(name), ConnectionAddr::Unix(path)) => {
            let stream = tokio::net::UnixStream::connect(path).await?;
            named(stream, info.redis_settings(), login, name).await
        }
        _ => client.get_async_pubsub().await,
    }
}

async fn named(
    mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    settings: &RedisConnectionInfo,
    login: &RedisLogin,
    name: &str,
) -> RedisResult<PubSub> {
    if let Some(command) = authentication(login) {
        ask(&mut stream, &command).await?;
    }
    ask(&mut stream, redis::cmd("CLIENT").arg("SETNAME").arg(name)).await?;
    PubSub::new(settings, stream).await
}

/// Sends a command that is answered with OK, and waits for that. Nothing follows the answer.
async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), command: &Cmd) -> RedisResult<()> {
    stream.write_all(&command.get_packed_command()).await?;
    match parse_redis_value_async(&mut Default::default(), stream).await? {
        Value::Okay => Ok(()),
        Value::ServerError(error) => Err(error.into()),
        _ => Err(RedisError::from((ErrorKind::UnexpectedReturnType, "Redis answers unexpectedly"))),
    }
}
