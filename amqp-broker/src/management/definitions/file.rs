//! A file of definitions, to be loaded when a broker starts.

use serde_json::{Map, Value};

use super::import;
use crate::{
    broker::Broker,
    management::{
        answer::api_error::ApiError,
        samples::sampler::Samples,
        service::{Service, options::HttpOptions, password_checks::PasswordChecks},
    },
};

/// Definitions as RabbitMQ exports them: users, virtual hosts, permissions, policies, queues,
/// exchanges and bindings (<https://www.rabbitmq.com/docs/definitions>). With the feature
/// `management`.
#[derive(Clone, Debug)]
pub struct Definitions(Map<String, Value>);

/// Why definitions are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionsError {
    /// They are not in JSON; where and why.
    #[error("definitions are in JSON: {0}")]
    NotJson(String),
    /// They are in JSON, and no object.
    #[error("definitions are an object in JSON")]
    NotAnObject,
    /// An entry cannot be imported; why, in RabbitMQ's words.
    #[error("an entry of the definitions is refused: {0}")]
    Refused(String),
    /// What they say of users and limits cannot be written to the broker's folder; why. It is in
    /// force until the broker ends.
    #[error("users and limits of the definitions cannot be kept: {0}")]
    NotKept(String),
}

impl Definitions {
    /// Reads definitions, from JSON.
    ///
    /// # Errors
    /// When they are not an object in JSON. What its entries are is seen only when they are loaded.
    pub fn parse(json: &[u8]) -> Result<Self, DefinitionsError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(all)) => Ok(Definitions(all)),
            Ok(_) => Err(DefinitionsError::NotAnObject),
            Err(error) => Err(DefinitionsError::NotJson(error.to_string())),
        }
    }

    /// The names of the users in them.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        let users = self.0.get("users").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        users.iter().filter_map(|user| user.get("name")?.as_str())
    }
}

impl Broker {
    /// Loads definitions, as RabbitMQ does with `load_definitions`: what they name is added, or
    /// changed if it is a user or a permission; queues, exchanges and bindings that are there stay
    /// as they are. With the feature `management`. What is loaded before it fails, or is cancelled,
    /// stays.
    ///
    /// # Errors
    /// When an entry is not what it has to be, or cannot be declared.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use amqp_broker::{Broker, Definitions};
    ///
    /// let broker = Broker::builder().build();
    /// let queue = br#"{"queues": [{"name": "orders", "vhost": "/", "durable": true}]}"#;
    /// broker.load_definitions(&Definitions::parse(queue)?).await?;
    /// assert!(broker.queue("/", "orders").is_some_and(|queue| queue.durable));
    /// # Ok::<(), amqp_broker::DefinitionsError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn load_definitions(&self, definitions: &Definitions) -> Result<(), DefinitionsError> {
        let service = Service {
            broker: self.clone(),
            options: HttpOptions::new(),
            samples: <std::sync::Arc<Samples>>::default(),
            checks: PasswordChecks::default(),
        };
        let imported = import::all(&service, &definitions.0).await;
        let kept = self.keep_administration().await;
        imported.map_err(|error: ApiError| DefinitionsError::Refused(error.reason()))?;
        kept.map_err(DefinitionsError::NotKept)
    }
}
