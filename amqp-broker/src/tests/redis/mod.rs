//! The backend on Redis, against a private server.

mod claims;
mod delivery;
mod fanout;
mod killed;
mod later;
mod loss;
mod options;
mod ownership;
mod plain;
mod restore;
mod rows;
mod second;
mod server;
mod support;
mod topology;
