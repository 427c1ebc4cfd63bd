//! A policy, from the file.

use crate::core::rabbitmq::{
    policies::policy::{Policy, PolicyTarget},
    version::RabbitMq,
};
use amqp_codec::{Table, Value};
use serde::Deserialize;

use super::error::SettingsError;

/// A policy of a virtual host.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct PolicySetting {
    pub(super) name: String,
    #[serde(default = "default_vhost")]
    pub(super) vhost: String,
    pattern: String,
    /// The name of its target: `all`, `queues` and so on.
    apply_to: Option<String>,
    #[serde(default)]
    priority: i64,
    /// Set for an operator policy.
    #[serde(default)]
    pub(super) operator: bool,
    definition: toml::Table,
}

fn default_vhost() -> String {
    "/".to_owned()
}

impl PolicySetting {
    /// The policy as a broker takes it that is like a version of RabbitMQ.
    ///
    /// # Errors
    /// When it applies to nothing that is known, its pattern is not a regular expression, or its
    /// definition is none of that version.
    pub(super) fn policy(&self, version: RabbitMq) -> Result<Policy, SettingsError> {
        let target = match &self.apply_to {
            None => PolicyTarget::default(),
            Some(name) => {
                let unknown =
                    || SettingsError::BadPolicyTarget { name: self.name.clone(), target: name.clone() };
                PolicyTarget::named(name).ok_or_else(unknown)?
            }
        };
        let definition = self.definition()?;
        let policy = match self.operator {
            true => Policy::for_operators(&self.name, &self.pattern, definition),
            false => Policy::new(&self.name, &self.pattern, definition),
        };
        let bad = |why| SettingsError::BadPolicy { name: self.name.clone(), why };
        let policy = policy.map_err(bad)?;
        policy.check_for(version).map_err(bad)?;
        Ok(policy.apply_to(target).priority(self.priority))
    }

    fn definition(&self) -> Result<Table, SettingsError> {
        let mut table = Table::new();
        for (key, value) in &self.definition {
            let value = match value {
                toml::Value::String(text) => Some(Value::LongString(text.as_str().into())),
                toml::Value::Integer(number) => Some(Value::I64(*number)),
                toml::Value::Boolean(flag) => Some(Value::Bool(*flag)),
                toml::Value::Float(number) => Some(Value::F64(*number)),
                // No setting that has an effect has such a value.
                toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
            };
            // A key of a policy is far shorter than one that does not fit.
            let added = value.is_some_and(|value| table.insert(key, value).is_ok());
            if !added {
                return Err(SettingsError::BadPolicySetting { name: self.name.clone(), key: key.clone() });
            }
        }
        Ok(table)
    }
}
