//! A client that repeats a small request, and notes how long each answer takes.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use amqp_codec::method::queue;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::raw_client::{RawClient, short};

/// Asks for its own queue by passive declarations, one after the other, on its own connection.
///
/// # On drop
/// It ends.
#[derive(Debug)]
pub struct Probe {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    waits: Vec<Duration>,
    asked: Option<Instant>,
    failure: Option<String>,
}

/// How long a [`Probe`] waited for each answer.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// The waits by length. The answer to the last request may be outstanding: its wait so far is
    /// included.
    sorted: Vec<Duration>,
    /// Why the probe has ended.
    pub failure: Option<String>,
}

impl Probe {
    /// Begins to ask, with this pause after each answer.
    ///
    /// # Errors
    /// When the queue cannot be declared.
    pub async fn start(address: &str, vhost: &str, pause: Duration) -> io::Result<Self> {
        let mut client = RawClient::connect(address, vhost).await?;
        let queue = format!("probe-{vhost}");
        client.call(1, queue::Declare { queue: short(&queue)?, ..Default::default() }).await?;
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(ask(client, queue, pause, Arc::clone(&state)));
        Ok(Self { state, task })
    }

    /// The waits since the last call, except a current one.
    #[must_use]
    pub fn waits(&self) -> Waits {
        let mut state = lock(&self.state);
        let mut sorted = mem::take(&mut state.waits);
        sorted.sort_unstable();
        Waits { sorted, failure: state.failure.clone() }
    }

    /// As [`waits`](Self::waits), including the current wait.
    #[must_use]
    pub fn waits_and_the_last(&self) -> Waits {
        let asked = lock(&self.state).asked;
        let mut waits = self.waits();
        waits.sorted.extend(asked.map(|asked| asked.elapsed()));
        waits.sorted.sort_unstable();
        waits
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Waits {
    /// The number of waits.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The quantile of the waits; 1 is the longest.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
    }
}

async fn ask(mut client: RawClient, queue: String, pause: Duration, state: Arc<Mutex<State>>) {
    loop {
        let asked = Instant::now();
        lock(&state).asked = Some(asked);
        let answer = client.ready(&queue).await;
        if !lock(&state).note(asked, answer) {
            return;
        }
        sleep(pause).await;
    }
}

impl State {
    /// Notes an answer; returns whether it was one.
    fn note(&mut self, asked: Instant, answer: io::Result<u32>) -> bool {
        self.asked = None;
        match answer {
            Ok(_) => self.waits.push(asked.elapsed()),
            Err(error) => self.failure = Some(error.to_string()),
        }
        self.failure.is_none()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_waits() {
        let sorted = (1..=100).map(Duration::from_millis).collect();
        let waits = Waits { sorted, failure: None };
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| waits.quantile(share).as_millis());
        assert_eq!(quantiles, [1, 51, 100, 100]);
        assert_eq!(Waits::default().quantile(0.5), Duration::ZERO);
    }
}
