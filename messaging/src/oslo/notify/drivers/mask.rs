//! Masking of secrets in logged notifications, as oslo.utils does it.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};
use serde_json::Value;

const MASK: &str = "***";

/// Parts of names, in lower case. A name that contains one of them is the name of a secret, for
/// example `auth_token` because of `token`.
const SECRETS: [&str; 29] = [
    "admin_pass",
    "adminpass",
    "barbicansimplecryptokek",
    "cephadminkey",
    "cephclientkey",
    "cephclusterfsid",
    "cephmanilaclientkey",
    "cephmdskey",
    "cephmonkey",
    "cephrgwkey",
    "configdrive",
    "designaterndckey",
    "encrypted_key",
    "fernetkey",
    "heatauthencryptionkey",
    "keystonecredential",
    "migrationsshkey",
    "new_pass",
    "octaviaheartbeatkey",
    "pacemakerremoteauthkey",
    "passphrase",
    "password",
    "private_key",
    "rabbitcookie",
    "secret",
    "sslkey",
    "swifthashsuffix",
    "sys_pswd",
    "token",
];

/// Whether the value under this name is secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// Masks the secrets in a value. An object under the name of a secret is searched and not masked
/// whole, as in Python.
pub(super) fn mask(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries.iter_mut() {
                if !value.is_object() && is_secret(name) {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::String(text) => {
            if let Cow::Owned(masked) = mask_text(text) {
                *text = masked;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Masks the parts of a text that look like a secret.
fn mask_text(text: &str) -> Cow<'_, str> {
    if !is_secret(text) {
        return Cow::Borrowed(text);
    }
    // Without the patterns, the whole text is masked.
    let Some(patterns) = &*PATTERNS else { return Cow::Borrowed(MASK) };
    let masked = patterns.iter().fold(text.to_owned(), |text, pattern| {
        let replace = |found: &Captures<'_>| {
            let part = |number| found.get(number).map_or("", |part| part.as_str());
            format!("{}{MASK}{}", part(1), part(2))
        };
        pattern.replace_all(&text, replace).into_owned()
    });
    Cow::Owned(masked)
}

/// Patterns for the text before a secret, the secret, and the text after it.
static PATTERNS: LazyLock<Option<Vec<Regex>>> = LazyLock::new(|| {
    let name = format!(r"(?:{})\w*", SECRETS.join("|"));
    let patterns = [
        // key="secret", 'key': 'secret', "key": u'secret'
        format!(r#"({name}["']?\s*[=:]\s*u?["'])[^"']*(["'])"#),
        // key=secret
        format!(r#"({name}\s*=\s*)[^\s"']+()"#),
        // key 'secret'
        format!(r#"({name}\s+["'])[^"']*(["'])"#),
        // --key secret
        format!(r#"(--[\w-]*{name}\s+)[^'"=\s]+()"#),
        // <key>secret</key>
        format!(r"(<\w*{name}>)[^<]*(</)"),
    ];
    patterns.iter().map(|pattern| Regex::new(&format!("(?is){pattern}")).ok()).collect()
});

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_by_name_and_in_texts() {
        let mut value = json!({
            "Admin_Password1": ["a", "b"], "user": "alice", "n": 1, "none": null,
            "nested": [{"auth_token": 5}, "x"], "token": {"id": "seen", "secret": "s"},
            "command": "run --admin_password hunter2 --user bob", "assigned": "password=hunter2 user=bob",
            "quoted": "{'adminPass': 'hunter2', \"original_password\": \"hunter3\"}",
            "xml": "<password>hunter2</password>", "words": "secret 'hunter2'", "plain": "a word about tokens",
        });
        mask(&mut value);
        assert_eq!(
            value,
            json!({
                "Admin_Password1": "***", "user": "alice", "n": 1, "none": null,
                "nested": [{"auth_token": "***"}, "x"], "token": {"id": "seen", "secret": "***"},
                "command": "run --admin_password *** --user bob", "assigned": "password=*** user=bob",
                "quoted": "{'adminPass': '***', \"original_password\": \"***\"}",
                "xml": "<password>***</password>", "words": "secret '***'", "plain": "a word about tokens",
            })
        );
    }
}
