//! The failure that a method returns.

use std::{any::type_name, error::Error};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::oslo::error::remote::RemoteError;

/// The module of Python's own exceptions.
const BUILTINS: &str = "builtins";
/// The module of the exceptions that oslo.messaging's dispatcher raises.
const DISPATCHER: &str = "oslo_messaging.rpc.dispatcher";

/// The failure of a remote method: an exception, as Python sees it.
///
/// Every Rust error can be converted with `?`: class and module are then the error type's name and
/// path, which Python clients raise as `RemoteError`. [`Failure::new`] and [`module`](Self::module)
/// choose a class that the clients know.
///
/// ```
/// use messaging::rpc::Failure;
///
/// fn parse(text: &str) -> Result<i64, Failure> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().class(), "ParseIntError");
/// ```
// This is not an `Error` itself: that would forbid the conversion from all other errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure(Box<Fields>);

/// The failure in its wire format.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Fields {
    class: String,
    module: String,
    message: String,
    #[serde(rename = "tb")]
    traceback: Vec<String>,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    /// Whether the failure is expected, and so no cause for a warning.
    #[serde(skip)]
    expected: bool,
}

impl Failure {
    /// Returns an exception of a class of Python's `builtins`, such as `ValueError`, with its
    /// message as the only argument.
    pub fn new(class: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        Failure(Box::new(Fields {
            class: class.into(),
            module: BUILTINS.to_owned(),
            args: vec![message.clone().into()],
            message,
            traceback: Vec::new(),
            kwargs: Map::new(),
            expected: false,
        }))
    }

    /// Sets the module of the class; default `builtins`.
    #[must_use]
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.0.module = module.into();
        self
    }

    /// Marks the failure as expected: it is logged at debug level only. See
    /// [`Endpoint::expect`](crate::rpc::Endpoint::expect) for whole classes.
    #[must_use]
    pub fn expected(mut self) -> Self {
        self.0.expected = true;
        self
    }

    pub(crate) fn is_expected(&self) -> bool {
        self.0.expected
    }

    /// Returns the name of the class.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.0.class
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the failure of another server, to pass it on: class and module stay the same.
    #[must_use]
    pub fn forward(error: RemoteError) -> Self {
        Failure(Box::new(Fields {
            class: error.class,
            module: error.module,
            message: error.message,
            traceback: error.traceback,
            args: error.args,
            kwargs: error.kwargs,
            expected: false,
        }))
    }

    /// Returns the failure that servers use when there is no such method.
    #[must_use]
    pub fn no_such_method(method: &str) -> Self {
        Failure::new("NoSuchMethod", format!("Endpoint does not support RPC method {method}"))
            .module(DISPATCHER)
    }

    pub(crate) fn unsupported_version(version: &str, method: &str) -> Self {
        let message = format!("Endpoint does not support RPC version {version}. Attempted method: {method}");
        Failure::new("UnsupportedVersion", message).module(DISPATCHER)
    }

    /// Returns the failure of a method that panicked.
    pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Failure::new(
            "RuntimeError",
            format!("the method panicked: {}", text.as_deref().unwrap_or("no message")),
        )
    }

    /// Returns the JSON text that goes into a reply.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let path = type_name::<E>();
        // Type parameters are cut off, because their paths contain colons too.
        let plain = path.split('<').next().unwrap_or(path);
        let (module, class) = plain.rsplit_once("::").unwrap_or((BUILTINS, plain));
        let mut failure = Failure::new(class, error.to_string()).module(module);
        failure.0.traceback = causes(&error);
        failure
    }
}

/// Returns the causes of an error, one per line.
fn causes(error: &dyn Error) -> Vec<String> {
    std::iter::successors(error.source(), |cause| (*cause).source())
        .map(|cause| format!("caused by: {cause}\n"))
        .collect()
}

impl RemoteError {
    /// Parses the JSON text of a failure. Only class and module are required, as in Python.
    pub(crate) fn from_json(text: &str) -> Self {
        let fields: Value = crate::serialize::from_json(text).unwrap_or_default();
        let text_of = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list_of = |name: &str| fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        RemoteError {
            class: text_of("class"),
            module: text_of("module"),
            message: if fields.is_object() { text_of("message") } else { text.to_owned() },
            args: list_of("args"),
            kwargs: fields.get("kwargs").and_then(Value::as_object).cloned().unwrap_or_default(),
            traceback: list_of("tb").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// Whether oslo.messaging's dispatcher raised it, because there is no such method or no such
    /// version.
    pub(crate) fn is_from_dispatcher(&self, class: &str) -> bool {
        self.module == DISPATCHER && self.class == class
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failure_is_written_as_python_reads_it() {
        let written: Value =
            serde_json::from_str(&Failure::new("ValueError", "no").to_json().unwrap()).unwrap();
        assert_eq!(
            written,
            json!({"class": "ValueError", "module": "builtins", "message": "no", "tb": [], "args": ["no"], "kwargs": {}})
        );
    }

    #[test]
    fn the_dispatchers_failures_say_what_pythons_say() {
        let failure = Failure::no_such_method("x");
        assert_eq!(
            (failure.class(), failure.message()),
            ("NoSuchMethod", "Endpoint does not support RPC method x")
        );
        let failure = Failure::unsupported_version("9.0", "x");
        assert_eq!(failure.message(), "Endpoint does not support RPC version 9.0. Attempted method: x");
        let remote = RemoteError::from_json(&failure.to_json().unwrap());
        assert!(remote.is_from_dispatcher("UnsupportedVersion"));
    }

    #[test]
    fn a_rust_error_keeps_its_type_and_causes() {
        let failure = Failure::from(std::io::Error::other("nothing".parse::<i32>().unwrap_err()));
        assert_eq!((failure.class(), failure.0.module.as_str()), ("Error", "std::io::error"));
        let failure = Failure::from("nothing".parse::<i32>().unwrap_err());
        assert_eq!((failure.class(), failure.0.module.as_str()), ("ParseIntError", "core::num::error"));
    }

    #[test]
    fn a_captured_failure_is_read() {
        let remote = RemoteError::from_json(
            r#"{"class": "AppError", "module": "__main__", "message": "app failed", "tb": ["Traceback (most recent call last):\n", "AppError: app failed\n"], "args": ["app failed"], "kwargs": {"code": 500}}"#,
        );
        assert_eq!(remote.to_string(), "remote error __main__.AppError: app failed");
        assert_eq!(remote.kwargs["code"], 500);
        assert_eq!(remote.traceback.len(), 2);
    }

    #[test]
    fn a_failure_of_another_shape_is_read_as_far_as_it_goes() {
        assert_eq!(RemoteError::from_json("oops").message, "oops");
        let remote = RemoteError::from_json(r#"{"class": "E", "args": null, "tb": "x", "kwargs": []}"#);
        assert_eq!((remote.class.as_str(), remote.args.len()), ("E", 0));
    }
}
