//! Kombu's keys, envelopes, priorities and bindings on Redis, without IO.
