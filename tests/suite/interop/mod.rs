//! Clients of other languages with our broker, and with our client across it.

mod constructors;
mod kombu;
mod oslo;
mod pika;
mod suites;
