//! Queues and streams, their consumers, and what becomes of deliveries.

mod behaviour;
mod cancels;
mod deliveries;
mod leftovers;
mod policies;
mod sequences;
mod shared_prefetch;
mod streams;
