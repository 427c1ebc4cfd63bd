//! The dispatcher: finds the endpoint for a request, or the answer when there is none.

use std::panic::AssertUnwindSafe;

use amqp_client::Report;
use futures_util::FutureExt as _;
use serde_json::{Value, value::RawValue};

use crate::{
    error::Error,
    oslo::{
        rpc::{
            message::{failure::Failure, field::Field, wire::Received},
            server::{
                access::AccessPolicy,
                endpoint::{Answer, Endpoint, Found},
                methods::Output,
            },
        },
        wire::{context::Context, entity_serializer::Conversion},
    },
    version::Version,
};

/// The endpoints of a server, in the order they are asked.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    endpoints: Vec<Endpoint>,
    pub(crate) policy: AccessPolicy,
    pub(crate) conversion: Conversion,
}

impl Dispatcher {
    pub(crate) fn add(&mut self, endpoint: Endpoint) {
        self.endpoints.push(endpoint);
    }

    /// Runs the method that a request asks for. There is always an answer, even if the method
    /// panics.
    pub(crate) async fn answer(&self, request: &mut Received<'_>) -> Answer {
        // The state behind a panic belongs to the user's code: the dispatcher uses none of it
        // again.
        let call = AssertUnwindSafe(self.dispatch(request)).catch_unwind();
        call.await.unwrap_or_else(|payload| Err(Failure::panicked(&*payload)))
    }

    /// Tells whether there is a method for a request.
    pub(crate) fn has_method(&self, request: &Received<'_>) -> bool {
        self.select(request).is_ok()
    }

    async fn dispatch(&self, request: &mut Received<'_>) -> Answer {
        let context = std::mem::take(&mut request.context);
        let (endpoint, method) = self.select(request)?;
        let answer = self.run(method, context, arguments(request.arguments)?).await;
        answer.map_err(|failure| if endpoint.expects(&failure) { failure.expected() } else { failure })
    }

    async fn run(&self, method: Found<'_>, context: Context, arguments: &RawValue) -> Answer {
        if !self.conversion.has_serializer() {
            return method.call(context, arguments).await.map(Output::into_json);
        }
        let context = self.conversion.deserialize_context(context).map_err(|error| refused(&error))?;
        let arguments =
            self.conversion.deserialize_arguments(&context, arguments).map_err(|error| refused(&error))?;
        let output = method.call(context.clone(), &arguments).await?;
        self.conversion.serialize_result(&context, output.into_json()).map_err(|error| refused(&error))
    }

    fn select<'a>(&'a self, request: &'a Received<'_>) -> Result<(&'a Endpoint, Found<'a>), Failure> {
        let method = match &request.method {
            Some(Field::Text(method)) => &**method,
            other => {
                return Err(Failure::new(
                    "TypeError",
                    format!("method is {}, not a string", shown(other.as_ref())),
                ));
            }
        };
        let unsupported = || Failure::unsupported_version(&shown(request.version.as_ref()), method);
        let namespace = match &request.namespace {
            None | Some(Field::Other(Value::Null)) => None,
            Some(Field::Text(namespace)) => Some(&**namespace),
            Some(Field::Other(_)) => return Err(unsupported()),
        };
        let version = match &request.version {
            None => Version::DEFAULT,
            Some(version) => version.as_text().and_then(|text| text.parse().ok()).ok_or_else(unsupported)?,
        };
        self.find(namespace, version, method).map_err(|compatible| match compatible {
            // The name says that the caller ignores errors.
            true if method.ends_with("_ignore_errors") => Failure::no_such_method(method).expected(),
            true => Failure::no_such_method(method),
            false => unsupported(),
        })
    }

    /// Finds the first endpoint of the namespace with a compatible version that has the method.
    /// Without one, tells whether any version was compatible at all.
    fn find<'a>(
        &'a self,
        namespace: Option<&str>,
        version: Version,
        method: &'a str,
    ) -> Result<(&'a Endpoint, Found<'a>), bool> {
        let mut compatible = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.is_in(namespace) && endpoint.implements(version))
            .peekable();
        let any = compatible.peek().is_some();
        compatible.find_map(|endpoint| Some((endpoint, endpoint.find(method, self.policy)?))).ok_or(any)
    }
}

/// Returns the failure for an error of the serializer, which counts as part of the method.
fn refused(error: &Error) -> Failure {
    Failure::new("ValueError", Report(error).to_string())
}

