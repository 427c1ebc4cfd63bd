//! Users, passwords and permissions, which may change while the broker runs.

pub(crate) mod password;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use self::password::Password;
use crate::core::rabbitmq::access::{
    Access, Permissions,
    tags::UserTag,
    tally::{Counted, Tally},
    topics::{TopicPermissions, Topics},
};
use crate::sync::{
    Mutex, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// The user as which the broker itself acts, under RabbitMQ's name for it. It may do everything,
/// and nobody can log in as this user.
pub(crate) const INTERNAL_USER: &str = "rmq-internal";

/// The names of the limits that a user may have.
pub(crate) const MAX_CONNECTIONS: &str = "max-connections";
pub(crate) const MAX_CHANNELS: &str = "max-channels";
#[cfg(feature = "management")]
pub(crate) const USER_LIMITS: [&str; 2] = [MAX_CHANNELS, MAX_CONNECTIONS];

/// The users of a broker.
#[derive(Default)]
pub(crate) struct Users {
    all: RwLock<BTreeMap<String, User>>,
    /// The counts of those who have connected.
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
    changes: AtomicU64,
}

/// A user.
#[derive(Clone, Default)]
pub(crate) struct User {
    /// Set for a user who was added, and did not only get permissions.
    pub(crate) is_added: bool,
    /// The password; without one nobody can log in by password.
    pub(crate) password: Option<Password>,
    /// The permissions by virtual host; `None` allows everything everywhere.
    pub(crate) permissions: Option<BTreeMap<String, Permissions>>,
    /// The permissions on routing keys by virtual host and exchange.
    pub(crate) topics: BTreeMap<String, BTreeMap<String, TopicPermissions>>,
    pub(crate) tags: BTreeSet<UserTag>,
    /// The limits by name; a negative one is none.
    pub(crate) limits: BTreeMap<String, i64>,
    pub(crate) origin: Origin,
}

/// The origin of a user, with which it also goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program that the broker is a part of, while it runs.
    #[default]
    Program,
    /// The settings: it goes when they name it no longer.
    Settings,
    /// Nobody: the settings name no user.
    Default,
    /// An administrator, over HTTP: the broker's folder keeps it.
    #[cfg(feature = "management")]
    Administrator,
}

impl User {
    /// Tells whether there is such a user: topic permissions and tags alone make none.
    fn is_there(&self) -> bool {
        self.is_added || self.permissions.is_some()
    }

    /// The permissions on routing keys in a virtual host, with the names of both filled in.
    fn topics_of(&self, name: &str, vhost: &str) -> Topics {
        let topics = self.topics.get(vhost).into_iter().flatten();
        topics.map(|(exchange, topics)| (exchange.clone().into_bytes(), topics.of(name, vhost))).collect()
    }
}

impl Users {
    /// Tells whether no user was added.
    pub(crate) fn is_empty(&self) -> bool {
        !self.all.read().values().any(|user| user.is_added)
    }

    /// Adds a user, or changes or removes a user's password.
    pub(crate) fn add(&self, name: String, password: Option<String>) {
        let password = password.map(Password::new);
        self.change(|users| {
            let user = users.entry(name).or_default();
            (user.is_added, user.password) = (true, password);
        });
    }

