//! Messages that are no calls of tasks.

use messaging::{
    BoxError, Exchange, PublishOptions, Queue, ReadValue, Serializer, Serializers, Value as Header,
    celery::Unhandled, erased_serde,
};
use serde_json::{Value, json};

use super::setting::{DEADLINE, NAME, Setting, within};

/// A message: its content type, its headers and its body.
type Message = (&'static str, Vec<(&'static str, Header)>, Vec<u8>);

fn messages() -> Vec<Message> {
    let text = |text: &str| Header::LongString(text.into());
    let call = || vec![("task", text("rust.add")), ("id", text("1"))];
    let with = |name, value| [call(), vec![(name, value)]].concat();
    let good = || json!([[1], {}, {}]).to_string().into_bytes();
    let followed = |what: Value| json!([[1], {}, what]).to_string().into_bytes();
    let nested = [b"[".repeat(1000), b"]".repeat(1000)].concat();
    let json = "application/json";
    vec![
        (json, vec![("task", text("rust.add"))], good()),
        (json, vec![("id", text("1"))], good()),
        (json, vec![], good()),
        (json, vec![("task", Header::I32(1)), ("id", text("1"))], good()),
        (json, with("retries", text("many")), good()),
        (json, with("eta", text("soon")), good()),
        (json, with("eta", text("9999-12-31T23:59:59.999999+00:00")), good()),
        (json, with("timelimit", text("long")), good()),
        (json, call(), nested),
        (json, call(), b"{}".to_vec()),
        (json, call(), b"[[1], {}".to_vec()),
        (json, call(), json!([{}, [], {}]).to_string().into_bytes()),
        (json, call(), followed(json!({"chain": [{"task": 1}]}))),
        (json, call(), followed(json!({"chain": "rust.add"}))),
        (json, call(), followed(json!({"chord": []}))),
        ("application/x-python-serialize", call(), b"\x80\x04]\x94.".to_vec()),
        ("application/x-yaml", call(), b"- [1]\n- {}\n- {}\n".to_vec()),
        ("application/octet-stream", call(), vec![0xff; 100]),
    ]
}

async fn publish(setting: &Setting, (content_type, headers, body): Message) {
    let serializers = Serializers::new().register(Raw(content_type));
    let mut options = PublishOptions::new().serializer("as it is");
    for (name, value) in headers {
        options = options.header(name, value).unwrap();
    }
    let producer = setting.transport.producer(Exchange::default()).serializers(serializers);
    let queue = setting.queue();
    let options = options.declare(&queue);
    within(producer.ensure_publish((queue.name(), &options), &body)).await.unwrap();
}

/// Sends octets as they are, under any content type.
struct Raw(&'static str);

impl Serializer for Raw {
    fn name(&self) -> &str {
        "as it is"
    }

    fn content_type(&self) -> &str {
        self.0
    }

    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<bytes::Bytes, BoxError> {
        Ok(serde_json::from_value::<Vec<u8>>(serde_json::to_value(value)?)?.into())
    }

    fn decode(&self, _: &[u8], _: &mut ReadValue<'_>) -> Result<(), BoxError> {
        Err("it is only written".into())
    }
}

pub(super) async fn malformed_messages_run_nothing_and_end_nothing(setting: Setting) {
    let worker = within(setting.worker().start()).await.unwrap();
    for message in messages() {
        publish(&setting, message).await;
        let sum = setting.app.task("rust.add").args((2, 3)).send::<i64>().await.unwrap();
        assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    }
    // One waits for the year 9999.
    let scheduled = setting.app_control().scheduled().to([NAME]).call().await.unwrap();
    assert_eq!(scheduled.of(NAME).unwrap().len(), 1);
    within(worker.stop()).await;
}

pub(super) async fn what_nobody_can_run_can_be_set_aside(setting: Setting) {
    let worker = setting.worker().on_undecodable(Unhandled::SetAside).on_unknown(Unhandled::SetAside);
    let worker = within(worker.start()).await.unwrap();
    let text = |text: &str| Header::LongString(text.into());
    publish(&setting, ("application/json", vec![("task", text("rust.add"))], b"1".to_vec())).await;
    let unknown = setting.app.task("rust.nosuch").args((7,)).send::<i64>().await.unwrap();
    let error = unknown.get(DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("NotRegistered"), "{error}");
    let dead = Queue::durable(format!("{}tasks.dead", setting.prefix));
    let mut dead = within(setting.transport.consumer(dead).start::<Value>()).await.unwrap();
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let message = within(dead.recv()).await.unwrap().unwrap();
        bodies.push(message.body()[0][0].clone());
        message.ack().await.unwrap();
    }
    bodies.sort_by_key(Value::to_string);
    assert_eq!(bodies, [json!(7), Value::Null]);
    within(worker.stop()).await;
}
