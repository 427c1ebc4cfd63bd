//! Servers that cannot do what is needed: nodes of a cluster, and old versions.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::super::server::RedisServer;
use crate::{
    backend::{Backend, BackendError, Wakes},
    redis::Redis,
};

async fn refused(url: &str) -> BackendError {
    Redis::new(url.parse().unwrap()).open(Wakes::default()).await.unwrap_err()
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused_whatever_is_asked_first() {
    let test = "a_node_of_a_cluster_is_refused_whatever_is_asked_first";
    let Some(server) = RedisServer::with(test, &["--cluster-enabled", "yes"]).await else { return };
    // Another database than 0 is refused before anything else.
    for url in ["0", "0?protocol=2", "3"].map(|end| server.url().replace("/0", &format!("/{end}"))) {
        match refused(&url).await {
            BackendError::NotImplemented(text) => assert!(text.contains("a node of a cluster"), "{text}"),
            other => panic!("{url}: {other:?}"),
        }
    }
}

/// Answers as a Redis of this version does, as far as connections are opened.
async fn old_server(version: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                while let Ok(count @ 1..) = client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]).to_uppercase();
                    // Each command begins with the number of its words.
                    for command in text.split("*").skip(1) {
                        let answer = answer(command, version);
                        if client.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    port
}

fn answer(command: &str, version: &str) -> String {
    if command.contains("HELLO") {
        return "-ERR wrong number of arguments for 'hello' command\r\n".to_owned();
    }
    if command.contains("INFO") {
        let info = format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n");
        return format!("${}\r\n{info}\r\n", info.len());
    }
    if command.contains("PING") { "+PONG\r\n" } else { "+OK\r\n" }.to_owned()
}

#[tokio::test]
async fn an_old_redis_is_refused_by_its_version() {
    let port = old_server("6.0.16").await;
    let text = "this Redis is version 6.0.16, and 6.2 or later is required".to_owned();
    let error = refused(&format!("redis://127.0.0.1:{port}/0?protocol=2")).await;
    assert_eq!(error, BackendError::NotImplemented(text));
}
