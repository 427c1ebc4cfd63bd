//! The program `amqp`: in pipes on the embedded broker and RabbitMQ, and on a pseudo-terminal.

mod bench;
mod celery;
mod check;
mod contexts;
mod fixture;
mod info;
mod latency;
mod messages;
mod program;
mod receive;
mod recording;
mod relocate;
mod rpc;
mod screen;
mod terminal;
mod top;
mod topology;
mod transcript;

use super::every_broker::on_tcp_brokers;
