//! The backend on Redis, against a private server.

mod claims;
mod delivery;
mod fanout;
mod killed;
mod later;
mod loss;
mod options;
mod ownership;
mod restore;
mod rounds;
mod rows;
mod server;
mod servers;
mod silent;
mod support;
mod topology;
