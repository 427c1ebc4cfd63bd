//! Users, virtual hosts and permissions, which refer to each other. A misspelt name is an error,
//! because it would leave a user with all permissions or lock one out.

use std::collections::BTreeSet;

use crate::{broker::BrokerBuilder, core::rabbitmq::version::RabbitMq};

use super::{
    error::SettingsError, grant::Grant, policy_setting::PolicySetting, tagged_user::TaggedUser,
    topic_grant::TopicGrant, user::User,
};

/// The longest name that a client can send: a short string (spec section 4.2.5.3).
const LONGEST_NAME: usize = 255;
/// The user that exists when no user is configured. As in RabbitMQ, it may log in from loopback
/// only.
pub(super) const DEFAULT_USER: &str = "guest";
const DEFAULT_VHOST: &str = "/";

/// The settings of users and virtual hosts.
#[derive(Default)]
pub(super) struct AccessSettings<'a> {
    pub(super) users: &'a [User],
    pub(super) without_password: &'a [String],
    /// Whether clients may authenticate by certificate.
    pub(super) has_certificates: bool,
    pub(super) anonymous: Option<&'a str>,
    /// The loopback users; one empty name means none: `--loopback-users ''`.
    pub(super) loopback_users: Option<&'a [String]>,
    pub(super) vhosts: &'a [String],
    pub(super) grants: Vec<Grant>,
    pub(super) topic_grants: Vec<TopicGrant>,
    pub(super) policies: &'a [PolicySetting],
    /// The version that the broker is like.
    pub(super) like: RabbitMq,
    /// Whether the default virtual host's other side is a Redis.
    pub(super) has_redis: bool,
    pub(super) tagged: Vec<TaggedUser>,
}

impl AccessSettings<'_> {
    /// Passes the settings to a builder.
    ///
    /// # Errors
    /// When a permission is not a regular expression, a tag is unknown, a policy is invalid, or
    /// something is repeated, refers to an unknown name, or is impossible.
    pub(super) fn tell(&self, mut builder: BrokerBuilder) -> Result<BrokerBuilder, SettingsError> {
        for grant in &self.grants {
            builder = builder.permissions(&grant.user, &grant.vhost, grant.permissions()?);
        }
        for topics in &self.topic_grants {
            let TopicGrant { user, vhost, exchange, .. } = topics;
            builder = builder.topic_permissions(user, vhost, exchange, topics.permissions()?);
        }
        for policy in self.policies {
            builder = builder.policy(&policy.vhost, policy.policy(self.like)?);
        }
        for tagged in &self.tagged {
            builder = builder.user_tags(&tagged.user, tagged.tags()?);
        }
        self.check()?;
        self.warn();
        let users = self.users.iter();
        builder = users.fold(builder, |builder, user| builder.user(&user.name, &user.password));
        let users = self.without_password.iter();
        builder = users.fold(builder, BrokerBuilder::user_without_password);
        builder = self.vhosts.iter().fold(builder, BrokerBuilder::vhost);
        if self.loopback_users.is_some() {
            builder = builder.loopback_users(self.loopback_names());
        }
        Ok(match self.anonymous {
            Some(user) => builder.anonymous(user),
            None => builder,
        })
    }

    fn loopback_names(&self) -> impl Iterator<Item = &String> {
        self.loopback_users.unwrap_or_default().iter().filter(|name| !name.is_empty())
    }

    fn check(&self) -> Result<(), SettingsError> {
        let users = self.all_users()?;
        let vhosts = self.all_vhosts()?;
        self.check_grants(&users, &vhosts)?;
        self.check_topic_grants(&users, &vhosts)?;
        self.check_tags(&users)?;
        self.check_policies(&vhosts)?;
        if let Some(user) = self.anonymous {
            known("--anonymous is", user, &users)?;
        }
        // The default user may be named even if the operator configures others.
        let mut named = self.loopback_names().filter(|user| *user != DEFAULT_USER);
        named.try_for_each(|user| known("--loopback-users names", user, &users))
    }

    /// Warns of users who have no way to log in.
    fn warn(&self) {
        let is_anonymous = |user: &str| self.anonymous == Some(user);
        for user in self.without_password.iter().filter(|user| !self.has_certificates && !is_anonymous(user))
        {
            let why = "it has no password, and there are no --tls-client-authorities to know it by";
            tracing::warn!("nobody logs in as user '{user}': {why}");
        }
    }

    fn all_users(&self) -> Result<BTreeSet<&str>, SettingsError> {
        if let Some(user) = self.users.iter().find(|user| user.password.is_empty()) {
            return Err(SettingsError::EmptyPassword(user.name.clone()));
        }
        let names = self.users.iter().map(|user| &user.name).chain(self.without_password);
        let users = each_once(names.map(String::as_str), SettingsError::UserTwice)?;
        match users.contains("") {
            true => Err(SettingsError::NamelessUser),
            false if users.is_empty() => Ok(BTreeSet::from([DEFAULT_USER])),
            false => Ok(users),
        }
    }

    fn all_vhosts(&self) -> Result<BTreeSet<&str>, SettingsError> {
        let vhosts = each_once(self.vhosts.iter().map(String::as_str), SettingsError::VhostTwice)?;
        let unusable = |vhost: &&&str| vhost.is_empty() || vhost.len() > LONGEST_NAME;
        match vhosts.iter().find(unusable) {
            Some(vhost) => Err(SettingsError::UnusableVhost((*vhost).to_owned())),
            None if vhosts.is_empty() => Ok(BTreeSet::from([DEFAULT_VHOST])),
            None => Ok(vhosts),
        }
    }

    fn check_grants(&self, users: &BTreeSet<&str>, vhosts: &BTreeSet<&str>) -> Result<(), SettingsError> {
        let mut seen = BTreeSet::new();
        for Grant { user, vhost, .. } in &self.grants {
            known("permissions are for", user, users)?;
            known_vhost(user, vhost, vhosts)?;
            if !seen.insert((user, vhost)) {
                return Err(SettingsError::PermissionsTwice { user: user.clone(), vhost: vhost.clone() });
            }
        }
        Ok(())
    }

    fn check_topic_grants(
        &self,
        users: &BTreeSet<&str>,
        vhosts: &BTreeSet<&str>,
    ) -> Result<(), SettingsError> {
        let mut seen = BTreeSet::new();
        for TopicGrant { user, vhost, exchange, .. } in &self.topic_grants {
            known("topic permissions are for", user, users)?;
            known_vhost(user, vhost, vhosts)?;
            if !seen.insert((user, vhost, exchange)) {
                let (user, vhost, exchange) = (user.clone(), vhost.clone(), exchange.clone());
                return Err(SettingsError::TopicPermissionsTwice { user, vhost, exchange });
            }
        }
        Ok(())
    }

    fn check_tags(&self, users: &BTreeSet<&str>) -> Result<(), SettingsError> {
        let tagged = || self.tagged.iter().map(|tagged| tagged.user.as_str());
        tagged().try_for_each(|user| known("tags are for", user, users))?;
        each_once(tagged(), SettingsError::TagsTwice).map(drop)
    }

    fn check_policies(&self, vhosts: &BTreeSet<&str>) -> Result<(), SettingsError> {
        let mut seen = BTreeSet::new();
        for PolicySetting { name, vhost, operator, .. } in self.policies {
            let (named, of) = (name.clone(), vhost.clone());
            if !vhosts.contains(vhost.as_str()) {
                let vhosts = list(vhosts);
                return Err(SettingsError::PolicyOfUnknownVhost { name: named, vhost: of, vhosts });
            }
            if self.has_redis && vhost == DEFAULT_VHOST {
                return Err(SettingsError::PolicyForRedis(named));
            }
            if !seen.insert((name, vhost, operator)) {
                return Err(SettingsError::PolicyTwice { name: named, vhost: of });
            }
        }
        Ok(())
    }
}

