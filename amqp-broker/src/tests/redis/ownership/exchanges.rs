//! Exchanges that go with their last binding.

use super::{Setting, binding, exchange, queue};
use crate::backend::{BackendError, ExchangeDeclaration, ExchangeKind, Link, Published};

fn passing(name: &str, kind: ExchangeKind) -> ExchangeDeclaration {
    ExchangeDeclaration { auto_delete: true, ..exchange(name, kind) }
}

#[tokio::test]
async fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let test = "an_auto_delete_exchange_goes_with_its_last_binding";
    let Some(setting) = Setting::new(test).await else { return };
    for kind in [ExchangeKind::Direct, ExchangeKind::Fanout, ExchangeKind::Topic] {
        let (mut client, mut other) = (setting.open().await, setting.open().await);
        client.link.declare_exchange(&passing("x", kind)).await.unwrap();
        client.link.find_exchange("x").await.expect("one without bindings stays");
        for name in ["p", "q"] {
            client.link.declare_queue(&queue(name, &[])).await.unwrap();
            client.bind("x", "k", name).await;
        }
        other.link.unbind(&binding("x", "none", "p")).await.unwrap();
        client.link.unbind(&binding("x", "k", "p")).await.unwrap();
        other.link.find_exchange("x").await.unwrap();
        client.link.delete_queue("q").await.unwrap();
        assert!(matches!(other.link.find_exchange("x").await, Err(BackendError::NotFound(_))));
        assert!(matches!(client.publish("x", "k", "m").await, Published::Refused(BackendError::NotFound(_))));
        assert_eq!(setting.ask::<Vec<String>>(&["KEYS", "_kombu*"]).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn bindings_of_kombu_keep_an_exchange() {
    let Some(setting) = Setting::new("bindings_of_kombu_keep_an_exchange").await else { return };
    let mut client = setting.open().await;
    client.link.declare_exchange(&passing("x", ExchangeKind::Fanout)).await.unwrap();
    client.link.declare_queue(&queue("q", &[])).await.unwrap();
    client.bind("x", "", "q").await;
    let _: () = setting.ask(&["SADD", "_kombu.binding.x", "\x06\x16\x06\x16of kombu"]).await;
    client.link.delete_queue("q").await.unwrap();
    client.link.find_exchange("x").await.unwrap();
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.x"]).await, 1);
}

#[tokio::test]
async fn an_exchange_stays_that_is_not_to_go() {
    let Some(setting) = Setting::new("an_exchange_stays_that_is_not_to_go").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.link.declare_queue(&queue("q", &[])).await.unwrap();
    client.bind("x", "k", "q").await;
    client.link.unbind(&binding("x", "k", "q")).await.unwrap();
    client.link.find_exchange("x").await.unwrap();
}

#[tokio::test]
async fn an_exchange_goes_when_its_bindings_have_expired() {
    let test = "an_exchange_goes_when_its_bindings_have_expired";
    let Some(setting) = Setting::new(test).await else { return };
    let (mut gone, mut client) = (setting.open().await, setting.open().await);
    for name in ["x", "bound for ever", "not yet"] {
        gone.link.declare_exchange(&passing(name, ExchangeKind::Direct)).await.unwrap();
        gone.declare("q", &[("x-expires", 60_000.into())]).await;
        gone.bind(name, "k", "q").await;
    }
    drop(gone);
    client.declare("p", &[]).await;
    client.bind("bound for ever", "k", "p").await;
    for name in ["x", "bound for ever"] {
        let _: () = setting.ask(&["ZADD", "_kombu.binding_deadlines", "1", name]).await;
    }
    client.link.sweep_bindings().await.unwrap();
    assert_eq!(setting.ask::<u32>(&["EXISTS", "_kombu.binding.x"]).await, 0);
    assert!(matches!(client.link.find_exchange("x").await, Err(BackendError::NotFound(_))));
    assert_eq!(setting.ask::<u32>(&["HLEN", "_amqp.exchanges"]).await, 2);
}