    /// Removes a user; returns whether there was one.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.change(|users| users.remove(name).is_some())
    }

    pub(crate) fn permit(&self, user: String, vhost: String, permissions: Permissions) {
        self.change(|users| {
            let user = users.entry(user).or_default();
            user.permissions.get_or_insert_default().insert(vhost, permissions);
        });
    }

    /// Removes a user's permissions in a virtual host, so that it may not enter; returns whether it
    /// could.
    pub(crate) fn forbid(&self, user: &str, vhost: &str, all_vhosts: impl Iterator<Item = String>) -> bool {
        self.change(|users| {
            let Some(user) = users.get_mut(user) else { return false };
            // A user with all permissions everywhere keeps them in the other virtual hosts.
            let everywhere = || all_vhosts.map(|vhost| (vhost, Permissions::all())).collect();
            user.permissions.get_or_insert_with(everywhere).remove(vhost).is_some()
        })
    }

    /// Sets a user's permissions on the routing keys of an exchange.
    pub(crate) fn permit_topics(
        &self,
        user: String,
        vhost: String,
        exchange: String,
        permissions: TopicPermissions,
    ) {
        self.change(|users| {
            let topics = &mut users.entry(user).or_default().topics;
            topics.entry(vhost).or_default().insert(exchange, permissions);
        });
    }

    /// Removes a user's permissions on the routing keys of an exchange, so that all are allowed;
    /// returns whether there were some.
    pub(crate) fn clear_topics(&self, user: &str, vhost: &str, exchange: &str) -> bool {
        self.change(|users| {
            let topics = users.get_mut(user).and_then(|user| user.topics.get_mut(vhost));
            topics.is_some_and(|topics| topics.remove(exchange).is_some())
        })
    }

    /// Sets a user's tags, in place of those before.
    pub(crate) fn tag(&self, user: String, tags: BTreeSet<UserTag>) {
        self.change(|users| users.entry(user).or_default().tags = tags);
    }

    /// Notes that the users of now are those of the settings.
    pub(crate) fn are_configured(&self) {
        self.all.write().values_mut().for_each(|user| user.origin = Origin::Settings);
    }

    /// Adds the user who is there when the settings add none. What they say of this user, such as
    /// permissions, holds.
    pub(crate) fn add_default(&self, name: &str, password: &str, tag: UserTag) {
        let password = Password::new(password.to_owned());
        self.change(|users| {
            let user =
                users.entry(name.to_owned()).or_insert(User { origin: Origin::Default, ..User::default() });
            (user.is_added, user.password) = (true, Some(password));
            if user.tags.is_empty() {
                user.tags.insert(tag);
            }
        });
    }

    /// Makes the settings' users those of other settings. What was added otherwise, and these do
    /// not name, stays. The default user comes again only where settings named users before:
    /// otherwise it is there already, or somebody has deleted it. Returns the names of the users
    /// that may have changed.
    pub(crate) fn reload(&self, settings: &Users) -> BTreeSet<String> {
        let mut named = settings.all.read().clone();
        self.change(|users| {
            let had_named = users.values().any(|user| user.origin == Origin::Settings && user.is_added);
            let mut changed = BTreeSet::new();
            users.retain(|name, user| {
                let goes = matches!(user.origin, Origin::Settings | Origin::Default);
                let stays = !goes || named.contains_key(name);
                stays || !changed.insert(name.clone())
            });
            named.retain(|_, user| user.origin != Origin::Default || had_named);
            changed.extend(named.keys().cloned());
            users.extend(named);
            changed
        })
    }

    fn change<R>(&self, change: impl FnOnce(&mut BTreeMap<String, User>) -> R) -> R {
        let mut all = self.all.write();
        let result = change(&mut all);
        for (name, tally) in self.tallies.lock().iter() {
            bound(tally, all.get(name));
        }
        drop(all);
        self.changes.fetch_add(1, Ordering::AcqRel);
        result
    }

    /// Returns the counts of a user, with its limits.
    pub(crate) fn tally(&self, name: &str) -> Arc<Tally> {
        let all = self.all.read();
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(name.to_owned()).or_insert_with(|| {
            let tally = Tally::of(name);
            bound(&tally, all.get(name));
            Arc::new(tally)
        });
        Arc::clone(tally)
    }

    /// The number of changes. What was read after it is still valid while the number stays the
    /// same.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        name == INTERNAL_USER || self.all.read().get(name).is_some_and(User::is_there)
    }

    /// Tells whether the password is the user's. The comparison takes equally long however much of
    /// it is right.
    pub(crate) fn may_log_in(&self, user: &str, password: &str) -> bool {
        let password_of = |user: &User| user.password.clone();
        // The check itself is done without the lock.
        let expected = self.all.read().get(user).and_then(password_of);
        user != INTERNAL_USER && expected.is_some_and(|expected| expected.is(password))
    }

    /// A user's permissions in a virtual host; `None` when it may not enter.
    pub(crate) fn access(&self, name: &str, vhost: &str) -> Option<Access> {
        if name == INTERNAL_USER {
            let (topics, tags) = (Topics::default(), BTreeSet::new());
            return Some(Access { user: name.to_owned(), permissions: None, topics, tags });
        }
        let users = self.all.read();
        let user = users.get(name).filter(|user| user.is_there())?;
        let permissions = match &user.permissions {
            None => None,
            Some(by_vhost) => Some(by_vhost.get(vhost)?.clone()),
        };
        let (topics, tags) = (user.topics_of(name, vhost), user.tags.clone());
        Some(Access { user: name.to_owned(), permissions, topics, tags })
    }
}