/// Returns the arguments as a JSON object, which is empty when there are none.
fn arguments(raw: Option<&RawValue>) -> Result<&RawValue, Failure> {
    match raw {
        None => serde_json::from_str("{}").map_err(Failure::from),
        Some(raw) if raw.get().starts_with('{') => Ok(raw),
        Some(raw) => {
            let kind = raw.get().chars().next().map_or("nothing", |first| match first {
                '[' => "a list",
                'n' => "null",
                _ => "a plain value",
            });
            Err(Failure::new("AttributeError", format!("args is {kind}, not an object")))
        }
    }
}

/// Returns the text for a value of a request, or for its default when it is missing.
fn shown(value: Option<&Field<'_>>) -> String {
    value.map_or_else(|| Version::DEFAULT.to_string(), Field::to_string)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::IgnoredAny};
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Add {
        a: i64,
        b: i64,
    }

    fn dispatcher() -> Dispatcher {
        let whoami = |name: &'static str| move |_, _: IgnoredAny| async move { Ok(name) };
        let mut dispatcher = Dispatcher::default();
        dispatcher.add(
            Endpoint::new()
                .version(1, 5)
                .method("add", |_, args: Add| async move { Ok(args.a + args.b) })
                .method("nothing", |_, (): ()| async move { Ok(()) })
                .method(
                    "user",
                    |context: Context, _: IgnoredAny| async move { Ok(context.get("user").cloned()) },
                )
                .method(
                    "fail",
                    |_, _: IgnoredAny| async move { Err::<(), _>(Failure::new("ValueError", "no")) },
                )
                .method("panic", |_, args: Add| async move { Ok(args.a / args.b) })
                .method("unserializable", |_, _: IgnoredAny| async move { Ok(BTreeMap::from([((1, 2), 3)])) })
                .method("_private", whoami("private"))
                .method("whoami", whoami("first")),
        );
        dispatcher.add(Endpoint::new().version(2, 0).method("whoami", whoami("second")));
        dispatcher.add(
            Endpoint::new().version(1, 2).method("whoami", whoami("third")).method("late", whoami("third")),
        );
        dispatcher.add(Endpoint::new().namespace("ns").version(2, 3).method("whoami", whoami("ns")));
        dispatcher
    }

    async fn ask(dispatcher: &Dispatcher, request: Value) -> Answer {
        let (text, mut strict) = (request.to_string(), String::new());
        dispatcher.answer(&mut Received::from_json(&text, &mut strict).unwrap()).await
    }

    /// Returns the result, or class and message of the failure.
    async fn answer(request: Value) -> Result<Value, (String, String)> {
        match ask(&dispatcher(), request).await {
            Ok(result) => Ok(serde_json::from_str(result.get()).unwrap()),
            Err(failure) => Err((failure.class().to_owned(), failure.message().to_owned())),
        }
    }

    async fn class(request: Value) -> String {
        answer(request).await.unwrap_err().0
    }

    #[tokio::test]
    async fn a_method_gets_its_arguments_and_its_context() {
        assert_eq!(answer(json!({"method": "add", "args": {"a": 1, "b": 2, "c": 3}})).await, Ok(json!(3)));
        assert_eq!(answer(json!({"method": "user", "_context_user": "alice"})).await, Ok(json!("alice")));
        assert_eq!(answer(json!({"method": "nothing", "args": {}})).await, Ok(Value::Null));
        assert_eq!(answer(json!({"method": "nothing"})).await, Ok(Value::Null));
    }

    #[tokio::test]
    async fn the_first_compatible_endpoint_with_the_method_takes_it() {
        for (request, who) in [
            (json!({"method": "whoami"}), "first"),
            (json!({"method": "whoami", "namespace": null, "version": "1.5"}), "first"),
            (json!({"method": "whoami", "version": "2.0"}), "second"),
            (json!({"method": "late", "version": "1.1"}), "third"),
            (json!({"method": "whoami", "namespace": "ns", "version": "2.1"}), "ns"),
        ] {
            assert_eq!(answer(request.clone()).await, Ok(json!(who)), "{request}");
        }
    }

    #[tokio::test]
    async fn a_policy_says_which_methods_may_be_called() {
        let call = async |policy, method| {
            let nothing = |_, _: IgnoredAny| async { Ok(()) };
            let mut dispatcher = Dispatcher { policy, ..Dispatcher::default() };
            dispatcher.add(Endpoint::new().method("open", nothing).method("_hidden", nothing).expose("open"));
            dispatcher.add(Endpoint::new().method("other", nothing));
            ask(&dispatcher, json!({"method": method})).await.is_ok()
        };
        for (policy, allowed) in [
            (AccessPolicy::Default, [true, true, false]),
            (AccessPolicy::Legacy, [true, true, true]),
            (AccessPolicy::Explicit, [true, false, false]),
        ] {
            for (method, allowed) in ["open", "other", "_hidden"].into_iter().zip(allowed) {
                assert_eq!(call(policy, method).await, allowed, "{policy:?} {method}");
            }
        }
    }

    #[tokio::test]
    async fn failures_are_expected_by_class_or_by_the_methods_name() {
        let mut dispatcher = Dispatcher::default();
        let fail = |class| move |_, _: IgnoredAny| async move { Err::<(), _>(Failure::new(class, "no")) };
        let endpoint =
            Endpoint::new().expect("NotFound").method("a", fail("NotFound")).method("b", fail("Other"));
        dispatcher.add(endpoint);
        for (method, expected) in [("a", true), ("b", false), ("c", false), ("c_ignore_errors", true)] {
            let failure = ask(&dispatcher, json!({"method": method})).await.unwrap_err();
            assert_eq!(failure.is_expected(), expected, "{method}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_answers_to_the_namespaces_it_accepts() {
        let mut dispatcher = Dispatcher::default();
        let endpoint = Endpoint::new().namespace("new").accept_namespace(Some("old")).accept_namespace(None);
        dispatcher.add(endpoint.method("x", |_, _: IgnoredAny| async { Ok(()) }));
        for (namespace, answers) in
            [(json!("new"), true), (json!("old"), true), (json!(null), true), (json!("other"), false)]
        {
            let answer = ask(&dispatcher, json!({"method": "x", "namespace": namespace})).await;
            assert_eq!(answer.is_ok(), answers, "{namespace}");
        }
    }

    #[tokio::test]
    async fn without_a_method_it_depends_on_whether_an_endpoint_was_compatible() {
        for (request, class, message) in [
            (json!({"method": "x"}), "NoSuchMethod", "Endpoint does not support RPC method x"),
            (json!({"method": "_private"}), "NoSuchMethod", "Endpoint does not support RPC method _private"),
            (
                json!({"method": "late", "version": "1.3"}),
                "NoSuchMethod",
                "Endpoint does not support RPC method late",
            ),
            (
                json!({"method": "add", "version": "1.6"}),
                "UnsupportedVersion",
                "Endpoint does not support RPC version 1.6. Attempted method: add",
            ),
            (
                json!({"method": "add", "namespace": "other"}),
                "UnsupportedVersion",
                "Endpoint does not support RPC version 1.0. Attempted method: add",
            ),
        ] {
            assert_eq!(answer(request.clone()).await, Err((class.into(), message.into())), "{request}");
        }
        for version in [json!(null), json!(1), json!("1"), json!("abc")] {
            assert_eq!(class(json!({"method": "add", "version": version})).await, "UnsupportedVersion");
        }
        assert_eq!(class(json!({"method": "add", "namespace": ""})).await, "UnsupportedVersion");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_request_is_answered() {
        assert_eq!(class(json!({})).await, "TypeError");
        assert_eq!(class(json!({"method": null})).await, "TypeError");
        assert_eq!(class(json!({"method": "add", "args": null})).await, "AttributeError");
        assert_eq!(class(json!({"method": "add", "args": [1, 2]})).await, "AttributeError");
        assert_eq!(class(json!({"method": "add", "args": {"a": 1}})).await, "TypeError");
        assert_eq!(class(json!({"method": "add", "args": {"a": 1, "b": "2"}})).await, "TypeError");
    }

    #[tokio::test]
    async fn a_method_that_fails_or_panics_or_answers_what_is_no_json_is_answered_too() {
        assert_eq!(answer(json!({"method": "fail"})).await, Err(("ValueError".into(), "no".into())));
        let (class, message) =
            answer(json!({"method": "panic", "args": {"a": 1, "b": 0}})).await.unwrap_err();
        assert_eq!(class, "RuntimeError");
        assert!(message.contains("divide by zero"), "{message}");
        assert_eq!(answer(json!({"method": "unserializable"})).await.unwrap_err().0, "ValueError");
    }
}
