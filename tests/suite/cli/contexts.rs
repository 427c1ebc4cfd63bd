//! `amqp context`, and where the broker and the password come from.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::fixture::{Broker, Ended, ended};

/// Runs the program without AMQP_URL.
async fn run(broker: &Broker, line: &[&str], environment: &[(&str, &str)]) -> Ended {
    let mut command = broker.command(line);
    command.env_remove("AMQP_URL").envs(environment.iter().copied());
    ended(command.spawn().unwrap()).await
}

#[tokio::test]
async fn a_context_names_a_url_whose_password_is_elsewhere() {
    let broker = Broker::embedded().await;
    let queue = broker.queue_with("contexts", &["body"]).await;
    let url = broker.url().replace("guest:guest@", "guest@");
    let secret = broker.home().join("secret");
    fs::write(&secret, "guest\nmore\n").unwrap();
    let secret = secret.to_str().unwrap();
    run(&broker, &["context", "add", "file", &url, "--password-file", secret], &[]).await.done();
    run(&broker, &["context", "add", "variable", &url, "--password-variable", "SECRET"], &[]).await.done();
    run(&broker, &["context", "add", "wrong", &url, "--password-variable", "SECRET"], &[]).await.done();
    let get = |context| ["get", &queue, "--then", "requeue", "--context", context];
    assert_eq!(run(&broker, &get("file"), &[]).await.done(), "body\n");
    assert_eq!(run(&broker, &get("variable"), &[("SECRET", "guest")]).await.done(), "body\n");
    let unset = run(&broker, &get("variable"), &[]).await;
    assert_eq!(unset.code, 2);
    assert!(unset.stderr.contains("the variable SECRET for the password is not set"), "{unset:?}");
    let wrong = run(&broker, &get("wrong"), &[("SECRET", "se:cr@et")]).await;
    assert_eq!(wrong.code, 4);
    assert!(!wrong.stderr.contains("cr@et") && !wrong.stderr.contains("cr%40et"), "{wrong:?}");
    let missing = run(&broker, &get("missing"), &[]).await;
    assert!(missing.code == 2 && missing.stderr.contains("there is no context missing"), "{missing:?}");

    let get = ["get", &queue, "--then", "requeue"];
    run(&broker, &["context", "use", "file"], &[]).await.done();
    assert_eq!(run(&broker, &get, &[]).await.done(), "body\n");
    assert_eq!(run(&broker, &get, &[("AMQP_CONTEXT", "wrong"), ("SECRET", "x")]).await.code, 4);
    assert_eq!(run(&broker, &get, &[("AMQP_CONTEXT", "wrong"), ("AMQP_URL", broker.url())]).await.code, 0);
    let list = run(&broker, &["context", "list", "--json"], &[]).await.done();
    let first: serde_json::Value = serde_json::from_str(list.lines().next().unwrap()).unwrap();
    assert_eq!((&first["name"], &first["current"]), (&"file".into(), &true.into()));
    run(&broker, &["context", "remove", "file"], &[]).await.done();
    let left = run(&broker, &["context", "list"], &[]).await.done();
    assert!(!left.contains("file") && left.contains("variable"), "{left}");
}

#[tokio::test]
async fn a_password_is_kept_only_when_that_is_asked_for_and_never_shown() {
    let broker = Broker::embedded().await;
    let queue = broker.queue_with("kept", &["body"]).await;
    let refused = run(&broker, &["context", "add", "a", broker.url()], &[]).await;
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("--keep-password") && !refused.stderr.contains("guest:guest"),
        "{refused:?}"
    );
    run(&broker, &["context", "add", "a", broker.url(), "--keep-password"], &[]).await.done();
    let get = ["get", &queue, "--context", "a", "--then", "requeue"];
    assert_eq!(run(&broker, &get, &[]).await.done(), "body\n");
    for options in [&[][..], &["--json"]] {
        let list = run(&broker, &[&["context", "list"], options].concat(), &[]).await.done();
        assert!(list.contains("guest:***@") && !list.contains("guest:guest"), "{list}");
    }
    let file = broker.home().join(".config/amqp/contexts.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&file, "[contexts.a]\nurl = \"amqp://u:secret@h\n").unwrap();
    let damaged = run(&broker, &get, &[]).await;
    assert_eq!(damaged.code, 6);
    assert!(damaged.stderr.contains("line 2") && !damaged.stderr.contains("secret"), "{damaged:?}");
}

#[tokio::test]
async fn an_unreachable_broker_and_a_wrong_url_are_told_without_the_password() {
    let broker = Broker::embedded().await;
    for (url, code) in [
        ("amqp://u:se%20cret@127.0.0.1:1/v", 4),
        ("amqp://u:se/cret@127.0.0.1:1/v", 2),
        ("amqp://u:secret@127.0.0.1:x/v", 2),
        ("nope://u:secret@127.0.0.1/v", 2),
    ] {
        let refused = run(&broker, &["get", "q", "--url", url], &[]).await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(!refused.stderr.contains("cret"), "{refused:?}");
    }
}
