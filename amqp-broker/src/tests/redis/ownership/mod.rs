//! Things that belong to one connection, and whom others take for their owner.

mod bindings;
mod consumers;
mod deleted;
mod exchanges;
mod exclusive;
mod gone;
mod redeclared;

use redis::aio::MultiplexedConnection;

use super::{
    server::RedisServer,
    support::{Client, Setting, ask, binding, broker, broker_at, exchange, queue, refusal},
};

/// A connection that can be looked at like that of another process, and the name by which it holds
/// things.
async fn holder(server: &RedisServer) -> (MultiplexedConnection, String) {
    let connection = server.connect().await;
    let client: u64 = ask(&connection, &["CLIENT", "ID"]).await;
    let info: String = ask(&connection, &["INFO", "server"]).await;
    let run_id = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap();
    (connection, format!("{} {run_id} {client}", uuid::Uuid::new_v4().simple()))
}

/// Ends a connection; returns when the server has noticed it.
async fn end(connection: MultiplexedConnection, server: &RedisServer) {
    let client: u64 = ask(&connection, &["CLIENT", "ID"]).await;
    drop(connection);
    let plain = server.connect().await;
    while !ask::<String>(&plain, &["CLIENT", "LIST", "ID", &client.to_string()]).await.is_empty() {
        tokio::task::yield_now().await;
    }
}
