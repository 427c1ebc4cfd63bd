//! The loss of Redis, and who is told of it.

use std::collections::HashMap;

use crate::backend::{BackendError, Wakes};
use crate::sync::Mutex;

/// Whether Redis is lost. Once it is, it stays so: a new hub takes over.
#[derive(Debug, Default)]
pub(crate) struct Loss {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    why: Option<BackendError>,
    links: HashMap<u64, Wakes>,
}

impl Loss {
    /// Has a link told of the loss.
    pub(crate) fn tell(&self, link: u64, wakes: Wakes) {
        let mut state = self.state.lock();
        if let Some(why) = &state.why {
            wakes.lost(why.clone());
        }
        state.links.insert(link, wakes);
    }

    /// Forgets a link.
    pub(crate) fn forget(&self, link: u64) {
        self.state.lock().links.remove(&link);
    }

    /// Declares Redis lost. Only the first reason counts.
    pub(crate) fn declare(&self, why: BackendError) {
        let mut state = self.state.lock();
        if state.why.is_none() {
            tracing::warn!(%why, "lost the connection to Redis");
            state.links.values().for_each(|wakes| wakes.lost(why.clone()));
            state.why = Some(why);
        }
    }

    /// Why Redis is lost, if it is.
    pub(crate) fn why(&self) -> Option<BackendError> {
        self.state.lock().why.clone()
    }
}
