//! Transient entities where both sides want durable ones: Python falls back to them, and we do when
//! configured to.

use amqp_client::{ConnectOptions, Exchange};
use messaging::{Error, Target, Topology, TransportOptions};
use serde_json::json;

use super::{Meeting, on_both_brokers, serve, server, within};

async fn both_sides_fall_back_to_what_is_not_durable(meeting: Meeting) {
    let url = meeting.python_url("amqp_durable_queues=true");
    let durable = Topology::new().durable(true);
    for python_first in [true, false] {
        let (topic, exchange) =
            (meeting.name(&format!("{python_first}")), meeting.name(&format!("{python_first}-x")));
        let plain = format!("amqp://guest:guest@{}/", meeting.authority);
        let connection = within(ConnectOptions::new().connect(&plain)).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        channel.declare(&Exchange::topic(&exchange)).await.unwrap();

        let target = Target::topic(&topic).exchange(&exchange);
        let refusing = meeting.transport(TransportOptions::new().topology(durable.clone())).await;
        let refused = within(server(&refusing, target.clone(), "rust").start()).await.err();
        assert!(matches!(&refused, Some(Error::Conflict(conflict)) if conflict.argument == "durable"));

        let options = TransportOptions::new().topology(durable.clone().durable_fallback(true));
        let transport = meeting.transport(options).await;
        let python = meeting.python.ask(json!({
            "do": "serve", "url": url, "topic": topic, "server": "python", "exchange": exchange,
        }));
        let server = if python_first {
            within(python).await.unwrap();
            within(serve(&transport, target.clone(), "rust")).await
        } else {
            let server = within(serve(&transport, target.clone(), "rust")).await;
            within(python).await.unwrap();
            server
        };
        for who in ["rust", "python"] {
            let client = transport.rpc_client(target.clone().server(who));
            assert_eq!(within(client.call::<String>("whoami", &()).into_future()).await.unwrap(), who);
            let more = json!({"server": who, "exchange": exchange});
            assert_eq!(meeting.python.call(&url, &topic, "whoami", json!({}), more).await.unwrap(), who);
        }
        within(server.stop()).await.unwrap();
        meeting.python.stop(&topic, "python").await;
    }
}

on_both_brokers! {
    both_sides_fall_back_to_what_is_not_durable,
}
