//! What the benchmarks stand on: the same jobs done by amqp-codec and by its peers, also for the
//! tests that they are the same; and brokers under hostile input.

pub mod codec;
pub mod hostile;
