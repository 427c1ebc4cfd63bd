//! The methods that a server offers under one namespace and version.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    oslo::{
        rpc::{
            message::failure::Failure,
            server::{
                access::AccessPolicy,
                methods::{self, AnyMethods, Arguments, Methods, Output},
            },
        },
        wire::context::Context,
    },
    version::Version,
};

/// The answer of a method: its result as JSON, or its failure.
pub(crate) type Answer = Result<Box<RawValue>, Failure>;

/// A closure with its types erased.
type Method = Arc<dyn Fn(Context, &RawValue) -> BoxFuture<'static, Result<Output, Failure>> + Send + Sync>;

/// A method that was found.
pub(crate) enum Found<'a> {
    Closure(&'a Method),
    Named(&'a Arc<dyn AnyMethods>, &'a str),
}

/// Methods under one namespace and version. Default: no namespace, version 1.0, no methods.
///
/// ```
/// use messaging::rpc::{Endpoint, Failure};
///
/// #[derive(serde::Deserialize)]
/// struct Divide { a: i64, b: i64 }
///
/// let by_zero = || Failure::new("ZeroDivisionError", "division by zero");
/// let divide = move |_context, args: Divide| async move {
///     args.a.checked_div(args.b).ok_or_else(by_zero)
/// };
/// let endpoint = Endpoint::new().version(1, 3).method("divide", divide);
/// # let _ = endpoint;
/// ```
#[derive(Clone)]
pub struct Endpoint {
    namespace: Option<String>,
    /// Further namespaces that it answers to; `None` means no namespace.
    accepted: Vec<Option<String>>,
    version: Version,
    methods: HashMap<String, Method>,
    /// Methods of types, which are asked when there is no closure for a method.
    others: Vec<Arc<dyn AnyMethods>>,
    exposed: HashSet<String>,
    /// The classes of failures that are expected.
    expected: HashSet<String>,
}

impl Endpoint {
    /// Returns an endpoint with no namespace, version 1.0 and no methods.
    #[must_use]
    pub fn new() -> Self {
        let (accepted, methods, others, exposed, expected) = Default::default();
        Endpoint { namespace: None, accepted, version: Version::DEFAULT, methods, others, exposed, expected }
    }

    /// Returns an endpoint with the methods of a type, no namespace and version 1.0.
    pub fn of(methods: impl Methods) -> Self {
        Endpoint::new().methods(methods)
    }

    /// Adds the methods of a type. Closures are asked first, then types in the order they were
    /// added.
    #[must_use]
    pub fn methods(mut self, methods: impl Methods) -> Self {
        self.others.push(Arc::new(methods));
        self
    }

    /// Sets the namespace of its methods.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Adds a namespace that it answers to as well, such as its former one; `None` is for requests
    /// without a namespace. This is Python's `legacy_namespaces`.
    #[must_use]
    pub fn accept_namespace(mut self, namespace: Option<&str>) -> Self {
        self.accepted.push(namespace.map(str::to_owned));
        self
    }

    /// Sets the version it implements: it accepts requests for earlier minor versions too.
    #[must_use]
    pub fn version(mut self, major: u32, minor: u32) -> Self {
        self.version = Version::new(major, minor);
        self
    }

    /// Adds a method under its name, or replaces the one of that name.
    ///
    /// The arguments are those of the request by their names, `()` when there are none; arguments
    /// that do not match are answered with a `TypeError`. The server's [`AccessPolicy`] says
    /// whether the method may be called; by default it may not when its name begins with `_`.
    #[must_use]
    pub fn method<A, R, F, Fut>(mut self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let untyped = move |context, arguments: &RawValue| match methods::read(arguments) {
            Ok(arguments) => {
                let call = method(context, arguments);
                async move { Output::new(&call.await?) }.boxed()
            }
            Err(failure) => std::future::ready(Err(failure)).boxed(),
        };
        self.methods.insert(name.into(), Arc::new(untyped));
        self
    }

    /// Exposes a method to servers with [`AccessPolicy::Explicit`].
    #[must_use]
    pub fn expose(mut self, method: impl Into<String>) -> Self {
        self.exposed.insert(method.into());
        self
    }

    /// Marks failures of this class as expected: callers get them as usual, but the log only at
    /// debug level instead of as warnings. This is Python's `expected_exceptions`.
    #[must_use]
    pub fn expect(mut self, class: impl Into<String>) -> Self {
        self.expected.insert(class.into());
        self
    }

    pub(crate) fn is_in(&self, namespace: Option<&str>) -> bool {
        self.namespace.as_deref() == namespace
            || self.accepted.iter().any(|accepted| accepted.as_deref() == namespace)
    }

    pub(crate) fn expects(&self, failure: &Failure) -> bool {
        self.expected.contains(failure.class())
    }

    pub(crate) fn implements(&self, version: Version) -> bool {
        self.version.supports(version)
    }

    pub(crate) fn find<'a>(&'a self, method: &'a str, policy: AccessPolicy) -> Option<Found<'a>> {
        if !policy.allows(method, &self.exposed) {
            return None;
        }
        let other = || self.others.iter().find(|methods| methods.has(method));
        let closure = self.methods.get(method).map(Found::Closure);
        closure.or_else(|| Some(Found::Named(other()?, method)))
    }
}

impl Found<'_> {
    pub(crate) fn call(
        self,
        context: Context,
        arguments: &RawValue,
    ) -> BoxFuture<'static, Result<Output, Failure>> {
        match self {
            Found::Closure(method) => method(context, arguments),
            Found::Named(methods, name) => {
                methods.clone().call(name.to_owned(), context, Arguments::new(arguments.to_owned()))
            }
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint::new()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("namespace", &self.namespace)
            .field("version", &self.version)
            .field("methods", &self.methods.keys())
            .finish()
    }
}
