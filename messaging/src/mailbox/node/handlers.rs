//! The handlers of a node.

use std::{any::Any, collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::mailbox::node::request::{Arguments, Failure, Request};

/// A type whose methods handle commands. It serves as the closures of
/// [`NodeBuilder::handler`](crate::mailbox::NodeBuilder::handler) do, but suits state that many
/// methods share, and names that are known only at run time.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use messaging::mailbox::{Arguments, Failure, Handlers, Request};
/// use serde_json::Value;
///
/// #[derive(Default)]
/// struct Pool(AtomicU32);
///
/// #[derive(serde::Deserialize)]
/// struct Grow { n: u32 }
///
/// impl Handlers for Pool {
///     fn has(&self, method: &str) -> bool {
///         matches!(method, "pool_grow" | "pool_size")
///     }
///
///     async fn handle(&self, request: Request, arguments: Arguments) -> Result<Value, Failure> {
///         match request.method() {
///             "pool_grow" => {
///                 let Grow { n } = arguments.read()?;
///                 Ok((self.0.fetch_add(n, Ordering::Relaxed) + n).into())
///             }
///             "pool_size" => Ok(self.0.load(Ordering::Relaxed).into()),
///             other => Err(Failure::unknown_method(other)),
///         }
///     }
/// }
/// # let _ = Pool::default();
/// ```
pub trait Handlers: Send + Sync + 'static {
    /// Whether there is a handler for this method. Default: there is one for every name.
    fn has(&self, method: &str) -> bool {
        let _ = method;
        true
    }

    /// Handles a command. Up to [`concurrency`](crate::mailbox::NodeBuilder::concurrency) commands
    /// are handled at once.
    ///
    /// # Errors
    /// The failure, whose text the sender gets.
    ///
    /// # Cancel safety
    /// The future is dropped when its node is dropped; a node that is stopped waits for it.
    fn handle(
        &self,
        request: Request,
        arguments: Arguments,
    ) -> impl Future<Output = Result<Value, Failure>> + Send;
}

/// A handler with its types erased.
type Handler = Arc<dyn Fn(Request, Arguments) -> BoxFuture<'static, Result<Value, Failure>> + Send + Sync>;

/// [`Handlers`] with their type erased.
trait AnyHandlers: Send + Sync {
    fn has(&self, method: &str) -> bool;

    fn handle(
        self: Arc<Self>,
        request: Request,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Value, Failure>>;
}

impl<H: Handlers> AnyHandlers for H {
    fn has(&self, method: &str) -> bool {
        Handlers::has(self, method)
    }

    fn handle(
        self: Arc<Self>,
        request: Request,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Value, Failure>> {
        async move { Handlers::handle(&*self, request, arguments).await }.boxed()
    }
}

/// The handlers of a node by their methods: closures first, then types in the order they were
/// added.
#[derive(Clone, Default)]
pub(super) struct HandlerTable {
    closures: HashMap<String, Handler>,
    types: Vec<Arc<dyn AnyHandlers>>,
}

impl HandlerTable {
    pub(super) fn add<A, R, E, F, Fut>(&mut self, method: String, handler: F)
    where
        A: DeserializeOwned,
        R: Serialize,
        E: Into<Failure>,
        F: Fn(Request, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let untyped = move |request, arguments: Arguments| match arguments.read() {
            Ok(arguments) => {
                let handling = handler(request, arguments);
                async move { Ok(serde_json::to_value(handling.await.map_err(Into::into)?)?) }.boxed()
            }
            Err(failure) => std::future::ready(Err(failure)).boxed(),
        };
        self.closures.insert(method, Arc::new(untyped));
    }

    pub(super) fn add_type(&mut self, handlers: impl Handlers) {
        self.types.push(Arc::new(handlers));
    }

    /// Returns the names of the methods that have a closure.
    pub(super) fn methods(&self) -> impl Iterator<Item = &String> {
        self.closures.keys()
    }

    /// Handles a command, even if the handler panics. Returns `None` if there is no handler for
    /// its method.
    pub(super) async fn handle(
        &self,
        request: Request,
        arguments: Map<String, Value>,
    ) -> Option<Result<Value, Failure>> {
        let arguments = Arguments(arguments);
        let handled = async {
            if let Some(handler) = self.closures.get(&*request.method) {
                return Some(handler(request, arguments).await);
            }
            let handlers = self.types.iter().find(|handlers| handlers.has(&request.method))?.clone();
            Some(handlers.handle(request, arguments).await)
        };
        // The state behind a panic belongs to the user's code.
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        handled.unwrap_or_else(|panic| Some(Err(panicked(&*panic))))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure(format!("the handler panicked: {}", text.unwrap_or("without a text")))
}
