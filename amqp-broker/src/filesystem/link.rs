//! The backend and its connections.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    backend::{
        Backend, BackendError, Binding, Claimed, ExchangeDeclaration, ExchangeKind, Link, Message, Published,
        QueueDeclaration, Settlement, Source, Wakes,
    },
    kombu::binding_member::BindingMember,
    sync::Mutex,
};

use super::{
    claims::Reader,
    left_alone::LeftAlone,
    messages::{Claim, Messages},
    names::{check_exchange, check_queue},
    options::FilesystemOptions,
    tables::{self, NoTable},
};

/// The pause between two looks into the folder, which others write to without a word.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A backend in folders: see [`FilesystemOptions`]. Clones share everything.
#[derive(Clone, Debug)]
pub struct Filesystem {
    shared: Arc<Shared>,
}

/// A connection of a [`Filesystem`].
#[derive(Debug)]
pub struct FilesystemLink {
    shared: Arc<Shared>,
    number: u64,
    wakes: Wakes,
    reader: Arc<Reader>,
}

#[derive(Debug)]
struct Shared {
    options: FilesystemOptions,
    messages: Messages,
    left_alone: Arc<LeftAlone>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: u64,
    /// The kinds of the exchanges that were declared here: the files do not tell them.
    exchanges: HashMap<String, ExchangeKind>,
    /// The queues that were declared here: a queue without messages has no file.
    queues: HashMap<String, u64>,
    /// Who waits for which queue.
    watches: Vec<(u64, String, Wakes)>,
    /// Set while a task looks into the folder.
    is_watched: bool,
}

impl Filesystem {
    /// A backend in these folders, which are created when they are needed.
    pub fn new(options: FilesystemOptions) -> Self {
        let left_alone = Arc::<LeftAlone>::default();
        let messages = Messages::new(options.clone(), Arc::clone(&left_alone));
        Filesystem { shared: Arc::new(Shared { options, messages, left_alone, state: Mutex::default() }) }
    }
}

impl Backend for Filesystem {
    type Link = FilesystemLink;

    fn name(&self) -> &str {
        "filesystem"
    }

    async fn open(&self, wakes: Wakes) -> Result<FilesystemLink, BackendError> {
        let shared = Arc::clone(&self.shared);
        let reader = blocking(&self.shared, |shared| {
            shared.messages.prepare()?;
            Reader::begin(&shared.options.control)
        });
        let reader = Arc::new(reader.await?);
        let number = {
            let mut state = shared.state.lock();
            state.links += 1;
            if !std::mem::replace(&mut state.is_watched, true) {
                tokio::spawn(look(Arc::downgrade(&shared)));
            }
            state.links
        };
        Ok(FilesystemLink { shared, number, wakes, reader })
    }
}

/// Looks into the folder as long as there are connections, wakes who waits for messages, and
/// returns the claims of readers that are gone.
async fn look(shared: Weak<Shared>) {
    let mut ticks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.state.lock().watches.is_empty() {
            continue;
        }
        let queues = blocking(&shared, |shared| {
            shared.messages.return_orphans()?;
            shared.messages.log_others()?;
            shared.messages.queues()
        });
        match queues.await {
            Ok(queues) => {
                let state = shared.state.lock();
                let ready = state.watches.iter().filter(|(_, queue, _)| queues.contains(queue));
                ready.for_each(|(_, queue, wakes)| wakes.wake(queue));
            }
            Err(error) => {
                let watches = std::mem::take(&mut shared.state.lock().watches);
                watches.iter().for_each(|(_, _, wakes)| wakes.lost(error.clone()));
            }
        }
    }
}

/// Does what blocks in a thread for that.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    act: impl FnOnce(&Shared) -> io::Result<T> + Send + 'static,
) -> Result<T, BackendError> {
    let own = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || act(&own)).await.map_err(io::Error::from);
    done.and_then(|done| done).map_err(|error| match NoTable::of(&error) {
        Some(no_table) => {
            shared.left_alone.log(&no_table.file, &no_table.why);
            BackendError::PreconditionFailed(no_table.to_string())
        }
        None => BackendError::Unavailable(format!("the folders fail: {error}")),
    })
}

impl FilesystemLink {
    fn wake(&self, queue: &str) {
        let state = self.shared.state.lock();
        let watches = state.watches.iter().filter(|(_, watched, _)| watched == queue);
        watches.for_each(|(_, _, wakes)| wakes.wake(queue));
    }

    /// The kind of an exchange, as far as it was declared here.
    fn kind(&self, exchange: &str) -> Option<ExchangeKind> {
        self.shared.state.lock().exchanges.get(exchange).copied()
    }