/// Gives what is counted of a user the limits of the user.
fn bound(tally: &Tally, user: Option<&User>) {
    for (counted, name) in [(Counted::Connections, MAX_CONNECTIONS), (Counted::Channels, MAX_CHANNELS)] {
        tally.limit(counted, user.and_then(|user| user.limits.get(name)).copied());
    }
}

/// Users as an administrator manages them over HTTP.
#[cfg(feature = "management")]
impl Users {
    /// The user of this name, if there is one.
    pub(crate) fn get(&self, name: &str) -> Option<User> {
        self.all.read().get(name).filter(|user| user.is_there()).cloned()
    }

    /// All users, by name.
    pub(crate) fn list(&self) -> Vec<(String, User)> {
        let users = self.all.read();
        users
            .iter()
            .filter(|(_, user)| user.is_there())
            .map(|(name, user)| (name.clone(), user.clone()))
            .collect()
    }

    /// Sets a user's password and tags; a new user may do nothing in any virtual host yet. Returns
    /// whether it is new.
    pub(crate) fn put(&self, name: String, password: Option<Password>, tags: BTreeSet<UserTag>) -> bool {
        self.change(|users| {
            let is_new = !users.get(&name).is_some_and(User::is_there);
            let user = users.entry(name).or_default();
            if is_new {
                user.permissions.get_or_insert_default();
            }
            if !user.is_added || user.origin != Origin::Settings {
                user.origin = Origin::Administrator;
            }
            (user.is_added, user.password, user.tags) = (true, password, tags);
            is_new
        })
    }

    /// Adds users whom a folder has kept. The default user is one of those, or was deleted. The
    /// settings take precedence: those whom they name are as they say, and where they add any,
    /// there is no default user.
    pub(crate) fn restore(&self, kept: BTreeMap<String, User>) {
        self.change(|users| {
            users.retain(|_, user| user.origin != Origin::Default);
            let any_added = users.values().any(|user| user.is_added);
            for (name, user) in kept {
                if any_added && user.origin == Origin::Default {
                    continue;
                }
                let own = users.entry(name).or_insert_with(|| user.clone());
                // The settings may have permissions of a user whom they do not add.
                if !own.is_added {
                    let (permissions, topics) = (own.permissions.take(), std::mem::take(&mut own.topics));
                    *own = User { permissions: permissions.or(user.permissions.clone()), ..user };
                    own.topics.extend(topics);
                }
            }
        });
    }

    /// Sets a user's permissions in a virtual host; who may do everything everywhere keeps that in
    /// the others.
    pub(crate) fn permit_in(&self, user: &str, vhost: &str, permissions: Permissions, vhosts: Vec<String>) {
        self.change(|users| {
            let Some(user) = users.get_mut(user) else { return };
            let everywhere = || vhosts.into_iter().map(|vhost| (vhost, Permissions::all())).collect();
            user.permissions.get_or_insert_with(everywhere).insert(vhost.to_owned(), permissions);
        });
    }

    /// Sets a limit of a user, or removes it. What is open stays so.
    pub(crate) fn limit(&self, user: &str, name: &str, most: Option<i64>) {
        self.change(|users| {
            let Some(user) = users.get_mut(user) else { return };
            match most {
                Some(most) => drop(user.limits.insert(name.to_owned(), most)),
                None => drop(user.limits.remove(name)),
            }
        });
    }

    /// Removes what concerns a virtual host that is deleted.
    pub(crate) fn forget_vhost(&self, vhost: &str) {
        self.change(|users| {
            for user in users.values_mut() {
                if let Some(permissions) = &mut user.permissions {
                    permissions.remove(vhost);
                }
                user.topics.remove(vhost);
            }
        });
    }
}

/// A clone is independent: later changes of one do not affect the other.
impl Clone for Users {
    fn clone(&self) -> Self {
        Users {
            all: RwLock::new(self.all.read().clone()),
            tallies: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }
}

// Passwords are not shown.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all.read().keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rabbitmq::access::Act;

    #[test]
    fn only_the_right_password_logs_in_and_none_shows() {
        let users = Users::default();
        users.add("guest".to_owned(), Some("secret".to_owned()));
        assert!(users.may_log_in("guest", "secret"));
        for (user, password) in [("guest", ""), ("guest", "secretx"), ("guest", "Secret"), ("", "")] {
            assert!(!users.may_log_in(user, password), "{user}:{password}");
        }
        assert_eq!(format!("{users:?}"), "{\"guest\"}");
    }

