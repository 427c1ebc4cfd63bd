//! AMQP connections in front of a backend.
