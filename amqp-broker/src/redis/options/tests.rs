//! URLs and options, as kombu 5.7 reads them.

use std::time::Duration;

use super::*;
use crate::{backend::QueueOrder, kombu::envelope::BodyEncoding, redis::wire::Keys};

fn parse(url: &str) -> RedisOptions {
    RedisOptions::parse(url).unwrap()
}

fn refused(url: &str) -> String {
    RedisOptions::parse(url).unwrap_err().to_string()
}

fn tcp(host: &str, port: u16) -> Server {
    Server::Tcp(host.to_owned(), port)
}

fn login(user: Option<&str>, password: Option<&str>) -> RedisLogin {
    RedisLogin { user: user.map(str::to_owned), password: password.map(str::to_owned) }
}

#[test]
fn a_url_tells_server_database_and_login() {
    for (url, server, database) in [
        ("redis://h:1/3", tcp("h", 1), 3),
        ("redis://h:1//3", tcp("h", 1), 3),
        ("redis://h", tcp("h", 6379), 0),
        ("redis://h/", tcp("h", 6379), 0),
        ("redis://h:/", tcp("h", 6379), 0),
        ("redis://", tcp("127.0.0.1", 6379), 0),
        ("REDIS://u:p%40@h%61/%33", tcp("ha", 6379), 3),
        ("redis://[::1]:5/4", tcp("::1", 5), 4),
        ("rediss://h/1", tcp("h", 6379), 1),
        ("redis://h?virtual_host=4", tcp("h", 6379), 4),
        ("redis+socket:///tmp/x%20y.sock?virtual_host=2", Server::Socket("/tmp/x y.sock".into()), 2),
        ("redis+socket://u:p@/run/redis.sock", Server::Socket("/run/redis.sock".into()), 0),
    ] {
        let options = parse(url);
        assert_eq!((options.server, options.database), (server, database), "{url}");
    }
    for (url, expected) in [
        ("redis://h", login(None, None)),
        ("redis://:p@ss@h", login(None, Some("p@ss"))),
        ("redis://u@h", login(Some("u"), None)),
        ("redis://u%3A:p%2F%3F@h", login(Some("u:"), Some("p/?"))),
        ("redis+socket://u:p@/run/redis.sock", login(Some("u"), Some("p"))),
    ] {
        assert_eq!(parse(url).login, expected, "{url}");
    }
}

#[test]
fn sentinels_need_the_name_of_a_master() {
    let options =
        parse("sentinel://u:p@a/2;sentinel://[::1]:7;sentinel://u:p@b/2?master_name=m&min_other_sentinels=1");
    let sentinels = [("a", 26379), ("::1", 7), ("b", 26379)].map(|(host, port)| (host.to_owned(), port));
    assert_eq!(options.server, Server::Sentinels(sentinels.to_vec()));
    assert_eq!((options.database, options.min_other_sentinels), (2, 1));
    assert_eq!((options.login.clone(), options.check()), (login(Some("u"), Some("p")), Ok(())));

    let nameless = parse("sentinel://a");
    assert_eq!(nameless.check(), Err(RedisOptionsError::MissingMasterName));
    assert_eq!(nameless.master_name("m").check(), Ok(()));
    assert_eq!(parse("redis://a").check(), Ok(()));

    for url in
        ["sentinel://a;sentinel://b/3", "sentinel://a;sentinel://:p@b", "sentinel://:q@a;sentinel://:p@b"]
    {
        assert!(refused(url).contains("belong into the URL of the first sentinel"), "{url}");
    }
    assert!(refused("sentinel://a;redis://b").contains("mixed"));
    assert!(refused("redis://a;redis://b").contains("only sentinels can be several"));
}

