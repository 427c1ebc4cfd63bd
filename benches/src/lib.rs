//! What the benchmarks share: the same jobs done by amqp-codec and by others, which tests check to
//! be equal; and brokers under hostile input.

pub mod codec;
pub mod hostile;
