//! The methods a server offers, under one namespace and version.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use super::{access::AccessPolicy, failure::Failure};
use crate::{context::Context, serialize, version::Version};

/// What a method answers: JSON, or why it failed.
pub(crate) type Answer = Result<Box<RawValue>, Failure>;

/// A method without its types.
pub(crate) type Method = Arc<dyn Fn(Context, Box<RawValue>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Methods under one namespace and version. Default: no namespace, version 1.0, no methods.
///
/// ```
/// use messaging::rpc::{Endpoint, Failure};
///
/// #[derive(serde::Deserialize)]
/// struct Divide { a: i64, b: i64 }
///
/// let endpoint = Endpoint::new().version(1, 3).method("divide", |_context, args: Divide| async move {
///     args.a.checked_div(args.b).ok_or_else(|| Failure::new("ZeroDivisionError", "division by zero"))
/// });
/// # let _ = endpoint;
/// ```
#[derive(Clone)]
pub struct Endpoint {
    namespace: Option<String>,
    /// Those it answers to as well; `None` is no namespace.
    accepted: Vec<Option<String>>,
    version: Version,
    methods: HashMap<String, Method>,
    exposed: HashSet<String>,
    /// Classes of failures.
    expected: HashSet<String>,
}

impl Endpoint {
    /// No namespace, version 1.0, no methods.
    #[must_use]
    pub fn new() -> Self {
        let (accepted, methods, exposed, expected) = Default::default();
        Endpoint { namespace: None, accepted, version: Version::DEFAULT, methods, exposed, expected }
    }

    /// The namespace of its methods.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// A namespace that it answers to as well, such as the one it had before; `None` is for requests without any. Python's
    /// `legacy_namespaces`.
    #[must_use]
    pub fn accept_namespace(mut self, namespace: Option<&str>) -> Self {
        self.accepted.push(namespace.map(str::to_owned));
        self
    }

    /// The version it implements: it takes requests for earlier minors too.
    #[must_use]
    pub fn version(mut self, major: u32, minor: u32) -> Self {
        self.version = Version::new(major, minor);
        self
    }

    /// A method under its name; a second one under the same name takes the place of the first.
    ///
    /// The arguments are those of the request by their names, `()` when there are none; ones that do not fit are answered
    /// with a `TypeError`. Whether it may be called is the server's [`AccessPolicy`]; by default not when its name begins with `_`.
    #[must_use]
    pub fn method<A, R, F, Fut>(mut self, name: impl Into<String>, method: F) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        F: Fn(Context, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        let untyped = move |context, arguments: Box<RawValue>| match decode(arguments.get()) {
            Ok(arguments) => {
                let call = method(context, arguments);
                async move { answer(&call.await?) }.boxed()
            }
            Err(error) => {
                std::future::ready(Err(Failure::new("TypeError", format!("wrong arguments: {error}"))))
                    .boxed()
            }
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

    /// Failures of this class are nothing to worry about: callers are told of them as of others, but the log at debug level only,
    /// where others are warnings. Python's `expected_exceptions`.
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

    pub(crate) fn find(&self, method: &str, policy: AccessPolicy) -> Option<&Method> {
        if policy.allows(method, &self.exposed) { self.methods.get(method) } else { None }
    }
}

fn decode<A: DeserializeOwned>(arguments: &str) -> serde_json::Result<A> {
    // For `()`, which is null to serde, where there are no arguments.
    serialize::from_json(arguments).or_else(|error| {
        if arguments == "{}" { serde_json::from_str("null").map_err(|_| error) } else { Err(error) }
    })
}

fn answer<R: Serialize>(result: &R) -> Answer {
    to_raw_value(result)
        .map_err(|error| Failure::new("ValueError", format!("the result cannot be serialized: {error}")))
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
