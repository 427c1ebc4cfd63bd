//! Declaring the topology again on a new connection: exchanges, queues, bindings, in this order.

use amqp_codec::{
    Method, ReplyCode, Report, ShortString,
    method::{exchange, queue},
};
use tracing::warn;

use crate::{
    error::{Error, Result},
    event::{Recovered, Renamed, Skipped},
    proto::{
        calls::Reply,
        connection::{ChannelKey, Engine},
        expects::Expects,
        registry::{RecordedBinding, RecordedQueue, Registry},
    },
    runtime::answers::Answers,
};

/// How many declarations are sent before the first of them is answered.
const BATCH: usize = 64;

/// Declares exchanges, queues and bindings again, over a separate channel.
pub(crate) struct Redeclaration<'a> {
    answers: Answers<'a>,
    channel: Option<ChannelKey>,
    /// Exclusive queues that another connection has: perhaps the lost one, whose loss the broker
    /// has not noticed.
    pub(crate) locked: Vec<(RecordedQueue, Error)>,
}

impl<'a> Redeclaration<'a> {
    pub(crate) fn new(answers: Answers<'a>) -> Self {
        Redeclaration { answers, channel: None, locked: Vec::new() }
    }

    /// Declares everything again. Refusals go into the report, or into the locked queues.
    ///
    /// # Errors
    /// If the connection cannot continue.
    pub(crate) async fn restore(&mut self, report: &mut Recovered) -> Result<()> {
        self.exchanges(report).await?;
        self.queues(report).await?;
        self.bindings(report).await
    }

    async fn exchanges(&mut self, report: &mut Recovered) -> Result<()> {
        let recorded = self.recorded(|registry| registry.exchanges());
        let methods: Vec<_> = recorded
            .iter()
            .map(|declare| exchange::Declare { no_wait: false, ..declare.clone() }.into())
            .collect();
        for (declare, result) in recorded.iter().zip(self.perform(&methods).await?) {
            match result {
                Ok(_) => report.exchanges += 1,
                Err(error) => skip(report, format!("exchange {:?}", declare.exchange.to_string()), error),
            }
        }
        Ok(())
    }

    async fn queues(&mut self, report: &mut Recovered) -> Result<()> {
        let recorded = self.recorded(|registry| registry.queues());
        let methods: Vec<_> = recorded.iter().map(first_try).collect();
        let results = self.perform(&methods).await?;
        for (queue, result) in recorded.iter().zip(results) {
            let result = match result {
                Err(error) => self.queue_again(queue, error).await?,
                ok => ok,
            };
            let old = &queue.declare.queue;
            match result {
                Ok(Method::Queue(queue::Method::DeclareOk(ok))) if ok.queue != *old => {
                    let new = ok.queue.detach();
                    self.answers.shared.with(|engine| engine.rename_queue(old, &new));
                    report.renamed.push(Renamed { old: old.to_string(), new: new.to_string() });
                    report.queues += 1;
                }
                Ok(_) => report.queues += 1,
                Err(error) if queue.declare.exclusive && error.is_taken() => {
                    self.locked.push((queue.clone(), error));
                }
                Err(error) => skip(report, format!("queue {:?}", old.to_string()), error),
            }
        }
        Ok(())
    }

    /// Declares a queue in another way, if the first one failed for a reason that allows it.
    async fn queue_again(&mut self, queue: &RecordedQueue, error: Error) -> Result<Result<Method>> {
        let code = error.reply_code();
        if queue.server_named && code == Some(ReplyCode::NOT_FOUND) {
            // The queue is gone together with its generated name, so the broker generates another
            // one.
            return self.declare(without_name(queue)).await;
        }
        Ok(Err(error))
    }

    /// Declares one queue; the inner result is the broker's answer.
    ///
    /// # Errors
    /// If the connection cannot continue.
    pub(crate) async fn declare(&mut self, declare: queue::Declare) -> Result<Result<Method>> {
        let mut results = self.perform(&[declare.into()]).await?;
        results.pop().ok_or(Error::Recovering)
    }

    async fn bindings(&mut self, report: &mut Recovered) -> Result<()> {
        let mut recorded = self.recorded(|registry| registry.bindings());
        recorded.retain(|binding| !self.is_of_locked(binding));
        let skipped = self.bind(&recorded).await?;
        report.bindings += recorded.len() - skipped.len();
        report.skipped.extend(skipped);
        Ok(())
    }

    /// Makes bindings; returns those that were refused.
    ///
    /// # Errors
    /// If the connection cannot continue.
    pub(crate) async fn bind(&mut self, bindings: &[RecordedBinding]) -> Result<Vec<Skipped>> {
        let methods: Vec<_> = bindings.iter().map(bind).collect();
        let mut skipped = Vec::new();
        for (binding, result) in bindings.iter().zip(self.perform(&methods).await?) {
            if let Err(error) = result {
                skipped.push(skipped_for(describe(binding), error));
            }
        }
        Ok(skipped)
    }

