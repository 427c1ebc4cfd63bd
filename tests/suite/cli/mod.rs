//! The program `amqp`: in pipes on the embedded broker and RabbitMQ, and on a pseudo-terminal.

mod contexts;
mod fixture;
mod messages;
mod program;
mod receive;
mod recording;
mod relocate;
mod terminal;
mod topology;

use super::every_broker::on_tcp_brokers;
