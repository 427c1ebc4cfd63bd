//! Workers of ours run tasks of Celery.

mod malformed;
mod runs;
mod setting;
mod together;

use tests::{Python, Redis};

use self::setting::Setting;

/// The same tests on each broker.
macro_rules! on_every_broker {
    ($($file:ident::$name:ident),* $(,)?) => {
        mod embedded {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                super::$file::$name(Setting::embedded(python).await).await;
            })*
        }

        mod redis {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                if Redis::require(test) {
                    super::$file::$name(Setting::redis(python).await).await;
                }
            })*
        }

        mod rabbitmq {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                let Some(node) = tests::Node::require(test) else { return };
                super::$file::$name(Setting::new(python, node.uri().to_owned()).await).await;
            })*
        }
    };
}

on_every_broker! {
    runs::results_and_failures_are_those_of_python,
    runs::limits_end_tasks,
    runs::tasks_wait_expire_and_are_revoked,
    runs::tasks_of_both_follow_one_another,
    runs::of_many_tasks_none_is_lost,
    malformed::malformed_messages_run_nothing_and_end_nothing,
    malformed::what_nobody_can_run_can_be_set_aside,
    together::workers_of_both_share_a_queue,
    together::celerys_tools_show_the_worker,
    together::no_task_is_lost_with_a_killed_worker,
}
