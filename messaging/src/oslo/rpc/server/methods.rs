//! Methods of a user-defined type.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    oslo::{rpc::message::failure::Failure, wire::context::Context},
    serialize,
};

/// A type whose methods are called by their names. It serves as the closures of
/// [`Endpoint::method`](crate::rpc::Endpoint::method) do, but suits state that many methods share,
/// or names that are known only at run time.
///
/// ```
/// use std::sync::atomic::{AtomicI64, Ordering};
/// use messaging::{Context, rpc::{Arguments, Endpoint, Failure, Methods, Output}};
///
/// #[derive(Default)]
/// struct Counter(AtomicI64);
///
/// #[derive(serde::Deserialize)]
/// struct Add { n: i64 }
///
/// impl Methods for Counter {
///     fn has(&self, method: &str) -> bool {
///         matches!(method, "add" | "total")
///     }
///
///     async fn call(
///         &self,
///         method: &str,
///         _context: Context,
///         arguments: Arguments,
///     ) -> Result<Output, Failure> {
///         match method {
///             "add" => {
///                 let Add { n } = arguments.read()?;
///                 Output::new(&(self.0.fetch_add(n, Ordering::Relaxed) + n))
///             }
///             "total" => Output::new(&self.0.load(Ordering::Relaxed)),
///             other => Err(Failure::no_such_method(other)),
///         }
///     }
/// }
///
/// let endpoint = Endpoint::of(Counter::default()).namespace("counter").version(1, 2);
/// # let _ = endpoint;
/// ```
pub trait Methods: Send + Sync + 'static {
    /// Whether there is such a method; if not, another endpoint is asked. Default: true for every
    /// name.
    fn has(&self, method: &str) -> bool {
        let _ = method;
        true
    }

    /// Runs a method. Many run at once.
    ///
    /// # Errors
    /// The failure of the method, which its caller gets.
    ///
    /// # Cancel safety
    /// The future is dropped when its server is dropped; a server that is stopped waits for it.
    fn call(
        &self,
        method: &str,
        context: Context,
        arguments: Arguments,
    ) -> impl Future<Output = Result<Output, Failure>> + Send;
}

/// The arguments of a request, by their names.
#[derive(Debug)]
pub struct Arguments(Box<RawValue>);

impl Arguments {
    pub(crate) fn new(object: Box<RawValue>) -> Self {
        Arguments(object)
    }

    /// Decodes the arguments as a type, `()` when there are none.
    ///
    /// # Errors
    /// A `TypeError` for the caller, when they do not match the type.
    pub fn read<A: DeserializeOwned>(&self) -> Result<A, Failure> {
        read(&self.0)
    }

    /// Returns the text of the JSON object as it was received.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }
}

/// Decodes the arguments in a JSON object.
pub(super) fn read<A: DeserializeOwned>(object: &RawValue) -> Result<A, Failure> {
    let text = object.get();
    // `()` is null to serde, so it needs this second attempt when there are no arguments.
    let read = serialize::from_json(text).or_else(|error| {
        if text == "{}" { serde_json::from_str("null").map_err(|_| error) } else { Err(error) }
    });
    read.map_err(|error| Failure::new("TypeError", format!("wrong arguments: {error}")))
}

/// The result of a method.
#[derive(Debug)]
pub struct Output(Box<RawValue>);

impl Output {
    /// Returns a value as JSON.
    ///
    /// # Errors
    /// A `ValueError` for the caller, when it has no JSON form.
    pub fn new<R: Serialize + ?Sized>(value: &R) -> Result<Self, Failure> {
        let raw = to_raw_value(value);
        raw.map(Output)
            .map_err(|error| Failure::new("ValueError", format!("the result cannot be serialized: {error}")))
    }

    pub(crate) fn into_json(self) -> Box<RawValue> {
        self.0
    }
}

/// [`Methods`] with their type erased.
pub(crate) trait AnyMethods: Send + Sync {
    fn has(&self, method: &str) -> bool;

    fn call(
        self: Arc<Self>,
        method: String,
        context: Context,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Output, Failure>>;
}

impl<M: Methods> AnyMethods for M {
    fn has(&self, method: &str) -> bool {
        Methods::has(self, method)
    }

    fn call(
        self: Arc<Self>,
        method: String,
        context: Context,
        arguments: Arguments,
    ) -> BoxFuture<'static, Result<Output, Failure>> {
        async move { Methods::call(&*self, &method, context, arguments).await }.boxed()
    }
}
