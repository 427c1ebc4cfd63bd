//! Users and permissions.

use serde_json::{Value, json};

use crate::users::{User, password::Password};

/// A user with the hash of its password.
pub(crate) fn user(name: &str, user: &User) -> Value {
    let hash = user.password.as_ref().map(Password::hash);
    let tags: Vec<_> = user.tags.iter().map(|tag| tag.name()).collect();
    json!({
        "hashing_algorithm": hash.as_ref().map_or("rabbit_password_hashing_sha256", |(_, by)| by.name()),
        "limits": user.limits,
        "name": name,
        "password_hash": hash.map_or_else(String::new, |(hash, _)| hash),
        "tags": tags,
    })
}

/// The permissions of a user in the virtual hosts of a list. One without any of its own has all
/// permissions in all of them.
pub(crate) fn permissions(name: &str, user: &User, vhosts: &[String]) -> Vec<Value> {
    let shown = |vhost: &str, [configure, write, read]: [&str; 3]| json!({ "configure": configure, "read": read, "user": name, "vhost": vhost, "write": write });
    match &user.permissions {
        None => vhosts.iter().map(|vhost| shown(vhost, [".*"; 3])).collect(),
        Some(own) => {
            let own = own.iter().filter(|(vhost, _)| vhosts.contains(vhost));
            own.map(|(vhost, permissions)| shown(vhost, permissions.texts())).collect()
        }
    }
}

/// The permissions of a user on routing keys.
pub(crate) fn topic_permissions(name: &str, user: &User, vhosts: &[String]) -> Vec<Value> {
    let mut all = Vec::new();
    for (vhost, topics) in user.topics.iter().filter(|(vhost, _)| vhosts.contains(vhost)) {
        for (exchange, permissions) in topics {
            let [write, read] = permissions.texts();
            all.push(json!({
                "exchange": exchange,
                "read": read,
                "user": name,
                "vhost": vhost,
                "write": write,
            }));
        }
    }
    all
}