fn known(what: &'static str, user: &str, users: &BTreeSet<&str>) -> Result<(), SettingsError> {
    match users.contains(user) {
        true => Ok(()),
        false => Err(SettingsError::UnknownUser { what, user: user.to_owned(), users: list(users) }),
    }
}

fn known_vhost(user: &str, vhost: &str, vhosts: &BTreeSet<&str>) -> Result<(), SettingsError> {
    if vhosts.contains(vhost) {
        return Ok(());
    }
    let (user, vhost) = (user.to_owned(), vhost.to_owned());
    Err(SettingsError::UnknownVhost { user, vhost, vhosts: list(vhosts) })
}

/// The names as a set; a repeated one is an error.
fn each_once<'a>(
    names: impl Iterator<Item = &'a str>,
    twice: impl FnOnce(String) -> SettingsError,
) -> Result<BTreeSet<&'a str>, SettingsError> {
    let mut all = BTreeSet::new();
    for name in names {
        if !all.insert(name) {
            return Err(twice(name.to_owned()));
        }
    }
    Ok(all)
}

fn list(names: &BTreeSet<&str>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, password: &str) -> User {
        User { name: name.to_owned(), password: password.to_owned() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// The error of these settings, if there is one.
    fn refused(users: &[User], without: &[&str], vhosts: &[&str], grants: &[&str]) -> Option<String> {
        let (without, vhosts, grants) = (names(without), names(vhosts), Grant::from_words(&names(grants)));
        let access = AccessSettings {
            users,
            without_password: &without,
            vhosts: &vhosts,
            grants,
            ..AccessSettings::default()
        };
        access.check().err().map(|error| error.to_string())
    }

    #[test]
    fn permissions_are_for_users_and_virtual_hosts_that_are_there() {
        assert_eq!(refused(&[], &[], &[], &["guest", "/", "", "", ""]), None);
        assert_eq!(refused(&[user("ada", "x")], &["eve"], &["a"], &["eve", "a", "", "", ""]), None);
        let error = refused(&[user("ada", "x")], &["eve"], &[], &["eva", "/", "", "", ""]).unwrap();
        assert_eq!(
            error,
            "permissions are for user 'eva', but there is no such user: the users are 'ada', 'eve'"
        );
        let error = refused(&[], &[], &["a", "b"], &["guest", "/", "", "", ""]).unwrap();
        assert!(error.contains("user 'guest'") && error.contains("virtual host '/'"), "{error}");
        assert!(error.ends_with("the virtual hosts are 'a', 'b'"), "{error}");
    }

    #[test]
    fn nothing_is_said_twice() {
        let twice = [user("ada", "x"), user("ada", "y")];
        assert_eq!(refused(&twice, &[], &[], &[]).unwrap(), "user 'ada' is given more than once");
        assert!(refused(&twice[..1], &["ada"], &[], &[]).unwrap().contains("'ada' is given more than once"));
        assert!(
            refused(&[], &[], &["a", "a"], &[]).unwrap().contains("virtual host 'a' is given more than once")
        );
        let grants = ["guest", "/", "a", "", "", "guest", "/", "b", "", ""];
        let error = refused(&[], &[], &[], &grants).unwrap();
        assert_eq!(error, "permissions of user 'guest' in virtual host '/' are given more than once");
    }

    #[test]
    fn nameless_users_empty_passwords_and_unusable_virtual_hosts_are_refused() {
        assert!(
            refused(&[user("ada", "")], &[], &[], &[]).unwrap().contains("user 'ada' has an empty password")
        );
        assert_eq!(refused(&[user("", "x")], &[], &[], &[]).unwrap(), "a user has no name");
        assert_eq!(refused(&[], &[""], &[], &[]).unwrap(), "a user has no name");
        assert!(refused(&[], &[], &[""], &[]).unwrap().contains("from 1 to 255 bytes"));
        assert!(refused(&[], &[], &[&"x".repeat(256)], &[]).is_some());
        assert_eq!(refused(&[], &[], &[&"x".repeat(255)], &[]), None);
    }

    #[test]
    fn who_anonymous_clients_and_those_of_this_machine_are_is_known() {
        let (users, loopback) = ([user("ada", "x")], names(&["guest", "adda"]));
        let mut access =
            AccessSettings { users: &users, anonymous: Some("adda"), ..AccessSettings::default() };
        let error = access.check().unwrap_err().to_string();
        assert_eq!(error, "--anonymous is user 'adda', but there is no such user: the users are 'ada'");
        (access.anonymous, access.loopback_users) = (Some("ada"), Some(&loopback[..]));
        let error = access.check().unwrap_err().to_string();
        assert!(error.starts_with("--loopback-users names user 'adda', but"), "{error}");
        access.loopback_users = Some(&loopback[..1]);
        assert_eq!(access.check(), Ok(()));
    }

    /// The error of these topic permissions and tags for the users `guest` and `ada`.
    fn refused_of_topics(topics: &[&str], tags: &[&str]) -> Option<String> {
        let users = [user("guest", "x"), user("ada", "x")];
        let access = AccessSettings {
            users: &users,
            topic_grants: TopicGrant::from_words(&names(topics)),
            tagged: TaggedUser::from_words(&names(tags)),
            ..AccessSettings::default()
        };
        access.tell(crate::broker::Broker::builder()).err().map(|error| error.to_string())
    }

    #[test]
    fn topic_permissions_are_for_users_and_virtual_hosts_that_are_there_and_once() {
        let given = ["ada", "/", "e", "^a", "", "ada", "/", "f", "^a", "", "guest", "/", "e", "", ""];
        assert_eq!(refused_of_topics(&given, &[]), None);
        let error = refused_of_topics(&["eve", "/", "e", "", ""], &[]).unwrap();
        assert!(
            error.starts_with("topic permissions are for user 'eve', but there is no such user"),
            "{error}"
        );
        let error = refused_of_topics(&["ada", "x", "e", "", ""], &[]).unwrap();
        assert!(error.starts_with("permissions of user 'ada' are for virtual host 'x', but"), "{error}");
        let error = refused_of_topics(&["ada", "/", "e", "", "", "ada", "/", "e", "a", ""], &[]).unwrap();
        let topics = "topic permissions of user 'ada' in virtual host '/' on exchange 'e'";
        assert_eq!(error, format!("{topics} are given more than once"));
        let error = refused_of_topics(&["ada", "/", "e", "^a", "{username}("], &[]).unwrap();
        assert_eq!(error, format!("{topics}: \"{{username}}(\" is not a regular expression: unclosed group"));
    }

    #[test]
    fn tags_are_known_and_for_users_that_are_there_and_once() {
        assert_eq!(refused_of_topics(&[], &["ada", "impersonator,management", "guest", ""]), None);
        let error = refused_of_topics(&[], &["ada", "impersonater"]).unwrap();
        assert!(error.starts_with("tags of user 'ada': \"impersonater\" is no tag of users"), "{error}");
        let error = refused_of_topics(&[], &["eve", "impersonator"]).unwrap();
        assert!(error.starts_with("tags are for user 'eve', but there is no such user"), "{error}");
        let error = refused_of_topics(&[], &["ada", "", "ada", "impersonator"]).unwrap();
        assert_eq!(error, "tags of user 'ada' are given more than once");
    }
}