#[test]
fn the_sentinels_own_login_is_read() {
    let options =
        parse("sentinel://a").set("sentinel_kwargs", r#"{"password":"x","username":"y","ssl":true}"#);
    let options = options.unwrap();
    assert_eq!((options.sentinel_login, options.sentinel_tls), (login(Some("y"), Some("x")), true));
    let refused = |arguments: &str| RedisOptions::default().set("sentinel_kwargs", arguments).unwrap_err();
    let mistyped = refused(r#"{"password":"hunter2","passwort":{"a":"hunter3"}}"#);
    assert_eq!(mistyped, RedisOptionsError::UnknownSentinelOption("passwort".to_owned()));
    for error in [mistyped, refused(r#"{"password":["hunter2"]}"#), refused(r#"{"password":"hunter2"#)] {
        assert!(error.to_string().contains("sentinel_kwargs"), "{error}");
        assert!(!error.to_string().contains("hunter"), "{error}");
    }
    for (value, time) in [("0.5", Some(Duration::from_millis(500))), ("null", None)] {
        let arguments = format!(r#"{{"socket_timeout":{value}}}"#);
        assert_eq!(parse("sentinel://a").set("sentinel_kwargs", &arguments).unwrap().sentinel_timeout, time);
    }
    assert!(parse("sentinel://a").set("sentinel_kwargs", r#"{"socket_timeout":-1}"#).is_err());
}

#[test]
fn tls_with_sentinels_is_read_and_has_the_masters_files_by_default() {
    let master = "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_cert_reqs=none";
    let with = |arguments: &str| parse(master).set("sentinel_kwargs", arguments).unwrap().tls_to_sentinels();
    assert_eq!(with(r#"{"username":"y"}"#), None);
    assert_eq!(with(r#"{"ssl":false,"ssl_ca_certs":"/own.pem"}"#), None);
    let files = |ca: &str, certificate: &str, key: Option<&str>| RedisTls {
        ca_certs: Some(ca.into()),
        certfile: Some(certificate.into()),
        keyfile: key.map(Into::into),
        ..RedisTls::default()
    };
    assert_eq!(with(r#"{"ssl":true}"#), Some(files("/ca.pem", "/c.pem", Some("/k.pem"))), "and verifies");
    assert_eq!(with(r#"{"ssl_ca_certs":"/own.pem"}"#), Some(files("/own.pem", "/c.pem", Some("/k.pem"))));
    assert_eq!(with(r#"{"ssl_certfile":"/own.pem"}"#), Some(files("/ca.pem", "/own.pem", None)));
    let lax = with(r#"{"ssl_cert_reqs":"CERT_NONE","ssl_check_hostname":false}"#).unwrap();
    assert_eq!((lax.verify, lax.check_hostname), (false, false));
    let own = r#"{"ssl_cert_reqs":"maybe"}"#;
    assert!(RedisOptions::default().set("sentinel_kwargs", own).is_err());
}

#[test]
fn a_database_is_a_whole_number() {
    for path in ["x", "//3", "-1", "+3", "1.5", "3/", "99999999999", "3%20"] {
        assert_eq!(
            RedisOptions::parse(&format!("redis://h/{path}")).unwrap_err(),
            RedisOptionsError::InvalidDatabase
        );
    }
}

#[test]
fn tls_is_on_where_anything_of_it_is_set() {
    assert_eq!(parse("redis://h").tls, None);
    assert_eq!(parse("rediss://h").tls, Some(RedisTls::default()));
    assert_eq!(parse("redis://h?ssl=true").tls, Some(RedisTls::default()));
    let options = parse(
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
    );
    let expected = RedisTls {
        verify: false,
        check_hostname: false,
        ca_certs: Some("/ca.pem".into()),
        ca_data: None,
        certfile: Some("/c.pem".into()),
        keyfile: Some("/k.pem".into()),
    };
    assert_eq!(options.tls, Some(expected));
    assert!(parse("sentinel://h?ssl_cert_reqs=CERT_REQUIRED").tls.unwrap().verify);
    assert!(refused("rediss://h?ssl=false").contains("rediss:// is TLS"));
}

#[test]
fn kombus_options_are_read_by_their_names() {
    let options = parse(
        "redis://h?visibility_timeout=1.5&unacked_key=u&unacked_index_key=i&unacked_mutex_key=m\
         &unacked_mutex_expire=3&unacked_restore_interval=4&unacked_restore_throttle=0&unacked_restore_limit=6\
         &polling_interval=1&brpop_timeout=2&priority_steps=[0,+5]&sep=%3A&queue_order_strategy=sorted\
         &fanout_prefix=/x.&fanout_patterns=False&global_keyprefix={app}:&deadletter_queue=dead",
    );
    assert_eq!(options.visibility_timeout, Duration::from_millis(1500));
    assert_eq!(options.unacked_mutex_expire, Duration::from_secs(3));
    assert_eq!(options.restore_period(), Duration::from_secs(4));
    assert_eq!(options.unacked_restore_limit, Some(6));
    assert_eq!(options.queue_order_strategy, QueueOrder::Sorted);
    assert_eq!(options.deadletter_queue.as_deref(), Some("dead"));
    let keys = Keys::new(options.key_options());
    assert_eq!(keys.lists("q"), ["{app}:q", "{app}:q:5"]);
    assert_eq!(
        [keys.unacked(), keys.unacked_index(), keys.unacked_mutex()],
        ["{app}:u", "{app}:i", "{app}:m"]
    );
    assert_eq!(keys.channel("x", "k"), "{app}:/x.x");

    let options = parse(
        "redis://h?socket_timeout=1&socket_connect_timeout=2&socket_keepalive=true&health_check_interval=0\
         &retry_on_timeout=1&max_connections=20&client_name=me&protocol=3&reauth_check_interval=5\
         &body_encoding=utf-8&sentinel_fanout_compat=true&ack_emulation=true\
         &higher_first=true&wait_replicas=1&wait_replicas_timeout=0.25&scripting=false",
    );
    assert_eq!(options.socket_timeout, Some(Duration::from_secs(1)));
    assert_eq!(options.socket_connect_timeout, Some(Duration::from_secs(2)));
    assert!(options.socket_keepalive && options.retry_on_timeout && options.resp3 && options.higher_first);
    assert!(options.sentinel_fanout_compat && !options.scripting);
    assert_eq!((options.health_check_interval, options.max_connections), (Duration::ZERO, 20));
    assert_eq!(options.client_name.as_deref(), Some("me"));
    assert_eq!(options.reauth_check_interval, Duration::from_secs(5));
    assert_eq!(options.body_encoding, BodyEncoding::Utf8);
    assert_eq!((options.wait_replicas, options.wait_replicas_timeout), (1, Duration::from_millis(250)));
}

#[test]
fn the_times_of_keep_alive_are_read_by_name_and_by_number() {
    let read = |value: &str| RedisOptions::default().set("socket_keepalive_options", value);
    let named = read(r#"{"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}"#).unwrap();
    assert_eq!(named.keep_alive, read(r#"{"4": 60, "5": 5, "6": 3}"#).unwrap().keep_alive);
    assert_ne!(named.keep_alive, read(r#"{"4": 60}"#).unwrap().keep_alive);
    assert!(named.tcp_settings().keepalive().is_none());
    assert!(named.socket_keepalive(true).tcp_settings().keepalive().is_some());
    for wrong in [r#"{"4": 0}"#, r#"{"7": 1}"#, r#"{"4": "x"}"#, "60", ""] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.contains("TCP_KEEPIDLE"), "{wrong}: {error}");
    }
}

#[test]
fn defaults_are_kombus() {
    let options = RedisOptions::default();
    let keys = Keys::new(options.key_options());
    assert_eq!(keys.list("q", 9), "q\x06\x169");
    assert_eq!(keys.channel("x", "k"), "/0.x/k");
    assert_eq!(options.restore_period(), Duration::from_secs(100));
    let zero = options.clone().unacked_restore_interval(Duration::ZERO);
    assert_eq!(zero.restore_period(), Duration::from_secs(100));
    assert_eq!(options.visibility_timeout, Duration::from_secs(3600));
    let no_prefix = options.set("fanout_prefix", "False").unwrap();
    assert_eq!(Keys::new(no_prefix.key_options()).channel("x", ""), "x");
}

#[test]
fn an_option_that_there_is_not_and_a_value_that_is_none_are_named() {
    assert_eq!(
        refused("redis://h?visibilty_timeout=1"),
        "the Redis transport has no option `visibilty_timeout`"
    );
    assert_eq!(refused("redis://h?ssl_crl=1"), "the Redis transport has no option `ssl_crl`");
    for (query, expected) in [
        ("visibility_timeout=soon", "`visibility_timeout` of the Redis transport takes a number of seconds"),
        ("visibility_timeout=-1", "`visibility_timeout` of the Redis transport takes a number of seconds"),
        (
            "health_check_interval=NaN",
            "`health_check_interval` of the Redis transport takes a number of seconds",
        ),
        ("max_connections=1.5", "`max_connections` of the Redis transport takes a whole number"),
        ("fanout_patterns=2", "`fanout_patterns` of the Redis transport takes true or false"),
        ("priority_steps=", "`priority_steps` of the Redis transport takes numbers from 0 to 9"),
        ("priority_steps=0,10", "`priority_steps` of the Redis transport takes numbers from 0 to 9"),
        ("sep=", "`sep` of the Redis transport takes a text that is not empty"),
        ("protocol=4", "`protocol` of the Redis transport takes 2 or 3"),
        ("queue_order_strategy=x", "takes round_robin, priority or sorted"),
        ("body_encoding=x", "takes base64 or utf-8"),
        ("ack_emulation=false", "takes true: messages are always claimed"),
        ("ssl_cert_reqs=x", "takes required, optional or none"),
    ] {
        let error = refused(&format!("redis://h?{query}"));
        assert!(error.contains(expected), "{query}: {error}");
    }
}

#[test]
fn options_of_kombu_without_effect_here_are_accepted_if_their_values_are_right() {
    let options = parse(
        "redis://h?max_retries=3&interval_start=0&interval_step=0.2&interval_max=1&connect_timeout=4\
         &connect_retries_timeout=None&heartbeat=10&insist=false&login_method=PLAIN\
         &failover_strategy=shuffle",
    );
    assert_eq!(format!("{options:?}"), format!("{:?}", parse("redis://h")));
    let options = parse("redis://h?ssl_validate_ocsp=false&ssl_validate_ocsp_stapled=0");
    assert_eq!(options.tls, Some(RedisTls::default()));
    for option in ["max_retries=many", "interval_start=-1", "interval_max=x", "connect_timeout=soon"] {
        assert!(refused(&format!("redis://h?{option}")).contains("takes a"), "{option}");
    }
}

#[test]
fn options_of_kombu_that_cannot_have_their_effect_are_refused_by_name_with_the_reason() {
    for (option, reason) in [
        ("credential_provider=a.B", "to Redis::new or TransportOptions::on_redis"),
        ("retry_on_error=x", "`retry_on_timeout` repeats commands"),
        ("retry=x", "`retry_on_timeout` repeats commands"),
        ("errback=x", "a function cannot be in a URL"),
        ("password=hunter2", "it belongs in front of the host"),
        ("ssl_ca_path=/certs", "name a file by `ssl_ca_certs`"),
        ("ssl_password=hunter2", "name an unencrypted one by `ssl_keyfile`"),
        ("ssl_min_version=771", "it is TLS 1.2"),
        ("ssl_ciphers=x", "rustls chooses"),
        ("ssl_validate_ocsp=true", "rustls asks no OCSP"),
        ("ssl_include_verify_flags=1", "flags of OpenSSL"),
    ] {
        let error = refused(&format!("redis://h?{option}"));
        let name = option.split('=').next().unwrap();
        assert!(error.starts_with(&format!("the option `{name}` has no place in a URL")), "{error}");
        assert!(error.contains(reason) && !error.contains("hunter2"), "{option}: {error}");
    }
}

#[test]
fn other_schemes_are_refused() {
    assert!(refused("sqs://h").contains("amqp_broker::backend::Backend"));
    assert!(refused("redis+cluster://h").contains("Redis Cluster"));
    assert!(refused("http://h").contains("the scheme is \"http\""));
    assert!(refused("").contains("it is empty"));
    assert!(refused("h:6379").contains("it has no scheme"));
    assert!(refused(" redis://h").contains("white space"));
}

#[test]
fn no_error_and_no_debug_output_contains_a_password() {
    for url in [
        "redis://u:hunter2/x@h",
        "redis://u:hunter2?x@h",
        "redis://u:p@hunter2/x@h",
        "redis://u:hunter2",
        "redis://:hunter2@h/x",
        "redis://:hunter2@h:port",
        "redis://u:hunter2@[::1",
        "redis://:hunter2@h?nothing=1",
        "redis://:hunter2@h;redis://h",
        "redis://:x;hunter2@h",
        "sentinel://:hunter2@a;sentinel://b/3",
        "u:hunter2@h://x",
        "hunter2 ://x",
        "redis://u:%ffhunter2@h",
    ] {
        let error = RedisOptions::parse(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}: {error}");
    }
    let options = parse("redis://u:hunter2@h")
        .set("sentinel_kwargs", r#"{"password":"hunter2"}"#)
        .unwrap()
        .credentials(|| RedisLogin { user: None, password: Some("hunter2".to_owned()) });
    assert!(!format!("{options:?}").contains("hunter2"));
    assert_eq!(options.current_login().password.as_deref(), Some("hunter2"));
}

#[test]
fn the_login_is_asked_for_each_time() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let options = parse("redis://fixed:x@h").credentials(move || RedisLogin {
        user: Some(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string()),
        password: None,
    });
    let users = [0, 1].map(|_| options.current_login().user.unwrap());
    assert_eq!(users, ["0", "1"]);
}

#[test]
fn setters_take_the_place_of_the_url() {
    let options =
        parse("redis://h/1").database(2).visibility_timeout(Duration::from_secs(1)).global_keyprefix("p:");
    assert_eq!((options.database, options.global_keyprefix.as_str()), (2, "p:"));
    assert!(options.clone().priority_steps(&[0, 10]).is_err());
    assert!(options.clone().priority_steps(&[]).is_err());
    let options = options.priority_steps(&[0, 9]).unwrap();
    assert_eq!(Keys::new(options.key_options()).lists("q").len(), 2);
}
