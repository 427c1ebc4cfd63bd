//! Searches for orders of tasks in which a permit or a part of a limit is lost, or is there twice.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use shuttle::{
    future::{block_on, spawn, yield_now},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use crate::{
    compress::room::Room,
    consume::handlers::permits::{Permit, Permits},
    sync::{search, watch},
};

const AT_ONCE: usize = 2;
const UNIT: u64 = 1024;

/// The weight of all that go on at a time.
#[derive(Clone, Default)]
struct Running(Arc<AtomicUsize>);

impl Running {
    async fn run(&self, weight: usize, most: usize) {
        assert!(self.0.fetch_add(weight, SeqCst) + weight <= most);
        yield_now().await;
        self.0.fetch_sub(weight, SeqCst);
    }
}

#[test]
fn no_more_messages_are_handled_at_once_than_may_be_and_each_is() {
    search(|| {
        block_on(async {
            let (_stop, stopping) = watch::channel(false);
            let (permits, running) = (Arc::new(Permits::new(AT_ONCE, stopping)), Running::default());
            let handlers: Vec<_> = (0..4)
                .map(|number| {
                    let (permits, running) = (permits.clone(), running.clone());
                    spawn(async move {
                        let mut permit = permits.permit().await;
                        running.run(1, AT_ONCE).await;
                        // A permit is used for the next message, or ends before it is dropped.
                        if number % 2 == 0 && permit.is_to_spare() {
                            running.run(1, AT_ONCE).await;
                        } else if number == 1 {
                            permit.end();
                            yield_now().await;
                        }
                    })
                })
                .collect();
            for handler in handlers {
                handler.await.unwrap();
            }
            all_are_free(&permits).await;
        });
    });
}

#[test]
fn a_message_that_is_held_gives_its_permit_away_and_ends_with_the_service() {
    search(|| {
        block_on(async {
            let (stop, stopping) = watch::channel(false);
            let permits = Arc::new(Permits::new(AT_ONCE, stopping));
            let holding: Vec<_> = (0..3)
                .map(|_| {
                    let permits = permits.clone();
                    spawn(async move {
                        let mut permit = permits.permit().await;
                        assert!(!permit.hold(1, true, Duration::from_secs(1)).await, "no time passes");
                    })
                })
                .collect();
            // There are more of them than permits.
            drop(permits.permit().await);
            stop.send_replace(true);
            for one in holding {
                one.await.unwrap();
            }
            all_are_free(&permits).await;
        });
    });
}

#[test]
fn one_who_gives_up_waiting_takes_no_permit_along() {
    search(|| {
        block_on(async {
            let (_stop, stopping) = watch::channel(false);
            let permits = Arc::new(Permits::new(1, stopping));
            let handler = |permits: &Arc<Permits>| {
                let permits = permits.clone();
                spawn(async move {
                    let _permit = permits.permit().await;
                    yield_now().await;
                })
            };
            let (one, two, three) = (handler(&permits), handler(&permits), handler(&permits));
            two.abort();
            one.await.unwrap();
            three.await.unwrap();
            let _ = two.await;
            let permit = permits.permit().await;
            assert!(permit.is_to_spare());
        });
    });
}

#[test]
fn no_more_bytes_are_taken_than_there_are_and_nobody_waits_for_ever() {
    search(|| {
        block_on(async {
            let (room, running) = (Room::new(4 * UNIT), Running::default());
            let takers: Vec<_> = [1, 3, 4, 9]
                .map(|units: usize| {
                    let (room, running) = (room.clone(), running.clone());
                    spawn(async move {
                        let mut taken = room.take(units as u64 * UNIT).await;
                        running.run(units.min(4), 4).await;
                        taken.shrink_to(UNIT);
                        running.run(1, 4).await;
                    })
                })
                .into_iter()
                .collect();
            for taker in takers {
                taker.await.unwrap();
            }
            room.take(4 * UNIT).await;
        });
    });
}

/// All permits can be had at the same time, and nobody is counted as waiting.
async fn all_are_free(permits: &Arc<Permits>) {
    let mut taken = Vec::new();
    for _ in 0..AT_ONCE {
        taken.push(permits.permit().await);
    }
    assert!(taken.iter().all(Permit::is_to_spare));
}
