//! What is read of Redis on the connection that is told of its changes.

use std::sync::Arc;

use redis::{Pipeline, RedisResult, Value, aio::MultiplexedConnection};

use super::{channels::Channels, shared::Hub};
use crate::{
    backend::{BackendError, Binding},
    redis::{
        connect::{Decision, authentication, transact},
        declared::{Declared, DeclaredExchange},
        options::RedisLogin,
        wire::BindingTable,
    },
};

impl Hub {
    /// The bindings of an exchange.
    pub(crate) async fn bindings(&self, exchange: &str) -> Result<Arc<BindingTable>, BackendError> {
        let key = self.keys.bindings(exchange);
        if let Some(known) = self.arrivals.bindings.get(&key) {
            return Ok(known);
        }
        let reading = self.arrivals.bindings.begin(&key);
        let members: Vec<Vec<u8>> = self.read(redis::cmd("SMEMBERS").arg(&key)).await?;
        let members = Arc::new(BindingTable::read(members, self.keys.separator()));
        self.arrivals.bindings.finish(&reading, Arc::clone(&members));
        Ok(members)
    }

    /// The declaration of an exchange; `None` for the exchanges of kombu alone, which stores none.
    pub(crate) async fn exchange(&self, exchange: &str) -> Result<Option<DeclaredExchange>, BackendError> {
        if let Some(known) = self.arrivals.exchanges.get(exchange) {
            return Ok(known);
        }
        let reading = self.arrivals.exchanges.begin(exchange);
        let stored: Option<String> =
            self.read(redis::cmd("HGET").arg(self.keys.exchanges()).arg(exchange)).await?;
        let declared = stored.as_deref().and_then(DeclaredExchange::read);
        self.arrivals.exchanges.finish(&reading, declared);
        Ok(declared)
    }

    /// The declaration of a queue; `None` for the queues of kombu alone, which stores none.
    pub(crate) async fn declared(&self, queue: &str) -> Result<Option<Arc<Declared>>, BackendError> {
        Ok(self.stored(queue).await?.filter(|declared| !declared.deleted))
    }

    /// As [`declared`](Self::declared), and what stands in the place of a deleted queue.
    pub(crate) async fn stored(&self, queue: &str) -> Result<Option<Arc<Declared>>, BackendError> {
        let key = self.keys.queue(queue);
        if let Some(known) = self.arrivals.queues.get(&key) {
            return Ok(known);
        }
        let reading = self.arrivals.queues.begin(&key);
        let stored: Option<Vec<u8>> = self.read(redis::cmd("GET").arg(&key)).await?;
        let declared = stored.and_then(|stored| Declared::read(&stored)).map(Arc::new);
        self.arrivals.queues.finish(&reading, declared.clone());
        Ok(declared)
    }

    /// Looks whether queues have messages; from now on their next change is noticed.
    pub(crate) async fn look(&self, lists: &[Vec<String>]) -> Result<Vec<bool>, BackendError> {
        let mut pipeline = redis::pipe();
        for lists in lists {
            pipeline.cmd("EXISTS").arg(lists);
        }
        let mut found: RedisResult<Vec<Value>> = pipeline.query_async(&mut self.listening()).await;
        if self.is_repeated(&found, pipeline.cmd_iter()) {
            found = pipeline.query_async(&mut self.listening()).await;
        }
        let found = self.checked(found)?;
        Ok(found.into_iter().map(|found| found != Value::Int(0)).collect())
    }

    /// Adds a binding to a fanout exchange, which listens to channels. When it returns, every
    /// message to them arrives.
    pub(crate) async fn subscribe(
        &self,
        link: u64,
        binding: &Binding,
        patterns: Vec<String>,
    ) -> Result<(), BackendError> {
        let _one_after_the_other = self.subscribing.lock().await;
        let new = self.arrivals.fanouts.bind(link, binding, patterns);
        if new.is_empty() {
            return Ok(());
        }
        let subscribed = match &self.channels {
            None => self.listening().psubscribe(new).await,
            Some(channels) => channels.subscribe(&new).await,
        };
        let subscribed = self.checked(subscribed);
        if subscribed.is_err() {
            self.arrivals.fanouts.unbind(binding);
        }
        subscribed
    }

