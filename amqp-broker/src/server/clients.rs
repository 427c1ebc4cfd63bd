//! The clients of a broker: who is connected, from the first octet to the last.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::origin::Origin;
use crate::{
    core::{entities::ids::ConnectionId, rabbitmq::refusal::Refusal},
    session::command::Command,
};

/// The clients of a broker.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: AtomicU64,
    are_refused: AtomicBool,
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// How many are in each virtual host.
    inside: Mutex<HashMap<String, usize>>,
    /// How many have left, and have not closed their stream yet.
    leaving: AtomicUsize,
}

/// A client that is connected.
#[derive(Debug)]
pub(crate) struct Client {
    /// No other client of the broker has or had it.
    pub(crate) number: u64,
    /// Where it comes from, as RabbitMQ names connections.
    pub(crate) name: String,
    /// Whether it comes from this machine.
    pub(crate) is_near: bool,
    commands: UnboundedSender<Command>,
    login: OnceLock<Login>,
}

/// What is known of a client that has logged in.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) vhost: String,
    /// What the client calls the connection.
    pub(crate) client_name: Option<String>,
    pub(crate) id: ConnectionId,
}

/// A client's place among the others.
///
/// # On drop
/// The client is gone.
pub(crate) struct Place {
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
    /// The virtual host it is in.
    inside: OnceLock<String>,
}

impl Clients {
    /// A client has come: its place, and what others want of its connection.
    pub(crate) fn enter(clients: &Arc<Clients>, origin: Origin) -> (Place, UnboundedReceiver<Command>) {
        let number = clients.last.fetch_add(1, Ordering::Relaxed) + 1;
        let is_near = origin.is_near();
        let name = origin.into_name().unwrap_or_else(|| format!("memory:{number}"));
        let (sender, commands) = unbounded_channel();
        let client = Arc::new(Client { number, name, is_near, commands: sender, login: OnceLock::new() });
        clients.all.lock().insert(number, Arc::clone(&client));
        (Place { clients: Arc::clone(clients), client, inside: OnceLock::new() }, commands)
    }

    /// Those who are connected, in the order they came.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// Closes all connections for this reason, and those that come after.
    pub(crate) fn close_all(&self, refusal: &Refusal) {
        self.are_refused.store(true, Ordering::Release);
        let command = Command::Close { code: refusal.code(), text: refusal.reply_text() };
        self.all().iter().for_each(|client| client.command(command.clone()));
    }

    /// Whether nobody else is to come.
    pub(crate) fn are_refused(&self) -> bool {
        self.are_refused.load(Ordering::Acquire)
    }

    /// How many have come and are in no virtual host yet, or no more.
    pub(crate) fn outside(&self) -> usize {
        let inside: usize = self.inside.lock().values().sum();
        self.all.lock().len().saturating_sub(inside) + self.leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn find(&self, number: u64) -> Option<Arc<Client>> {
        self.all.lock().get(&number).cloned()
    }
}

impl Client {
    /// It has logged in.
    pub(crate) fn logged_in(&self, login: Login) {
        // Nobody logs in twice.
        let _ = self.login.set(login);
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.get()
    }

    /// How to want something of its connection.
    pub(crate) fn commands(&self) -> UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Wants something of its connection, which does it soon, unless it has ended.
    pub(crate) fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

impl Place {
    /// Enters a virtual host in which so many may be; tells whether there was room.
    pub(crate) fn enter(&self, vhost: &str, most: usize) -> bool {
        let mut inside = self.clients.inside.lock();
        let count = inside.entry(vhost.to_owned()).or_default();
        let enters = *count < most && self.inside.set(vhost.to_owned()).is_ok();
        *count += usize::from(enters);
        enters
    }

    /// The client is gone, but for its stream.
    pub(crate) fn leave(self) -> Leaving {
        self.clients.leaving.fetch_add(1, Ordering::Relaxed);
        Leaving(Arc::clone(&self.clients))
    }
}

/// A client that has left and not closed its stream yet.
///
/// # On drop
/// It has.
pub(crate) struct Leaving(Arc<Clients>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leaving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(vhost) = self.inside.get()
            && let Some(count) = self.clients.inside.lock().get_mut(vhost)
        {
            *count -= 1;
        }
        self.clients.all.lock().remove(&self.client.number);
    }
}
