//! Sends the tasks that follow on a task: those of its chain, and those that are linked to it.

use std::time::Duration;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    celery::{
        tasks::{
            app::Celery,
            message::{Followers, Outgoing, after},
        },
        worker::task::call::{is_signature, time},
    },
    error::Error,
};

/// The tasks that Celery's canvas has itself.
const GROUP: &str = "celery.group";
const CHAIN: &str = "celery.chain";
const CHORD: &str = "celery.chord";

/// The levels of chains and groups in one another that are followed.
const LEVELS: usize = 32;

/// Why what follows cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error("what follows is no signature of a task")]
    Forged,
    #[error("a chord needs a backend that counts its tasks")]
    Chord,
    #[error("chains and groups are nested too deep")]
    Nested,
    #[error(transparent)]
    Send(#[from] Error),
}

/// The inheritance of tasks that follow, from the one that they follow on.
#[derive(Clone, Debug)]
pub(super) struct Heritage<'a> {
    pub(super) root: &'a str,
    pub(super) parent: &'a str,
    /// The value that comes before their arguments, unless they are immutable.
    pub(super) leading: &'a Value,
}

/// Sends a task that was embedded in another one, with what follows on it in its chain, the next
/// one last. The ids of those that were sent are added to `sent`.
pub(super) async fn send(
    app: &Celery,
    signature: &Value,
    chain: Vec<Value>,
    heritage: &Heritage<'_>,
    sent: &mut Vec<String>,
) -> Result<(), FollowError> {
    let mut outgoing = Vec::new();
    flatten(signature, chain, None, LEVELS, &mut outgoing)?;
    for (signature, chain, group) in outgoing {
        let task = embedded(app, &signature, chain, group, heritage);
        app.publish(&task).await?;
        sent.push(task.id);
    }
    Ok(())
}

/// A single task, its chain, and its place in a group.
type Single = (Value, Vec<Value>, Option<(String, i64)>);

/// Collects the single tasks that a signature begins with.
fn flatten(
    signature: &Value,
    mut chain: Vec<Value>,
    group: Option<(String, i64)>,
    levels: usize,
    singles: &mut Vec<Single>,
) -> Result<(), FollowError> {
    if !is_signature(signature) {
        return Err(FollowError::Forged);
    }
    let levels = levels.checked_sub(1).ok_or(FollowError::Nested)?;
    let tasks = || signature.get("kwargs").and_then(|kwargs| kwargs.get("tasks")).and_then(Value::as_array);
    match signature["task"].as_str() {
        Some(CHORD) => Err(FollowError::Chord),
        Some(GROUP) if !chain.is_empty() => Err(FollowError::Chord),
        Some(GROUP) => {
            let id = option(signature, "task_id").and_then(Value::as_str).map(str::to_owned);
            let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
            for (index, task) in (0..).zip(tasks().ok_or(FollowError::Forged)?) {
                flatten(task, Vec::new(), Some((id.clone(), index)), levels, singles)?;
            }
            Ok(())
        }
        Some(CHAIN) => {
            let (first, rest) = tasks().and_then(|tasks| tasks.split_first()).ok_or(FollowError::Forged)?;
            chain.extend(rest.iter().rev().cloned());
            flatten(first, chain, group, levels, singles)
        }
        _ => {
            singles.push((signature.clone(), chain, group));
            Ok(())
        }
    }
}

