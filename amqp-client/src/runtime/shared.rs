//! The engine behind its one mutex.

use std::{sync::Arc, task::Waker, time::Instant};

use tokio::sync::broadcast;

use crate::{
    event::{Event, KEPT},
    proto::connection::Engine,
    runtime::trace::Trace,
    sync::Mutex,
};

/// Returns the time of the runtime's clock, which tests may stop.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

pub(crate) struct Shared {
    engine: Mutex<Engine>,
    events: broadcast::Sender<Arc<Event>>,
    /// The receiver for the first listener, which thereby also sees the connection's first event.
    first_listener: Mutex<Option<broadcast::Receiver<Arc<Event>>>>,
    pub(crate) trace: Trace,
}

impl Shared {
    pub(crate) fn new(engine: Engine, trace: Trace) -> Self {
        let (events, first) = broadcast::channel(KEPT);
        Shared { engine: Mutex::new(engine), events, first_listener: Mutex::new(Some(first)), trace }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.first_listener.lock().take().unwrap_or_else(|| self.events.subscribe())
    }

    /// Reports events; nearly always there are none.
    #[inline]
    fn tell(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.tell_all(events);
        }
    }

    #[cold]
    fn tell_all(&self, events: Vec<Event>) {
        for event in events {
            self.trace.tell(&event);
            // Nobody may be listening.
            let _ = self.events.send(Arc::new(event));
        }
    }

    /// Works on the engine. When the lock is released, it reports the events and wakes the driver
    /// and the waiting futures.
    #[inline]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.lock();
        let result = work(&mut engine);
        let driver = engine.rouse();
        let wakes = if engine.wakes().is_empty() { Vec::new() } else { std::mem::take(engine.wakes()) };
        let events = std::mem::take(engine.events());
        drop(engine);
        self.tell(events);
        if let Some(driver) = driver {
            driver.wake();
        }
        wakes.into_iter().for_each(Waker::wake);
        result
    }

    /// Works on the engine like [`with`](Self::with), for the driver, which need not wake itself.
    pub(crate) fn drive<R>(&self, wakes: &mut Vec<Waker>, work: impl FnOnce(&mut Engine) -> R) -> R {
        let mut engine = self.engine.lock();
        let result = work(&mut engine);
        wakes.append(engine.wakes());
        let events = std::mem::take(engine.events());
        drop(engine);
        self.tell(events);
        wakes.drain(..).for_each(Waker::wake);
        result
    }

    /// Returns how often the connection has been restored.
    pub(crate) fn restored(&self) -> u64 {
        self.with(|engine| engine.restores())
    }
}
