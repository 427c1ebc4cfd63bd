//! kombu's mailbox (`kombu.pidbox`): commands to the nodes of a namespace, and their replies.
//!
//! A [`Node`] has a name and handlers. A [`Command`] goes to all nodes, to some by their names, or
//! to those whose names fit a pattern; it is cast, or called for replies. Nodes and callers may as
//! well be of kombu 5 or Celery: the entities and messages on the wire are the same.
//!
//! ```
//! use std::time::Duration;
//! use futures_util::StreamExt as _;
//! use messaging::{Transport, mailbox::Request};
//!
//! #[derive(serde::Deserialize)]
//! struct Grow { n: u32 }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), messaging::Error> {
//! let transport = Transport::connect("memory://mailbox").await?;
//! let mailbox = transport.mailbox("workers").open();
//! let node = mailbox
//!     .node("w1@host")
//!     .handler("pool_grow", |_request: Request, Grow { n }| async move {
//!         if n > 0 { Ok(4 + n) } else { Err("the pool cannot grow by nothing") }
//!     })
//!     .start()
//!     .await?;
//!
//! let command = mailbox.command("pool_grow").arguments(&serde_json::json!({"n": 2}))?;
//! let mut replies = command.to(["w1@host"]).timeout(Duration::from_secs(5)).call().await?;
//! while let Some(reply) = replies.next().await {
//!     let reply = reply.expect("a reply");
//!     assert_eq!((reply.node(), reply.decode::<u32>().expect("a number")), ("w1@host", 6));
//! }
//! node.stop().await;
//! # Ok(())
//! # }
//! ```

mod call;
mod namespace;
mod node;
mod transport;

pub use crate::error::mailbox::MailboxError;
pub use call::{command::Command, replies::Replies};
pub use namespace::{
    builder::MailboxBuilder, mailbox::Mailbox, metrics::MailboxMetrics, namespace::Kind, recipients::Matcher,
    reply::Reply, reply_error::ReplyError,
};
pub use node::{
    handlers::Handlers,
    node::{Node, NodeBuilder},
    request::{Arguments, Failure, Request},
};
