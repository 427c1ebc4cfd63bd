//! How a backend tells a connection that there is something to do.

use std::{collections::BTreeSet, mem, sync::Arc};

use tokio::sync::Notify;

use super::backend_error::BackendError;
use crate::sync::Mutex;

/// Wakes one AMQP connection. Clones wake the same connection.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    news: Mutex<News>,
    notify: Notify,
}

/// What a connection was woken for.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The queues that may have messages.
    pub(crate) queues: BTreeSet<String>,
    /// The queues that were deleted.
    pub(crate) deleted: BTreeSet<String>,
    /// Why the backend was lost.
    pub(crate) lost: Option<BackendError>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.deleted.is_empty() && self.lost.is_none()
    }
}

impl Wakes {
    /// Announces that a queue may have messages. A queue that is announced repeatedly before the
    /// connection looks is announced once.
    pub fn wake(&self, queue: &str) {
        let mut news = self.shared.news.lock();
        if !news.queues.contains(queue) {
            news.queues.insert(queue.to_owned());
        }
        drop(news);
        self.shared.notify.notify_one();
    }

    /// Announces that a queue is deleted: its consumers are cancelled.
    pub fn deleted(&self, queue: &str) {
        self.shared.news.lock().deleted.insert(queue.to_owned());
        self.shared.notify.notify_one();
    }

    /// Announces that the backend is lost: the connection is closed. Only the first reason counts.
    pub fn lost(&self, why: BackendError) {
        self.shared.news.lock().lost.get_or_insert(why);
        self.shared.notify.notify_one();
    }

    /// Waits until there is news, and takes it. It is cancel-safe.
    pub(crate) async fn next(&self) -> News {
        loop {
            let news = mem::take(&mut *self.shared.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.shared.notify.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_that_wakes_twice_is_told_once() {
        let wakes = Wakes::default();
        wakes.wake("a");
        wakes.clone().wake("b");
        wakes.wake("a");
        let news = wakes.next().await;
        assert_eq!(news.queues.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[tokio::test]
    async fn the_first_reason_of_a_loss_is_told() {
        let wakes = Wakes::default();
        wakes.lost(BackendError::Unavailable("first".to_owned()));
        wakes.lost(BackendError::Unavailable("second".to_owned()));
        assert_eq!(wakes.next().await.lost, Some(BackendError::Unavailable("first".to_owned())));
    }
}
