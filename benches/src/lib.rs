//! The same jobs done by amqp-codec and by its peers, for the benchmarks and for the tests that they are the same.

pub mod codec;
