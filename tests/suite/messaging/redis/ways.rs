//! The ways to a Redis: its URL, options with a hook, a broker in this process, a broker's URL.

use std::sync::{Arc, Mutex};

use amqp_broker::{
    Broker, Listener,
    redis::{Redis as Backend, RedisLogin, RedisOptions},
};
use messaging::{Error, Exchange, Outcome, RetryPolicy, Transport, TransportOptions};
use tests::Redis;

use super::super::fixture::within;

/// A broker with a Redis as the virtual host `/`, and one in memory.
async fn broker(url: &str) -> (Broker, Listener, String) {
    let backend = Backend::new(RedisOptions::parse(url).unwrap());
    let broker = Broker::builder().backend("/", backend).vhost("memory").build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}", listener.local_addr());
    (broker, listener, url)
}

/// A transport for each way.
async fn ways(url: &str) -> (Vec<(&'static str, Transport)>, Listener) {
    let (broker, listener, amqp) = broker(url).await;
    let options = RedisOptions::parse(url).unwrap().credentials(RedisLogin::default);
    let ways = vec![
        ("URL", within(Transport::connect(url)).await.unwrap()),
        ("options", TransportOptions::new().on_redis(options).unwrap()),
        ("broker here", Transport::on(&broker)),
        ("broker's URL", within(Transport::connect(&amqp)).await.unwrap()),
    ];
    (ways, listener)
}

#[tokio::test]
async fn events_of_celery_have_a_fanout_exchange_on_a_redis_whichever_way_leads_there() {
    let test = concat!(
        module_path!(),
        "::events_of_celery_have_a_fanout_exchange_on_a_redis_whichever_way_leads_there"
    );
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let (ways, _listener) = ways(&redis.url(0)).await;
    let mut receivers = Vec::new();
    let patterns = async || -> u32 {
        let count = redis.ask("PUBSUB NUMPAT").await.unwrap();
        count.trim_matches([':', '\r', '\n']).parse().unwrap()
    };
    for (nth, (way, transport)) in ways.iter().enumerate() {
        let control = transport.celery().event_exchange(format!("events{nth}"));
        let before = patterns().await;
        receivers.push(within(control.events().start()).await.unwrap());
        assert!(patterns().await > before, "{way}: a fanout exchange is a channel");
    }
    let (_broker, _other, amqp) = broker(&redis.url(0)).await;
    let elsewhere = within(Transport::connect(&format!("{amqp}/memory"))).await.unwrap();
    let _events = within(elsewhere.celery().events().start()).await.unwrap();
    let topic = Exchange::topic("celeryev").durable(true);
    within(elsewhere.producer(topic).ensure_publish("x", &1)).await.expect("the same exchange");
}

#[tokio::test]
async fn a_nack_for_want_of_replicas_leaves_it_open_whichever_way_it_comes() {
    let test = concat!(module_path!(), "::a_nack_for_want_of_replicas_leaves_it_open_whichever_way_it_comes");
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let url = format!("{}?wait_replicas=1&wait_replicas_timeout=0.05", redis.url(0));
    for (way, transport) in ways(&url).await.0 {
        let producer = transport.producer(Exchange::default()).retry(RetryPolicy::never());
        let published = within(producer.ensure_publish("jobs", &1)).await;
        let Err(Error::Undelivered(told)) = published else { panic!("{way}: no replica has it") };
        assert_eq!(told.outcome, Outcome::Unknown, "{way}");
    }
}

#[tokio::test]
async fn a_hook_is_asked_again_for_the_login_of_a_transport_that_lasts() {
    let test = concat!(module_path!(), "::a_hook_is_asked_again_for_the_login_of_a_transport_that_lasts");
    if !Redis::require(test) {
        return;
    }
    let redis = Redis::start().await.unwrap();
    for user in ["old", "new"] {
        redis.ask(&format!("ACL SETUSER {user} on >secret ~* &* +@all")).await.unwrap();
    }
    let user = Arc::new(Mutex::new("old".to_owned()));
    let asked = Arc::clone(&user);
    let options = RedisOptions::parse(&redis.url(0)).unwrap();
    let options =
        options.reauth_check_interval(std::time::Duration::from_millis(10)).credentials(move || RedisLogin {
            user: Some(asked.lock().unwrap().clone()),
            password: Some("secret".to_owned()),
        });
    let transport = TransportOptions::new().on_redis(options).unwrap();
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish("jobs", &1)).await.unwrap();
    let users =
        async |name: &str| redis.ask("CLIENT LIST").await.unwrap().matches(&format!("user={name} ")).count();
    assert!(users("old").await >= 2, "commands and announcements");
    *user.lock().unwrap() = "new".to_owned();
    within(async { while users("old").await > 0 {} }).await;
    assert!(users("new").await >= 2);
    redis.ask("ACL DELUSER old").await.unwrap();
    within(producer.ensure_publish("jobs", &2)).await.unwrap();
    assert_eq!(transport.metrics().reconnects, 0);
    within(transport.close()).await.unwrap();
}
