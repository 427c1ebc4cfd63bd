//! Importing definitions.

use amqp_codec::{
    ShortString,
    method::{exchange, queue},
};
use serde_json::{Map, Value};

use super::parameters;
use crate::{
    core::{rabbitmq::term::binary, vhost::Vhost},
    management::{
        amqp::direct::{Direct, short},
        answer::{
            api_error::ApiError,
            query::{boolean, text},
            table::table,
        },
        api::{limits, permissions, policies, users, vhosts},
        observed::walk,
        service::Service,
    },
    users::{INTERNAL_USER, USER_LIMITS},
};

/// An entry of a list in definitions.
type Entry = Map<String, Value>;

/// The entries of a list in definitions.
fn entries<'a>(definitions: &'a Map<String, Value>, name: &str) -> Vec<&'a Entry> {
    let list = definitions.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_object).collect()
}

fn name_of<'a>(entry: &'a Entry, key: &str) -> Result<&'a str, ApiError> {
    text(entry, key)?.ok_or(ApiError::bad(format!("[{{key_missing,{key}}}]")))
}

/// Imports definitions whole: users, virtual hosts and permissions, and what is declared.
///
/// # Errors
/// When an entry is not what it has to be. What stands before it is imported then.
pub(super) async fn all(service: &Service, body: &Map<String, Value>) -> Result<(), ApiError> {
    let broker = &service.broker;
    for user in entries(body, "users") {
        let (tags, password) = (users::tags(user)?, users::password(user)?);
        let (name, users) = (name_of(user, "name")?, &broker.inner.config.users);
        users.put(name.to_owned(), password, tags);
        if let Some(Value::Object(all)) = user.get("limits") {
            for (limit, most) in limits::limits(&USER_LIMITS, all, "user-limits").map_err(ApiError::bad)? {
                users.limit(name, &limit, Some(most));
            }
        }
    }
    for vhost in entries(body, "vhosts") {
        let (name, description) = (name_of(vhost, "name")?, vhosts::description(vhost)?);
        let created = broker.create_vhost(name).await;
        created.map_err(|error| ApiError::bad(error.to_string()))?;
        vhosts::describe(service, name, description);
    }
    for entry in entries(body, "permissions") {
        let (user, vhost) = (name_of(entry, "user")?, name_of(entry, "vhost")?);
        permissions::known(service, vhost, user)?;
        broker.permit_in(user, vhost, permissions::permissions(entry)?);
    }
    for entry in entries(body, "topic_permissions") {
        let (user, vhost) = (name_of(entry, "user")?, name_of(entry, "vhost")?);
        permissions::known(service, vhost, user)?;
        let (exchange, topics) = permissions::topic_permissions(entry)?;
        broker.set_topic_permissions(user, vhost, exchange, topics);
    }
    for entry in entries(body, "global_parameters") {
        let value = entry.get("value").cloned().unwrap_or_default();
        broker.inner.parameters.put(name_of(entry, "name")?.to_owned(), value);
    }
    topology(service, body, None).await
}

/// Declares what definitions contain, in the virtual host that each entry names, or in this one.
/// Like RabbitMQ, the broker does that itself: whoever imports needs no permissions for it.
///
/// # Errors
/// When an entry is not what it has to be, or cannot be declared.
pub(super) async fn topology(
    service: &Service,
    body: &Map<String, Value>,
    vhost: Option<&str>,
) -> Result<(), ApiError> {
    let place = |entry: &Entry| match vhost {
        Some(vhost) => Ok(vhost.to_owned()),
        None => name_of(entry, "vhost").map(str::to_owned),
    };
    for entry in entries(body, "policies") {
        let policy = policies::policy(name_of(entry, "name")?, entry, false)?;
        service.broker.set_policy(&place(entry)?, policy).map_err(policies::invalid)?;
    }
    for entry in entries(body, "parameters") {
        parameters::set(service, &place(entry)?, entry)?;
    }
    let mut importer = Importer { service, open: None };
    for entry in entries(body, "queues") {
        importer.declare_queue(&place(entry)?, entry).await?;
    }
    for entry in entries(body, "exchanges") {
        importer.declare_exchange(&place(entry)?, entry).await?;
    }
    for entry in entries(body, "bindings") {
        importer.bind(&place(entry)?, entry).await?;
    }
    importer.close().await;
    Ok(())
}

/// Declares things, on a connection to the virtual host that they are in.
struct Importer<'a> {
    service: &'a Service,
    open: Option<(String, Direct)>,
}