    /// The queues that a message goes to, or why it goes nowhere.
    async fn route(&self, message: &Message) -> Result<Vec<String>, Published> {
        let (exchange, key) = (text(&message.exchange)?, text(&message.routing_key)?);
        if exchange.is_empty() {
            check_queue(&key).map_err(Published::Refused)?;
            return Ok(vec![key]);
        }
        check_exchange(&exchange).map_err(Published::Refused)?;
        let (kind, name) = (self.kind(&exchange), exchange.clone());
        let table = blocking(&self.shared, move |shared| tables::read(&shared.options.control, &name)).await;
        let table = table.map_err(Published::Refused)?;
        let Some(kind) = kind.or_else(|| table.kind()) else {
            return Err(Published::Refused(unknown_exchange(&exchange)));
        };
        match table.route(kind, &key) {
            queues if queues.is_empty() => Err(Published::Unroutable),
            queues => {
                // Whoever writes the table may write anything.
                let fit = queues.iter().try_for_each(|queue| check_queue(queue));
                fit.map_err(|error| Published::Refused(of_table(&exchange, &error)))?;
                Ok(queues.into_iter().map(str::to_owned).collect())
            }
        }
    }

    async fn exists(&self, name: &str) -> Result<bool, BackendError> {
        if self.shared.state.lock().queues.contains_key(name) {
            return Ok(true);
        }
        let name = name.to_owned();
        blocking(&self.shared, move |shared| {
            if !shared.messages.list(&name)?.is_empty() {
                return Ok(true);
            }
            tables::has_queue(&shared.options.control, &name, &shared.left_alone)
        })
        .await
    }

    async fn size(&self, name: &str) -> Result<u32, BackendError> {
        let name = name.to_owned();
        let size = blocking(&self.shared, move |shared| Ok(shared.messages.list(&name)?.len()));
        Ok(u32::try_from(size.await?).unwrap_or(u32::MAX))
    }
}

fn unknown_exchange(exchange: &str) -> BackendError {
    let text = format!("no exchange '{exchange}' is known here: it is not declared and has no bindings");
    BackendError::NotFound(text)
}

fn of_table(exchange: &str, error: &BackendError) -> BackendError {
    BackendError::PreconditionFailed(format!("the bindings of exchange '{exchange}': {error}"))
}

fn text(name: &amqp_codec::ShortString) -> Result<String, Published> {
    let refused = |_| {
        let text = "names of files have to be UTF-8".to_owned();
        Published::Refused(BackendError::PreconditionFailed(text))
    };
    name.as_str().map(str::to_owned).map_err(refused)
}

fn no_arguments(what: &str, name: &str, arguments: &amqp_codec::Table) -> Result<(), BackendError> {
    match arguments.iter().next() {
        None => Ok(()),
        Some((argument, _)) => {
            let text = format!("argument '{argument}' of {what} '{name}': folders have no such feature");
            Err(BackendError::NotImplemented(text))
        }
    }
}

impl Link for FilesystemLink {
    type Claim = Claim;

    async fn declare_exchange(&mut self, exchange: &ExchangeDeclaration) -> Result<(), BackendError> {
        check_exchange(&exchange.name)?;
        no_arguments("exchange", &exchange.name, &exchange.arguments)?;
        let mut state = self.shared.state.lock();
        let current = *state.exchanges.entry(exchange.name.clone()).or_insert(exchange.kind);
        if current != exchange.kind {
            let (name, kind) = (&exchange.name, exchange.kind);
            let text = format!(
                "inequivalent arg 'type' for exchange '{name}': received '{kind}' but current is '{current}'"
            );
            return Err(BackendError::PreconditionFailed(text));
        }
        Ok(())
    }

    async fn find_exchange(&mut self, name: &str) -> Result<(), BackendError> {
        check_exchange(name)?;
        let (is_declared, exchange) = (self.kind(name).is_some(), name.to_owned());
        let rows = blocking(&self.shared, move |shared| tables::read(&shared.options.control, &exchange));
        match is_declared || !rows.await?.is_empty() {
            true => Ok(()),
            false => Err(BackendError::NotFound(format!("no exchange '{name}'"))),
        }
    }

    async fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<(), BackendError> {
        check_exchange(name)?;
        let exchange = name.to_owned();
        let is_deleted = blocking(&self.shared, move |shared| {
            let control = &shared.options.control;
            // A file that is no table is somebody else's, and stays.
            let is_used = !tables::read(control, &exchange)?.is_empty() && if_unused;
            if !is_used {
                tables::delete(control, &exchange)?;
            }
            Ok(!is_used)
        });
        if !is_deleted.await? {
            return Err(BackendError::PreconditionFailed(format!("exchange '{name}' in use")));
        }
        self.shared.state.lock().exchanges.remove(name);
        Ok(())
    }

    async fn declare_queue(&mut self, queue: &QueueDeclaration) -> Result<u32, BackendError> {
        check_queue(&queue.name)?;
        no_arguments("queue", &queue.name, &queue.arguments)?;
        self.shared.state.lock().queues.insert(queue.name.clone(), self.number);
        self.size(&queue.name).await
    }

