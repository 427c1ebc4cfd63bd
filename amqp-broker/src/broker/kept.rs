//! What administrators set over HTTP, kept in the broker's folder: users and what they may do,
//! limits, descriptions of virtual hosts, and global parameters. Virtual hosts, policies and what
//! is declared are kept otherwise.

use std::{collections::BTreeMap, sync::Arc};

use amqp_codec::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Broker;
use crate::{
    core::rabbitmq::access::{Permissions, topics::TopicPermissions},
    server::instance::Instance,
    store::{DataError, Folder},
    users::{
        Origin, User,
        password::{HashAlgorithm, Password},
    },
};

/// The version of the file.
const FORMAT: u32 = 1;

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    users: BTreeMap<String, KeptUser>,
    vhosts: BTreeMap<String, KeptVhost>,
    global_parameters: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct KeptUser {
    /// Set for the user who is there because the settings add none.
    is_default: bool,
    /// The algorithm and the salted hash.
    password: Option<(String, String)>,
    tags: Vec<String>,
    limits: BTreeMap<String, i64>,
    /// What the user may configure, write and read by virtual host; everything everywhere if it is
    /// `None`.
    permissions: Option<BTreeMap<String, [String; 3]>>,
    /// The keys that the user may write and read by virtual host and exchange.
    topic_permissions: BTreeMap<String, BTreeMap<String, [String; 2]>>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct KeptVhost {
    description: String,
    tags: Vec<String>,
    limits: BTreeMap<String, i64>,
}

impl Kept {
    fn of(instance: &Instance) -> Self {
        let config = &instance.config;
        let users = config.users.list().into_iter();
        let vhosts = config.vhosts.all().into_iter().filter_map(|name| {
            let settings = config.vhosts.settings(&name)?;
            let kept =
                KeptVhost { description: settings.description, tags: settings.tags, limits: settings.limits };
            (kept != KeptVhost::default()).then_some((name, kept))
        });
        Kept {
            format: FORMAT,
            users: users.filter_map(|(name, user)| Some((name, KeptUser::of(&user)?))).collect(),
            vhosts: vhosts.collect(),
            global_parameters: instance.parameters.all(),
        }
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// When it is not what it has to be; why.
    fn parse(content: &[u8]) -> Result<Self, String> {
        let kept: Kept = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        match kept.format {
            FORMAT => Ok(kept),
            other => Err(format!("its format is {other}, and this version knows {FORMAT}")),
        }
    }

    /// Sets what it has, where the settings do not say otherwise.
    fn restore(self, broker: &Broker) -> Result<(), String> {
        let (instance, mut users) = (&broker.inner, BTreeMap::new());
        for (name, kept) in self.users {
            let user = kept.user().map_err(|why| format!("user `{name}`: {why}"))?;
            users.insert(name, user);
        }
        instance.config.users.restore(users);
        for (name, kept) in self.vhosts {
            instance.config.vhosts.change(&name, |settings| {
                (settings.description, settings.tags) = (kept.description, kept.tags);
            });
            if instance.config.vhosts.has(&name) {
                broker.limit_vhost(&name, kept.limits);
            }
        }
        self.global_parameters.into_iter().for_each(|(name, value)| {
            instance.parameters.put(name, value);
        });
        Ok(())
    }
}

impl KeptUser {
    /// Returns what is kept of a user; `None` for one whom the settings or the program make anew.
    fn of(user: &User) -> Option<Self> {
        let is_default = match user.origin {
            Origin::Default => true,
            Origin::Administrator => false,
            Origin::Settings | Origin::Program => return None,
        };
        let permissions = user.permissions.as_ref().map(|permissions| {
            let texts = |permissions: &Permissions| permissions.texts().map(str::to_owned);
            permissions.iter().map(|(vhost, permissions)| (vhost.clone(), texts(permissions))).collect()
        });
        let topics = user.topics.iter().map(|(vhost, topics)| {
            let texts = |topics: &TopicPermissions| topics.texts().map(str::to_owned);
            let topics = topics.iter().map(|(exchange, topics)| (exchange.clone(), texts(topics)));
            (vhost.clone(), topics.collect())
        });
        Some(KeptUser {
            is_default,
            password: user.password.as_ref().map(|password| {
                let (hash, algorithm) = password.hash();
                (algorithm.name().to_owned(), hash)
            }),
            tags: user.tags.iter().map(|tag| tag.name().to_owned()).collect(),
            limits: user.limits.clone(),
            permissions,
            topic_permissions: topics.collect(),
        })
    }

    /// Returns the user.
    ///
    /// # Errors
    /// When something is not what it has to be; what.
    fn user(self) -> Result<User, String> {
        let password = self.password.map(|(algorithm, hash)| {
            let known = HashAlgorithm::named(&algorithm);
            known.and_then(|known| Password::from_hash(known, &hash)).ok_or("its password is no hash")
        });
        let tags = self.tags.iter().map(|tag| tag.parse().map_err(|_| format!("`{tag}` is no tag")));
        let permissions = self.permissions.map(|permissions| {
            let each = permissions.into_iter().map(|(vhost, [configure, write, read])| {
                Ok((vhost, Permissions::new(&configure, &write, &read).map_err(|error| error.to_string())?))
            });
            each.collect::<Result<_, String>>()
        });
        let mut topics = BTreeMap::<String, BTreeMap<_, _>>::new();
        for (vhost, exchanges) in self.topic_permissions {
            for (exchange, [write, read]) in exchanges {
                let keys = TopicPermissions::new(&write, &read).map_err(|error| error.to_string())?;
                topics.entry(vhost.clone()).or_default().insert(exchange, keys);
            }
        }
        Ok(User {
            is_added: true,
            password: password.transpose()?,
            permissions: permissions.transpose()?,
            topics,
            tags: tags.collect::<Result<_, _>>()?,
            limits: self.limits,
            origin: if self.is_default { Origin::Default } else { Origin::Administrator },
        })
    }
}

impl Broker {
    /// Sets what administrators set when the folder was in use before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn restore_administration(&self) -> Result<(), DataError> {
        let Some(folder) = self.inner.folder() else { return Ok(()) };
        let Some(content) = folder.administration()? else { return Ok(()) };
        let restored = Kept::parse(&content).and_then(|kept| kept.restore(self));
        restored.map_err(|why| folder.misunderstood(&why))?;
        *self.inner.kept_changes.lock() = changes(&self.inner);
        Ok(())
    }

    /// Writes what administrators have set to the folder, if there is one and something has changed
    /// since the last time; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; why. What was written before is still there then.
    ///
    /// # Cancel safety
    /// It is written all the same.
    pub(crate) async fn keep_administration(&self) -> Result<(), String> {
        let Some(folder) = self.inner.folder() else { return Ok(()) };
        let instance = Arc::clone(&self.inner);
        let written = tokio::task::spawn_blocking(move || write(&instance, &folder)).await;
        let why = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Report(&error).to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!("what administrators have set is not in the folder: {why}");
        Err(why)
    }
}

/// The number of changes to what is kept.
fn changes(instance: &Instance) -> u64 {
    let config = &instance.config;
    config.users.changes() + config.vhosts.changes() + instance.parameters.changes()
}

/// Writes what administrators have set, unless the folder has it already.
fn write(instance: &Instance, folder: &Folder) -> Result<(), DataError> {
    let mut kept = instance.kept_changes.lock();
    // What changes from here on is written the next time.
    let changes = changes(instance);
    if *kept == changes {
        return Ok(());
    }
    let content = serde_json::to_vec_pretty(&Kept::of(instance));
    folder.set_administration(&content.map_err(|error| folder.misunderstood(&error.to_string()))?)?;
    *kept = changes;
    Ok(())
}
