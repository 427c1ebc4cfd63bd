//! Each version announces these properties, and lets clients ask for these limits. 3.10.8 and 4.0.5
//! were asked; the texts of later versions are from their start-up messages.

use amqp_codec::{Value, frame::PROTOCOL_HEADER, method::connection};

use crate::{
    broker::Broker,
    core::rabbitmq::version::RabbitMq,
    tests::peer::{Peer, short, start_ok},
};

const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

async fn start(broker: &Broker) -> (Peer, connection::Start) {
    let mut peer = Peer::silent(broker);
    peer.raw(&PROTOCOL_HEADER).await;
    let start = peer.expect::<connection::Start>(0).await;
    (peer, start)
}

#[tokio::test]
async fn a_version_announces_its_patch_and_what_belongs_to_it() {
    const BROADCOM: &str = "Broadcom Inc and/or its subsidiaries";
    let copyright = |year: u16, owner: &str| format!("Copyright (c) 2007-{year} {owner}");
    let versions = [
        (RabbitMq::V3_10, "3.10.8", copyright(2022, "VMware, Inc. or its affiliates."), "AMQPLAIN PLAIN"),
        (RabbitMq::V4_0, "4.0.9", copyright(2024, BROADCOM), "AMQPLAIN PLAIN ANONYMOUS"),
        (RabbitMq::V4_2, "4.2.9", copyright(2025, BROADCOM), "AMQPLAIN PLAIN ANONYMOUS"),
        (RabbitMq::V4_3, "4.3.6", copyright(2026, BROADCOM), "AMQPLAIN PLAIN ANONYMOUS"),
    ];
    for (version, patch, copyright, mechanisms) in versions {
        let (_, start) = start(&Broker::builder().like(version).build()).await;
        assert_eq!((start.version_major, start.version_minor), (0, 9));
        assert_eq!(start.mechanisms.to_text(), mechanisms, "{version}");
        let entries: Vec<_> = start.server_properties.iter().collect();
        let (names, values): (Vec<_>, Vec<_>) =
            entries.iter().map(|(name, value)| (name.to_string(), value.clone())).unzip();
        let expected =
            ["capabilities", "cluster_name", "copyright", "information", "platform", "product", "version"];
        assert_eq!(names, expected, "{version}");
        let capabilities = values[0].as_table().unwrap();
        let capable: Vec<_> = capabilities.iter().map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(capable, CAPABILITIES.map(|name| (name.to_owned(), Value::Bool(true))));
        let ours = format!("amqp-broker {}", env!("CARGO_PKG_VERSION"));
        let information = "Licensed under the MPL 2.0. Website: https://rabbitmq.com";
        let texts = ["rabbit@localhost", &copyright, information, &ours, "RabbitMQ", patch];
        assert_eq!(values[1..], texts.map(Value::from), "{version}");
        assert_eq!(version.patch(), patch);
    }
}

#[tokio::test]
async fn without_a_version_it_is_the_first_and_what_is_set_wins_in_any_order() {
    let (_, default) = start(&Broker::builder().build()).await;
    let (_, first) = start(&Broker::builder().like(RabbitMq::V3_10).build()).await;
    assert_eq!(default, first);
    let builder = || Broker::builder().product_version("4.0.5").product("Hares");
    for builder in
        [builder().like(RabbitMq::V4_3), Broker::builder().like(RabbitMq::V4_3).product_version("4.0.5")]
    {
        let (_, start) = start(&builder.build()).await;
        assert_eq!(start.server_properties.get("version"), Some(Value::from("4.0.5")));
    }
    let (_, start) = start(&builder().build()).await;
    assert_eq!(start.server_properties.get("product"), Some(Value::from("Hares")));
}

/// RabbitMQ 4.0's notes: `anonymous_login_user` and `anonymous_login_pass` are guest.
#[tokio::test]
async fn from_4_0_on_who_has_no_password_is_the_guest_if_there_is_one() {
    let anonymous = || connection::StartOk { mechanism: short("ANONYMOUS"), ..start_ok("", "") };
    for version in RabbitMq::ALL {
        let (mut peer, _) = start(&Broker::builder().like(version).build()).await;
        peer.send(0, anonymous()).await;
        if version == RabbitMq::V3_10 {
            assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 503);
            continue;
        }
        peer.expect::<connection::Tune>(0).await;
        // Another password, or no guest at all.
        for builder in [Broker::builder().user("guest", "secret"), Broker::builder().user("ada", "guest")] {
            let (mut peer, _) = start(&builder.like(version).build()).await;
            peer.send(0, anonymous()).await;
            assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 403, "{version}");
        }
        // From elsewhere the guest is refused as with a password.
        let mut far = Peer::silent_from(&Broker::builder().like(version).build(), "192.0.2.1:5000");
        far.raw(&PROTOCOL_HEADER).await;
        far.expect::<connection::Start>(0).await;
        far.send(0, anonymous()).await;
        assert_eq!(far.expect::<connection::Close>(0).await.reply_code, 403, "{version}");
    }
}

/// RabbitMQ 4.0's notes: the limit went from 128 MiB to 16 MiB.
#[tokio::test]
async fn the_largest_message_is_the_versions_unless_it_is_set() {
    for (version, default) in
        [(RabbitMq::V3_10, 128 << 20), (RabbitMq::V4_0, 16 << 20), (RabbitMq::V4_3, 16 << 20)]
    {
        let config = Broker::builder().like(version).build();
        assert_eq!(config.inner.config.max_message_size(), default, "{version}");
        let set = Broker::builder().max_message_size(7).like(version).build();
        assert_eq!(set.inner.config.max_message_size(), 7);
    }
}