    async fn find_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        check_queue(name)?;
        match self.exists(name).await? {
            true => self.size(name).await,
            false => Err(BackendError::NotFound(format!("no queue '{name}'"))),
        }
    }

    async fn delete_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        let deleted = self.purge_queue(name).await?;
        let queue = name.to_owned();
        blocking(&self.shared, move |shared| {
            tables::remove_queue(&shared.options.control, &queue, &shared.left_alone)
        })
        .await?;
        self.shared.state.lock().queues.remove(name);
        Ok(deleted)
    }

    async fn leave_queue(&mut self, _: &str) -> Result<(), BackendError> {
        // Somebody else may read it, and nothing tells.
        Ok(())
    }

    async fn purge_queue(&mut self, name: &str) -> Result<u32, BackendError> {
        check_queue(name)?;
        let queue = name.to_owned();
        blocking(&self.shared, move |shared| shared.messages.purge(&queue)).await
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        check_exchange(&binding.exchange)?;
        check_queue(&binding.queue)?;
        let (declared, Binding { exchange, queue, routing_key }) =
            (self.kind(&binding.exchange), binding.clone());
        let is_known = blocking(&self.shared, move |shared| {
            let control = &shared.options.control;
            // An exchange that another has declared is known by its bindings, as for publishes.
            let kind = match declared {
                Some(kind) => Some(kind),
                None => tables::read(control, &exchange)?.kind(),
            };
            let Some(kind) = kind else { return Ok(false) };
            tables::add(control, &exchange, &BindingMember::new(kind, &routing_key, &queue))?;
            Ok(true)
        });
        match is_known.await? {
            true => Ok(()),
            false => Err(unknown_exchange(&binding.exchange)),
        }
    }

    async fn unbind(&mut self, binding: &Binding) -> Result<(), BackendError> {
        check_exchange(&binding.exchange)?;
        let Binding { exchange, queue, routing_key } = binding.clone();
        blocking(&self.shared, move |shared| {
            let is_it = |member: &BindingMember| member.routing_key == routing_key && member.queue == queue;
            tables::remove(&shared.options.control, &exchange, is_it)
        })
        .await
    }

    async fn publish(&mut self, messages: &[Message]) -> Result<Vec<Published>, BackendError> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            let queues = match self.route(message).await {
                Ok(queues) => queues,
                Err(Published::Refused(error)) if error.closes_connection() => return Err(error),
                Err(outcome) => {
                    let ends = matches!(outcome, Published::Refused(_));
                    outcomes.push(outcome);
                    if ends {
                        break;
                    }
                    continue;
                }
            };
            let (message, to) = (message.clone(), queues.clone());
            let put = blocking(&self.shared, move |shared| shared.messages.put(&message, &to));
            match put.await? {
                Ok(()) => outcomes.push(Published::Routed),
                Err(error) => {
                    outcomes.push(Published::Refused(error));
                    break;
                }
            }
            queues.iter().for_each(|queue| self.wake(queue));
        }
        Ok(outcomes)
    }

    async fn watch(&mut self, queue: &str) -> Result<(), BackendError> {
        self.find_queue(queue).await?;
        let watch = (self.number, queue.to_owned(), self.wakes.clone());
        self.shared.state.lock().watches.push(watch);
        Ok(())
    }

    async fn unwatch(&mut self, queue: &str) -> Result<(), BackendError> {
        let number = self.number;
        self.shared.state.lock().watches.retain(|(link, name, _)| (*link, &**name) != (number, queue));
        Ok(())
    }

    async fn claim(&mut self, sources: &[Source<'_>]) -> Result<Vec<Claimed<Claim>>, BackendError> {
        let mut claimed = Vec::new();
        for (source, Source { queue, no_ack, most }) in sources.iter().enumerate() {
            let (queue, no_ack, most) = ((*queue).to_owned(), *no_ack, *most);
            let reader = Arc::clone(&self.reader);
            let taken = blocking(&self.shared, move |shared| {
                shared.messages.claim(&queue, most, if no_ack { None } else { Some(&reader) })
            });
            for (envelope, claim) in taken.await? {
                let (message, redelivered) = (envelope.message, envelope.redelivered);
                claimed.push(Claimed { source, message, redelivered, claim });
            }
        }
        Ok(claimed)
    }

    async fn settle(&mut self, claims: Vec<(Claim, Settlement)>) -> Result<usize, BackendError> {
        let requeued = claims.iter().filter(|(_, settlement)| *settlement == Settlement::Requeue);
        let requeued: Vec<_> = requeued.map(|(claim, _)| claim.queue.clone()).collect();
        let lost = blocking(&self.shared, move |shared| shared.messages.settle(claims)).await?;
        requeued.iter().for_each(|queue| self.wake(queue));
        Ok(lost)
    }

    async fn close(self) {
        let mut state = self.shared.state.lock();
        state.watches.retain(|(link, _, _)| *link != self.number);
    }
}
