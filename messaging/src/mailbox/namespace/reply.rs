//! The answer of a node.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::mailbox::namespace::reply_error::ReplyError;

/// The answer of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    node: String,
    answer: Value,
}

impl Reply {
    pub(super) fn new(node: String, answer: Value) -> Self {
        Reply { node, answer }
    }

    /// Returns the name of the node that answered.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns the answer as it was received.
    #[must_use]
    pub fn answer(&self) -> &Value {
        &self.answer
    }

    /// Returns the node's name and its answer as it was received.
    #[must_use]
    pub fn into_parts(self) -> (String, Value) {
        (self.node, self.answer)
    }

    /// Returns the error of a node that failed, which answers with `{"error": …}`.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match self.only_field("error")? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Decodes the answer as a type.
    ///
    /// # Errors
    /// [`ReplyError::Failed`] when the node failed, and [`ReplyError::Decode`] when its answer is
    /// of another type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ReplyError> {
        self.decode_value(&self.answer)
    }

    /// Decodes the value in an answer of the form `{"ok": value}`, as many of Celery's commands
    /// give it.
    ///
    /// # Errors
    /// The same as for [`decode`](Self::decode). An answer of another form is decoded as a whole.
    pub fn ok<T: DeserializeOwned>(&self) -> Result<T, ReplyError> {
        self.decode_value(self.only_field("ok").unwrap_or(&self.answer))
    }

    fn decode_value<T: DeserializeOwned>(&self, value: &Value) -> Result<T, ReplyError> {
        let node = || self.node.clone();
        if let Some(error) = self.error() {
            return Err(ReplyError::Failed { node: node(), error });
        }
        T::deserialize(value).map_err(|source| ReplyError::Decode { node: node(), source })
    }

    fn only_field(&self, name: &str) -> Option<&Value> {
        self.answer.as_object().filter(|fields| fields.len() == 1)?.get(name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_decoded_as_it_is_and_within_ok() {
        let reply = |answer| Reply::new("w1".to_owned(), answer);
        assert_eq!(reply(json!({"ok": "pong"})).ok::<String>().unwrap(), "pong");
        assert_eq!(reply(json!(7)).ok::<u32>().unwrap(), 7);
        assert_eq!(reply(json!([1, 2])).decode::<Vec<u32>>().unwrap(), [1, 2]);
        let failed = reply(json!({"error": "KeyError('x')"}));
        for error in [failed.decode::<Value>().unwrap_err(), failed.ok::<Value>().unwrap_err()] {
            assert_eq!(error.to_string(), "node \"w1\" failed: KeyError('x')");
        }
        assert!(matches!(reply(json!("x")).decode::<u32>(), Err(ReplyError::Decode { .. })));
        assert_eq!(reply(json!({"error": 1, "more": 2})).error(), None);
    }
}
