//! An application that sends tasks.

use std::{collections::HashMap, fmt, sync::Arc};

use amqp_client::{Exchange, Queue};

use crate::{
    celery::{
        remote::control::Control,
        tasks::{
            message::Outgoing,
            results::{Results, Waiting},
            route::Routes,
        },
    },
    error::Error,
    publish::producer::Producer,
    retry::RetryPolicy,
    transport::Transport,
};

/// Celery's `task_default_queue`.
const QUEUE: &str = "celery";

/// An application of Celery, which sends tasks to workers in any language and receives their
/// results. Cloning gives another handle to it.
///
/// Results come by `rpc://`, Celery's queue for the answers of one application; workers need that
/// as their result backend. Sending retries as [`Producer::ensure_publish`].
///
/// ```no_run
/// use std::time::Duration;
/// use messaging::{Transport, celery::{AsyncResult, Celery}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::connect("amqp://guest:guest@localhost//").await?;
/// let app = Celery::new(&transport);
/// let sum: AsyncResult<i64> = app.task("proj.add").args((2, 3)).send().await?;
/// assert_eq!(sum.get(Duration::from_secs(10)).await?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Celery(Arc<App>);

#[derive(Clone)]
struct App {
    transport: Transport,
    producer: Producer,
    queue: String,
    /// The queues that are not declared as a durable one without arguments.
    queues: HashMap<String, Queue>,
    routes: Routes,
    /// The root and the parent of the tasks that are sent.
    ancestors: Option<(String, String)>,
    results: Option<Results>,
    ignores_results: bool,
    control: Control,
}

impl Celery {
    /// Makes an application with Celery's defaults: the queue `celery`, no routes, results by
    /// `rpc://`.
    #[must_use]
    pub fn new(transport: &Transport) -> Self {
        Celery(Arc::new(App {
            transport: transport.clone(),
            producer: transport.producer(Exchange::default()),
            queue: QUEUE.to_owned(),
            queues: HashMap::new(),
            routes: Routes::new(),
            ancestors: None,
            results: Some(Results::new(transport)),
            ignores_results: false,
            control: transport.celery(),
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut App)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Sets the queue of tasks without a route, Celery's `task_default_queue`; default `celery`.
    #[must_use]
    pub fn default_queue(self, queue: impl Into<String>) -> Self {
        self.change(|app| app.queue = queue.into())
    }

    /// Sets how a queue is declared, whose name tasks are sent to. Default: durable, without
    /// arguments.
    #[must_use]
    pub fn queue(self, queue: Queue) -> Self {
        self.change(|app| drop(app.queues.insert(queue.name().to_owned(), queue)))
    }

    /// Sets the queues of tasks by their names, Celery's `task_routes`.
    #[must_use]
    pub fn routes(self, routes: Routes) -> Self {
        self.change(|app| app.routes = routes)
    }

    /// Sets how sending is retried. Default: as [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.change(|app| app.producer = app.producer.clone().retry(policy))
    }

    /// Sets whether nobody stores results, Celery's `task_ignore_result`. Default: they are
    /// received.
    #[must_use]
    pub fn ignore_results(self, ignore: bool) -> Self {
        self.change(|app| {
            app.results = (!ignore).then(|| Results::new(&app.transport));
            app.ignores_results = ignore;
        })
    }

    /// Receives no results here; workers store them where their own settings say, such as in a
    /// Redis or a database. [`AsyncResult::get`](crate::celery::AsyncResult::get) fails at once.
    #[must_use]
    pub fn results_elsewhere(self) -> Self {
        self.change(|app| (app.results, app.ignores_results) = (None, false))
    }

    /// Sets the remote control of the workers, by which tasks are revoked. Default:
    /// [`Transport::celery`].
    #[must_use]
    pub fn control(self, control: Control) -> Self {
        self.change(|app| app.control = control)
    }

    pub(crate) fn controls(&self) -> &Control {
        &self.0.control
    }

    pub(crate) fn route(&self, task: &str) -> &str {
        self.0.routes.of(task).unwrap_or(&self.0.queue)
    }

    /// The queue of results, if somebody wants them.
    pub(super) fn reply_to(&self, is_ignored: bool) -> Option<String> {
        self.0.results.as_ref().filter(|_| !is_ignored).map(|results| results.queue().to_owned())
    }

    /// Tells whether workers are told to store no result.
    pub(super) fn ignores(&self, is_ignored: bool) -> bool {
        self.0.ignores_results || is_ignored
    }

    /// Begins to wait for the result of a task that is to be sent.
    pub(super) async fn expect(&self, id: &str, is_ignored: bool) -> Result<Option<Waiting>, Error> {
        match self.0.results.as_ref().filter(|_| !is_ignored) {
            Some(results) => results.expect(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// Sends a task, and declares its queue if that is wanted.
    pub(crate) async fn publish(&self, task: &Outgoing) -> Result<(), Error> {
        let mut options = task.options()?;
        if task.declares {
            options = options.declare(self.declared(&task.queue));
        }
        self.0.producer.ensure_publish((&task.queue, &options), &task.body()).await.map(drop)
    }

    /// The queue of this name, as it is declared.
    pub(crate) fn declared(&self, name: &str) -> Queue {
        self.0.queues.get(name).cloned().unwrap_or_else(|| Queue::durable(name))
    }

    /// The root and the parent of the tasks that it sends.
    pub(super) fn ancestors(&self) -> Option<&(String, String)> {
        self.0.ancestors.as_ref()
    }

    /// Returns the application as a task uses it: what it sends has these as root and parent.
    pub(crate) fn within(&self, root: &str, parent: &str) -> Self {
        self.clone().change(|app| app.ancestors = Some((root.to_owned(), parent.to_owned())))
    }

    /// The queue of tasks without a route.
    pub(crate) fn default_queue_name(&self) -> &str {
        &self.0.queue
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }
}

impl fmt::Debug for Celery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Celery")
            .field("queue", &self.0.queue)
            .field("routes", &self.0.routes)
            .finish_non_exhaustive()
    }
}
