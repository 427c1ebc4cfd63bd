//! The clients of a broker, from their first octet to the last.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

use amqp_codec::Tune;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{host::since_1970, origin::Origin};
use crate::{
    core::{
        entities::ids::ConnectionId,
        rabbitmq::{
            access::tally::{Counted, Place, Tally},
            refusal::Refusal,
        },
    },
    session::{
        command::Command,
        handshake::{Full, Introduction},
    },
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// The time in which clients leave a virtual host, and the pause between two looks.
#[cfg(feature = "management")]
const LONGEST_LEAVE: std::time::Duration = std::time::Duration::from_secs(15);
#[cfg(feature = "management")]
const LEFT_LOOKED_AT: std::time::Duration = std::time::Duration::from_millis(5);

/// The clients of a broker.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: AtomicU64,
    are_refused: AtomicBool,
    all: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// How many clients are in each virtual host.
    inside: Mutex<HashMap<String, usize>>,
    /// How many clients have left and have not closed their stream yet.
    leaving: AtomicUsize,
}

/// A client that is connected.
#[derive(Debug)]
pub(crate) struct Client {
    /// The client's number, which no other client of the broker ever has.
    pub(crate) number: u64,
    /// Its name, as RabbitMQ names connections.
    pub(crate) name: String,
    /// Whether it is on this machine.
    pub(crate) is_near: bool,
    /// When it came, in milliseconds since 1970.
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) since: u64,
    commands: UnboundedSender<Command>,
    login: OnceLock<Login>,
}

/// A client's login.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) vhost: String,
    /// The client's own name for the connection.
    pub(crate) client_name: Option<String>,
    /// Its connection, in a virtual host of the embedded broker.
    pub(crate) id: Option<ConnectionId>,
    /// The values that both ends have agreed on.
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) tune: Tune,
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) introduction: Introduction,
}

/// A client's entry in the list of clients.
///
/// # On drop
/// The client leaves the list.
pub(crate) struct ClientEntry {
    clients: Arc<Clients>,
    pub(crate) client: Arc<Client>,
    /// The virtual host it is in.
    inside: OnceLock<String>,
    /// It counts among its user's.
    counted: OnceLock<Place>,
}

impl Clients {
    /// Adds a client; returns its entry, and the commands that others send to its connection.
    pub(crate) fn enter(clients: &Arc<Clients>, origin: Origin) -> (ClientEntry, UnboundedReceiver<Command>) {
        let number = clients.last.fetch_add(1, Ordering::Relaxed) + 1;
        let is_near = origin.is_near();
        let name = origin.into_name().unwrap_or_else(|| format!("memory:{number}"));
        let (sender, commands) = unbounded_channel();
        let since = since_1970();
        let client =
            Arc::new(Client { number, name, is_near, since, commands: sender, login: OnceLock::new() });
        clients.all.lock().insert(number, Arc::clone(&client));
        (
            ClientEntry {
                clients: Arc::clone(clients),
                client,
                inside: OnceLock::new(),
                counted: OnceLock::new(),
            },
            commands,
        )
    }

    /// The connected clients, in the order of their arrival.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.all.lock().values().cloned().collect()
    }

    /// Closes all connections for this reason, present and future ones.
    pub(crate) fn close_all(&self, refusal: &Refusal) {
        self.are_refused.store(true, Ordering::Release);
        let command = Command::Close { code: refusal.code(), text: refusal.reply_text() };
        self.all().iter().for_each(|client| client.command(command.clone()));
    }

    /// Sends a command that ends connections to all clients of a virtual host, and waits until they
    /// have left, or for as long as those may take that do not answer.
    #[cfg(feature = "management")]
    pub(crate) async fn leave(&self, vhost: &str, command: &Command) {
        let deadline = tokio::time::Instant::now() + LONGEST_LEAVE;
        let mut told = std::collections::BTreeSet::new();
        while tokio::time::Instant::now() < deadline {
            let mut all = self.all();
            all.retain(|client| client.login().is_some_and(|login| login.vhost == vhost));
            if all.is_empty() {
                return;
            }
            for client in all {
                if told.insert(client.number) {
                    client.command(command.clone());
                }
            }
            tokio::time::sleep(LEFT_LOOKED_AT).await;
        }
    }

    /// Tells whether new clients are refused.
    pub(crate) fn are_refused(&self) -> bool {
        self.are_refused.load(Ordering::Acquire)
    }

    /// How many clients are connected and in no virtual host.
    pub(crate) fn outside(&self) -> usize {
        let inside: usize = self.inside.lock().values().sum();
        self.all.lock().len().saturating_sub(inside) + self.leaving.load(Ordering::Relaxed)
    }

    pub(crate) fn find(&self, number: u64) -> Option<Arc<Client>> {
        self.all.lock().get(&number).cloned()
    }
}

impl Client {
    /// Notes that it has logged in.
    pub(crate) fn logged_in(&self, login: Login) {
        // A client logs in once, so this cannot fail.
        let _ = self.login.set(login);
    }

    pub(crate) fn login(&self) -> Option<&Login> {
        self.login.get()
    }

    /// The sender of commands to its connection.
    pub(crate) fn commands(&self) -> UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Sends a command to its connection, which executes it soon, unless it has ended.
    pub(crate) fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

impl ClientEntry {
    /// Enters a virtual host, which at most so many may be in.
    ///
    /// # Errors
    /// When there is no room, there or for the user.
    pub(crate) fn enter(&self, vhost: &str, most: usize, user: &Arc<Tally>) -> Result<(), Full> {
        let mut inside = self.clients.inside.lock();
        let count = inside.entry(vhost.to_owned()).or_default();
        if *count >= most {
            return Err(Full::Vhost(most));
        }
        let place = Tally::take(user, Counted::Connections).map_err(Full::User)?;
        // A client enters once, so neither can fail.
        if self.inside.set(vhost.to_owned()).is_ok() && self.counted.set(place).is_ok() {
            *count += 1;
        }
        Ok(())
    }

    /// Removes the client, except for its stream, which it has not closed yet.
    pub(crate) fn leave(self) -> Leaving {
        self.clients.leaving.fetch_add(1, Ordering::Relaxed);
        Leaving(Arc::clone(&self.clients))
    }
}

/// A client that has left and has not closed its stream yet.
///
/// # On drop
/// It has closed its stream.
pub(crate) struct Leaving(Arc<Clients>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leaving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ClientEntry {
    fn drop(&mut self) {
        if let Some(vhost) = self.inside.get()
            && let Some(count) = self.clients.inside.lock().get_mut(vhost)
        {
            *count -= 1;
        }
        self.clients.all.lock().remove(&self.client.number);
    }
}