    #[test]
    fn a_user_with_permissions_somewhere_has_none_elsewhere_and_needs_a_password_still() {
        let users = Users::default();
        users.permit("limited".to_owned(), "a".to_owned(), Permissions::new("", "", ".*").unwrap());
        users.add("all".to_owned(), Some("x".to_owned()));
        assert!(users.access("limited", "a").is_some() && users.access("limited", "b").is_none());
        assert!(users.access("all", "b").is_some() && users.access("nobody", "a").is_none());
        assert!(!users.may_log_in("limited", ""));
    }

    #[test]
    fn a_user_without_a_password_is_there_and_logs_in_with_none() {
        let users = Users::default();
        users.permit("ada".to_owned(), "/".to_owned(), Permissions::all());
        assert!(users.is_empty() && users.has("ada"));
        users.add("ada".to_owned(), None);
        assert!(!users.is_empty() && users.has("ada") && users.access("ada", "/").is_some());
        assert!(!users.may_log_in("ada", ""));
        users.add("ada".to_owned(), Some("x".to_owned()));
        assert!(users.may_log_in("ada", "x"));
        users.add("ada".to_owned(), Some(String::new()));
        assert!(!users.may_log_in("ada", ""));
        users.add("ada".to_owned(), None);
        assert!(!users.may_log_in("ada", "x"));
    }

    #[test]
    fn topic_permissions_and_tags_alone_make_no_user() {
        let users = Users::default();
        users.tag("ada".to_owned(), BTreeSet::from([UserTag::Impersonator]));
        let only_a = TopicPermissions::new("^a", "").unwrap();
        users.permit_topics("ada".to_owned(), "/".to_owned(), "e".to_owned(), only_a);
        assert!(users.is_empty() && !users.has("ada") && users.access("ada", "/").is_none());
        users.add("ada".to_owned(), Some("x".to_owned()));
        let access = users.access("ada", "/").unwrap();
        assert!(access.may_be(b"eve") && !access.allows_topic(Act::Write, b"e", b"b"));
        assert!(access.allows_topic(Act::Write, b"f", b"b"));
        assert!(users.access("ada", "other").unwrap().allows_topic(Act::Write, b"e", b"b"));
        assert!(users.clear_topics("ada", "/", "e") && !users.clear_topics("ada", "/", "e"));
        assert!(users.access("ada", "/").unwrap().allows_topic(Act::Write, b"e", b"b"));
    }

    #[test]
    fn who_may_do_everything_loses_one_virtual_host_and_keeps_the_rest() {
        let users = Users::default();
        users.add("all".to_owned(), Some("x".to_owned()));
        let vhosts = || ["a", "b"].map(str::to_owned).into_iter();
        assert!(users.forbid("all", "a", vhosts()));
        assert!(users.access("all", "a").is_none() && users.access("all", "b").is_some());
        assert!(!users.forbid("all", "a", vhosts()) && !users.forbid("nobody", "a", vhosts()));
    }

    #[test]
    fn other_settings_replace_those_users_whom_settings_name() {
        let (users, settings) = (Users::default(), Users::default());
        for name in ["stays", "goes"] {
            users.add(name.to_owned(), Some("old".to_owned()));
        }
        users.permit("stays".to_owned(), "/".to_owned(), Permissions::all());
        users.are_configured();
        users.add("visitor".to_owned(), Some("old".to_owned()));
        settings.add("stays".to_owned(), Some("new".to_owned()));
        settings.add("comes".to_owned(), Some("new".to_owned()));
        settings.are_configured();
        let changed = users.reload(&settings);
        assert_eq!(changed, ["comes", "goes", "stays"].map(str::to_owned).into());
        assert!(users.may_log_in("stays", "new") && users.may_log_in("comes", "new"));
        assert!(!users.has("goes") && users.may_log_in("visitor", "old"));
        assert!(users.access("stays", "other").is_some(), "permissions are those of the new settings");
        assert_eq!(users.reload(&Users::default()).len(), 2, "whoever came by settings goes by them");
        assert!(users.has("visitor") && !users.has("comes"));
    }

    #[test]
    fn nobody_logs_in_as_the_broker_itself() {
        let users = Users::default();
        assert!(users.has(INTERNAL_USER) && users.access(INTERNAL_USER, "/").is_some());
        users.add(INTERNAL_USER.to_owned(), Some("x".to_owned()));
        assert!(!users.may_log_in(INTERNAL_USER, "x"));
    }
}