    /// Tells whether a binding is of a locked queue; it is made when the queue is released.
    fn is_of_locked(&self, binding: &RecordedBinding) -> bool {
        let RecordedBinding::Queue(bind) = binding else { return false };
        self.locked.iter().any(|(queue, _)| queue.declare.queue == bind.queue)
    }

    fn recorded<T: Default>(&self, read: impl FnOnce(&mut Registry) -> T) -> T {
        self.answers.shared.with(|engine| engine.registry().map(read).unwrap_or_default())
    }

    /// Sends all methods, many at a time, and returns the result of each. A refusal closes the
    /// channel, so the methods after it are sent again on another.
    ///
    /// # Errors
    /// If the connection cannot continue.
    async fn perform(&mut self, methods: &[Method]) -> Result<Vec<Result<Method>>> {
        let mut results = Vec::with_capacity(methods.len());
        while let Some(rest) = methods.get(results.len()..).filter(|rest| !rest.is_empty()) {
            let key = self.open().await?;
            let mut sent = Vec::new();
            for method in rest.iter().take(BATCH) {
                let sending = self
                    .answers
                    .shared
                    .with(|engine| engine.channel(key)?.call_to_restore(method.clone(), answer_to(method)));
                sent.push(sending.map(|call| self.answers.due(key, call)));
            }
            for sending in sent {
                let answer = match sending {
                    Ok(waiting) => self.answers.wait(waiting).await,
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(Reply::Method(method)) => results.push(Ok(method)),
                    Ok(Reply::Got(..) | Reply::Resumed) => {}
                    Err(error) if error.is_channel_error() => {
                        let is_closed = !matches!(error, Error::Invalid(_));
                        results.push(Err(error));
                        if is_closed {
                            self.channel = None;
                            break;
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(results)
    }

    async fn open(&mut self) -> Result<ChannelKey> {
        if let Some(key) = self.channel {
            return Ok(key);
        }
        let (key, _, call) = self.answers.shared.with(Engine::open_setup_channel)?;
        self.channel = Some(key);
        self.answers.wait(self.answers.due(key, call)).await?;
        Ok(key)
    }
}

impl Drop for Redeclaration<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.channel {
            self.answers.shared.with(|engine| engine.drop_channel(key));
        }
    }
}

fn skip(report: &mut Recovered, what: String, error: Error) {
    report.skipped.push(skipped_for(what, error));
}

fn skipped_for(what: String, error: Error) -> Skipped {
    warn!(error = %Report(&error), what, "an entity cannot be declared again; recovery skips it");
    Skipped { what, error }
}

/// Returns the first method to try. A queue with a generated name is looked up by that name, if it
/// may have outlived the connection.
fn first_try(queue: &RecordedQueue) -> Method {
    let declare = match (queue.server_named, queue.declare.exclusive) {
        (true, true) => without_name(queue),
        (true, false) => queue::Declare { passive: true, ..queue.declare.clone() },
        (false, _) => queue.declare.clone(),
    };
    queue::Declare { no_wait: false, ..declare }.into()
}

fn without_name(queue: &RecordedQueue) -> queue::Declare {
    queue::Declare { queue: ShortString::EMPTY, no_wait: false, ..queue.declare.clone() }
}

fn bind(binding: &RecordedBinding) -> Method {
    match binding.clone() {
        RecordedBinding::Queue(bind) => queue::Bind { no_wait: false, ..bind }.into(),
        RecordedBinding::Exchange(bind) => exchange::Bind { no_wait: false, ..bind }.into(),
    }
}

fn describe(binding: &RecordedBinding) -> String {
    let (kind, destination, source, key) = match binding {
        RecordedBinding::Queue(bind) => ("queue", &bind.queue, &bind.exchange, &bind.routing_key),
        RecordedBinding::Exchange(bind) => ("exchange", &bind.destination, &bind.source, &bind.routing_key),
    };
    let (destination, source, key) = (destination.to_string(), source.to_string(), key.to_string());
    format!("binding of {kind} {destination:?} to exchange {source:?} with {key:?}")
}

fn answer_to(method: &Method) -> Expects {
    match method {
        Method::Exchange(exchange::Method::Declare(_)) => Expects::reply_to::<exchange::Declare>(),
        Method::Exchange(exchange::Method::Bind(_)) => Expects::reply_to::<exchange::Bind>(),
        Method::Queue(queue::Method::Declare(_)) => Expects::reply_to::<queue::Declare>(),
        _ => Expects::reply_to::<queue::Bind>(),
    }
}