/// Returns the task of a signature as it is sent.
fn embedded(
    app: &Celery,
    signature: &Value,
    chain: Vec<Value>,
    group: Option<(String, i64)>,
    heritage: &Heritage<'_>,
) -> Outgoing {
    let text = |name: &str| option(signature, name).and_then(Value::as_str).map(str::to_owned);
    let name = signature["task"].as_str().unwrap_or_default();
    let own = signature.get("args").and_then(Value::as_array).into_iter().flatten();
    let is_immutable = signature.get("immutable").and_then(Value::as_bool).unwrap_or(false);
    let leading = Some(heritage.leading).filter(|_| !is_immutable);
    let pause = |name| option(signature, name).and_then(seconds).map(after);
    let at = |name: &str| text(name).as_deref().and_then(time);
    let list = |name| match option(signature, name) {
        Some(Value::Array(all)) => Value::Array(all.clone()),
        Some(one @ Value::Object(_)) => Value::Array(vec![one.clone()]),
        _ => Value::Null,
    };
    let chain = if chain.is_empty() { list("chain") } else { Value::Array(chain) };
    let (in_group, index) = group.unzip();
    Outgoing {
        name: name.to_owned(),
        id: text("task_id").unwrap_or_else(|| Uuid::new_v4().to_string()),
        args: leading.into_iter().chain(own).cloned().collect(),
        kwargs: signature.get("kwargs").and_then(Value::as_object).cloned().unwrap_or_default(),
        followers: Followers {
            callbacks: list("link"),
            errbacks: list("link_error"),
            chain,
            chord: option(signature, "chord").cloned().unwrap_or_default(),
        },
        queue: text("queue").or_else(|| text("routing_key")).unwrap_or_else(|| app.route(name).to_owned()),
        declares: true,
        priority: option(signature, "priority")
            .and_then(Value::as_u64)
            .and_then(|priority| priority.try_into().ok()),
        eta: at("eta").or_else(|| pause("countdown")),
        expires: at("expires").or_else(|| pause("expires")),
        retries: 0,
        time_limits: ["time_limit", "soft_time_limit"].map(|name| option(signature, name).and_then(seconds)),
        group: text("group_id").or(in_group),
        group_index: option(signature, "group_index").and_then(Value::as_i64).or(index),
        root_id: Some(heritage.root.to_owned()),
        parent_id: Some(heritage.parent.to_owned()),
        reply_to: text("reply_to"),
        ignores_result: option(signature, "ignore_result").and_then(Value::as_bool).unwrap_or(false),
        kept: Vec::new(),
    }
}

/// An option of a signature.
pub(super) fn option<'a>(signature: &'a Value, name: &str) -> Option<&'a Value> {
    signature.get("options").and_then(Value::as_object).and_then(|options: &Map<_, _>| options.get(name))
}

fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn singles(signature: &Value) -> Result<Vec<Single>, FollowError> {
        let mut singles = Vec::new();
        flatten(signature, Vec::new(), None, LEVELS, &mut singles).map(|()| singles)
    }

    #[test]
    fn chains_and_groups_begin_with_single_tasks() {
        let task = |name: &str| json!({"task": name, "args": [], "kwargs": {}, "options": {}});
        let group = json!({
            "task": GROUP,
            "kwargs": {"tasks": [task("a"), {"task": CHAIN, "kwargs": {"tasks": [task("b"), task("c"), task("d")]}}]},
            "options": {"task_id": "g"},
        });
        let singles_of = singles(&group).unwrap();
        let shown: Vec<_> =
            singles_of.iter().map(|(one, rest, group)| (&one["task"], rest.len(), group.clone())).collect();
        let place = |index| Some(("g".to_owned(), index));
        assert_eq!(shown, [(&json!("a"), 0, place(0)), (&json!("b"), 2, place(1))]);
        assert_eq!(singles_of[1].1[1]["task"], "c");
        let mut deep = task("a");
        for _ in 0..=LEVELS {
            deep = json!({"task": CHAIN, "kwargs": {"tasks": [deep]}});
        }
        assert!(matches!(singles(&deep), Err(FollowError::Nested)));
        for forged in [json!(7), json!({"task": GROUP}), json!({"task": CHAIN, "kwargs": {"tasks": []}})] {
            assert!(matches!(singles(&forged), Err(FollowError::Forged)), "{forged}");
        }
        assert!(matches!(singles(&task(CHORD)), Err(FollowError::Chord)));
    }
}