    /// Ends listening to channels, unless others listen to them.
    pub(crate) async fn unsubscribe(&self, patterns: &[String]) -> Result<(), BackendError> {
        let _one_after_the_other = self.subscribing.lock().await;
        let unused = self.arrivals.fanouts.unused(patterns);
        if unused.is_empty() {
            return Ok(());
        }
        let unsubscribed = match &self.channels {
            None => self.listening().punsubscribe(unused).await,
            Some(channels) => channels.unsubscribe(&unused).await,
        };
        self.checked(unsubscribed)
    }

    /// Logs all connections in again, and those that are opened from now on.
    ///
    /// # Errors
    /// When Redis refuses the login.
    pub(crate) async fn authenticate(&self, login: &RedisLogin) -> Result<(), BackendError> {
        let Some(command) = authentication(login) else { return Ok(()) };
        self.checked(command.exec_async(&mut self.commands()).await)?;
        self.checked(command.exec_async(&mut self.listening()).await)?;
        self.dialer().renew_login(login.clone());
        self.waiting.clear();
        self.transactions.clear();
        match &self.channels {
            None => Ok(()),
            Some(channels) => self.replace_channels(channels).await,
        }
    }

    /// Listens to the same channels on a new connection, because one that listens cannot log in
    /// again.
    async fn replace_channels(&self, channels: &Channels) -> Result<(), BackendError> {
        let _one_after_the_other = self.subscribing.lock().await;
        let connection = self.dialer().listen().await?;
        self.checked(channels.replace(connection, &self.arrivals.fanouts.patterns()).await)
    }

    /// Passes on what arrives on a connection for channels alone, until it is lost.
    pub(crate) async fn listen(&self) {
        let Some(channels) = &self.channels else { return };
        channels.listen(|pattern, raw| self.arrivals.message(pattern, raw.to_vec())).await;
        self.lose("Redis has closed the connection for channels");
    }

    /// Reads and changes keys in one step, on a connection of its own. What is decided by `decide`
    /// counts only when none of the keys has changed since they were read. Returns that, and what
    /// Redis answers to the changes.
    ///
    /// # Errors
    /// When Redis fails, or the keys change all the time.
    pub(crate) async fn transact<T>(
        &self,
        keys: &[String],
        reads: &Pipeline,
        mut decide: impl FnMut(Vec<Value>) -> Decision<T> + Send,
    ) -> Result<(T, Value), BackendError> {
        let mut spare = self.transaction_connection().await?;
        let decided = self.checked(transact(&mut spare.connection, keys, reads, &mut decide).await)?;
        self.put_back(spare);
        decided.ok_or_else(|| {
            BackendError::Unavailable("others change the same keys of Redis all the time".to_owned())
        })
    }

    /// Checks before a transaction that each key holds what it is to hold, or nothing. Redis runs
    /// the commands that follow one it refuses: what they take away would be lost.
    pub(crate) async fn check_kinds(
        &self,
        connection: &mut MultiplexedConnection,
        keys: &[(&str, &str)],
    ) -> Result<(), BackendError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        keys.iter().for_each(|(key, _)| _ = pipeline.cmd("TYPE").arg(key));
        let found: Vec<String> = self.checked(pipeline.query_async(connection).await)?;
        let is_other = |kind: &str, found: &str| found != kind && found != "none";
        match keys.iter().zip(&found).find(|((_, kind), found)| is_other(kind, found)) {
            None => Ok(()),
            Some(((key, kind), found)) => Err(BackendError::Unavailable(format!(
                "key '{}' of Redis holds a {found} where a {kind} is expected",
                key.escape_debug()
            ))),
        }
    }

    /// Tries the connections.
    pub(crate) async fn check_health(&self) -> Result<(), BackendError> {
        self.command::<()>(&redis::cmd("PING")).await?;
        self.read::<()>(&redis::cmd("PING")).await?;
        self.waiting.check_health().await;
        self.transactions.check_health().await;
        match &self.channels {
            None => Ok(()),
            Some(channels) => self.checked(channels.check_health().await),
        }
    }

    /// Reads what changes are told of.
    pub(crate) async fn read<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, BackendError> {
        let answer = command.query_async(&mut self.listening()).await;
        if self.is_repeated(&answer, [command]) {
            return self.checked(command.query_async(&mut self.listening()).await);
        }
        self.checked(answer)
    }
}