impl Importer<'_> {
    async fn at(&mut self, vhost: &str) -> Result<&mut Direct, ApiError> {
        if self.open.as_ref().is_none_or(|(open, _)| open != vhost) {
            if let Some((_, direct)) = self.open.take() {
                direct.close().await;
            }
            let direct = Direct::open(&self.service.broker, INTERNAL_USER, vhost).await?;
            self.open = Some((vhost.to_owned(), direct));
        }
        match &mut self.open {
            Some((_, direct)) => Ok(direct),
            None => Err(ApiError::NotFound),
        }
    }

    /// Looks into a virtual host; what it has is never there if it does not exist.
    fn has(&self, vhost: &str, has: impl FnOnce(&Vhost) -> bool) -> bool {
        let host = walk::host(&self.service.broker, vhost);
        host.is_some_and(|host| host.with(|_, shared| has(&shared.vhost)))
    }

    /// Declares a queue. What is there stays as it is.
    async fn declare_queue(&mut self, vhost: &str, entry: &Entry) -> Result<(), ApiError> {
        let declare = queue::Declare {
            queue: short(name_of(entry, "name")?)?,
            durable: boolean(entry, "durable")?,
            auto_delete: boolean(entry, "auto_delete")?,
            arguments: table(entry.get("arguments"))?,
            ..Default::default()
        };
        if !self.has(vhost, |vhost| vhost.has_queue(declare.queue.as_bytes())) {
            self.at(vhost).await?.call(declare).await?;
        }
        Ok(())
    }

    /// Declares an exchange. What is there stays as it is, and so do predeclared ones.
    async fn declare_exchange(&mut self, vhost: &str, entry: &Entry) -> Result<(), ApiError> {
        let name = name_of(entry, "name")?;
        if name.starts_with("amq.") || self.has(vhost, |vhost| vhost.has_exchange(name.as_bytes())) {
            return Ok(());
        }
        let declare = exchange::Declare {
            exchange: short(name)?,
            kind: short(name_of(entry, "type")?)?,
            durable: boolean(entry, "durable")?,
            auto_delete: boolean(entry, "auto_delete")?,
            internal: boolean(entry, "internal")?,
            arguments: table(entry.get("arguments"))?,
            ..Default::default()
        };
        self.at(vhost).await?.call(declare).await.map(drop)
    }

    /// Binds a queue or an exchange. A binding of something that is not there is passed over or
    /// refused, as by the version that the broker is like.
    async fn bind(&mut self, vhost: &str, entry: &Entry) -> Result<(), ApiError> {
        let (source, destination) =
            (short(name_of(entry, "source")?)?, short(name_of(entry, "destination")?)?);
        let (routing_key, arguments) =
            (short(name_of(entry, "routing_key")?)?, table(entry.get("arguments"))?);
        let to_exchange = name_of(entry, "destination_type")? == "exchange";
        let has_destination = self.has(vhost, |vhost| match to_exchange {
            true => vhost.has_exchange(destination.as_bytes()),
            false => vhost.has_queue(destination.as_bytes()),
        });
        let has_source = self.has(vhost, |vhost| vhost.has_exchange(source.as_bytes()));
        let of_destination = (if to_exchange { "exchange" } else { "queue" }, &destination);
        for (is_there, (kind, name)) in
            [(has_source, ("exchange", &source)), (has_destination, of_destination)]
        {
            if is_there {
                continue;
            }
            let passes_over = self.service.broker.inner.config.profile().passes_over_lost_bindings;
            return if passes_over { Ok(()) } else { Err(missing(vhost, kind, name)) };
        }
        let direct = self.at(vhost).await?;
        match to_exchange {
            true => {
                let bind =
                    exchange::Bind { destination, source, routing_key, arguments, ..Default::default() };
                direct.call(bind).await.map(drop)
            }
            false => {
                let (queue, exchange) = (destination, source);
                let bind = queue::Bind { queue, exchange, routing_key, arguments, ..Default::default() };
                direct.call(bind).await.map(drop)
            }
        }
    }

    async fn close(self) {
        if let Some((_, direct)) = self.open {
            direct.close().await;
        }
    }
}

/// The error of something that a binding names and that is not there, as an Erlang term, which is
/// what RabbitMQ 4.0 answers.
fn missing(vhost: &str, kind: &str, name: &ShortString) -> ApiError {
    let (vhost, name) = (binary(vhost.as_bytes()), binary(name.as_bytes()));
    ApiError::bad(format!("{{resources_missing,[{{not_found,{{resource,{vhost},{kind},{name}}}}}]}}"))
}
