//! `amqp request`

use std::time::Duration;

use amqp_client::{Channel, Confirmation, ConsumeOptions, Delivery, Message, Route, ShortString};
use bytes::Bytes;
use clap::Args;
use messaging::{Outcome, Target, rpc::Client};
use serde_json::Value as Json;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::{
    commands::receiving::receive::seconds,
    connection::{
        arguments::ConnectionArguments,
        target::{Target as Broker, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::{
        assignment::{Assignment, table_of},
        printer::{Printer, PrinterArguments},
        properties_arguments::PropertiesArguments,
        sink::MessageSink as _,
        value_json::table_to_json,
        view::MessageView,
    },
    output::screen::Screen,
};

/// The queue by which RabbitMQ sends replies straight to the requester
/// (<https://www.rabbitmq.com/docs/direct-reply-to>).
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Sends a request, and prints the reply
///
/// Without --oslo, the message is BODY or standard input, and the reply is the first message with
/// the request's correlation id. With it, a method of an oslo.messaging server is called: the words
/// are its name and arguments, KEY=TEXT or KEY:=JSON, and the result is printed as JSON.
///
/// Exit code 3 when there is no reply in time, 5 when there is nobody who could.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The message; with --oslo the method and its arguments
    #[arg(value_name = "BODY")]
    words: Vec<String>,

    /// The exchange; the default one leads to the queue that the routing key names. With --oslo,
    /// the control exchange
    #[arg(short, long)]
    exchange: Option<String>,

    /// The routing key; with the default exchange, the queue
    #[arg(short, long, default_value = "", hide_default_value = true, value_name = "KEY")]
    routing_key: String,

    /// How long to wait for the reply
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,

    /// Calls a method of the servers of an oslo.messaging topic
    #[arg(long, value_name = "TOPIC", conflicts_with = "routing_key")]
    oslo: Option<String>,

    #[command(flatten)]
    oslo_target: OsloArguments,

    #[command(flatten)]
    properties: PropertiesArguments,

    #[command(flatten)]
    printer: PrinterArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// What of an oslo.messaging target is not its topic.
#[derive(Args, Debug)]
#[command(next_help_heading = "With --oslo")]
struct OsloArguments {
    /// The server, if it is to be a certain one
    #[arg(long, value_name = "NAME", requires = "oslo")]
    server: Option<String>,

    /// The namespace of the method
    #[arg(long, value_name = "NAME", requires = "oslo")]
    namespace: Option<String>,

    /// The version of the method, as 1.4
    #[arg(long, value_name = "VERSION", requires = "oslo")]
    target_version: Option<messaging::Version>,

    /// Does not wait for a result
    #[arg(long, requires = "oslo")]
    cast: bool,

    /// Calls the method on all servers, and does not wait for results
    #[arg(long, requires = "oslo", conflicts_with_all = ["cast", "server"])]
    fanout: bool,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    match &arguments.oslo {
        Some(topic) => context.interrupt.or(call(topic, &arguments)).await,
        None => request(&arguments, context).await,
    }
}

async fn request(arguments: &Arguments, context: &Context) -> Result<Exit, Error> {
    let mut printer = Printer::new(&arguments.printer)?;
    let body = match &arguments.words[..] {
        [] => input().await?,
        [body] => Bytes::from(body.clone()),
        _ => return Err(Error::Usage("a request is one message: quote BODY".to_owned())),
    };
    let mut properties = arguments.properties.properties()?;
    let usage = |error: amqp_codec::Error| Error::Usage(error.to_string());
    let own_id = ShortString::new("correlation id", &uuid::Uuid::new_v4().to_string()).map_err(usage)?;
    let id = properties.correlation_id.get_or_insert(own_id).clone();
    properties.reply_to = Some(ShortString::from_static(DIRECT_REPLY_TO));
    let message = Message::with_properties(body, properties);
    let target = Broker::of(&arguments.connection)?;
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let asking = async {
        let asking = ask(&channel, arguments, &message, &id);
        let reply = timeout(arguments.timeout, asking).await;
        reply.map_err(|_| Error::Nothing(format!("there is no reply within {:?}", arguments.timeout)))?
    };
    let reply = context.interrupt.or(asking).await?;
    let (received, _) = reply.split();
    printer.put(&MessageView::new(1, &received))?;
    printer.flush()?;
    close(&connection).await;
    Ok(Exit::Done)
}

/// Sends the request, and returns the reply to it.
async fn ask(
    channel: &Channel,
    arguments: &Arguments,
    message: &Message,
    id: &ShortString,
) -> Result<Delivery, Error> {
    let options = ConsumeOptions::new().no_ack(true);
    let replies = channel.consume(DIRECT_REPLY_TO, options).await;
    let mut replies = replies.map_err(Error::broker("ask for a direct reply"))?;
    // A direct reply goes to the channel of its request.
    let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
    let exchange = arguments.exchange.as_deref().unwrap_or_default();
    let route = Route::new(exchange, &arguments.routing_key).mandatory(true);
    let confirm = publisher.publish(route, message).await.map_err(Error::broker("send the request"))?;
    let why = match confirm.await.map_err(Error::broker("send the request"))? {
        Confirmation::Ack => None,
        Confirmation::Nack => Some("it was nacked".to_owned()),
        Confirmation::Returned(returned) => {
            Some(format!("it was returned: {} {}", returned.code().0, returned.text()))
        }
    };
    if let Some(why) = why {
        return Err(Error::NotTaken { number: 1, why });
    }
    loop {
        let reply =
            replies.recv().await.ok_or_else(|| Error::Nothing("there are no more replies".to_owned()))?;
        let reply = reply.map_err(Error::broker("receive the reply"))?;
        if reply.properties().is_ok_and(|properties| properties.correlation_id.as_ref() == Some(id)) {
            return Ok(reply);
        }
    }
}

async fn input() -> Result<Bytes, Error> {
    let mut body = Vec::new();
    tokio::io::stdin().read_to_end(&mut body).await.map_err(Error::Input)?;
    Ok(body.into())
}

async fn call(topic: &str, arguments: &Arguments) -> Result<Exit, Error> {
    let (method, words) = arguments
        .words
        .split_first()
        .ok_or_else(|| Error::Usage("--oslo needs the name of a method".to_owned()))?;
    let assignments: Result<Vec<Assignment>, _> =
        words.iter().map(|word| word.parse().map_err(|why| Error::Usage(format!("{word}: {why}")))).collect();
    let named = table_to_json(&table_of(&assignments?)?);
    let mut screen = Screen::new(&arguments.printer.output);
    let transport = Broker::of(&arguments.connection)?.transport().await?;
    let client = transport.rpc_client(target(topic, arguments)).timeout(arguments.timeout);
    let result = match (arguments.oslo_target.cast, arguments.oslo_target.fanout) {
        (true, _) => client.cast(method, &named).await.map(|()| None),
        (false, true) => client.fanout(method, &named).await.map(|()| None),
        (false, false) => call_method(&client, method, &named).await.map(Some),
    };
    let result = result.map_err(|error| failure(method, error))?;
    if let Some(result) = result {
        let line = crate::output::json::line(&result);
        screen.object(&result, &line)?;
    }
    transport.close().await.map_err(Error::messaging("close the connection"))?;
    Ok(Exit::Done)
}

async fn call_method(
    client: &Client,
    method: &str,
    named: &serde_json::Map<String, Json>,
) -> Result<Json, messaging::Error> {
    client.call::<Json>(method, named).await
}

fn target(topic: &str, arguments: &Arguments) -> Target {
    let oslo = &arguments.oslo_target;
    let mut target = Target::topic(topic);
    if let Some(exchange) = &arguments.exchange {
        target = target.exchange(exchange);
    }
    if let Some(server) = &oslo.server {
        target = target.server(server);
    }
    if let Some(namespace) = &oslo.namespace {
        target = target.namespace(namespace);
    }
    match oslo.target_version {
        Some(version) => target.exact_version(version),
        None => target,
    }
}

/// The error of a call: no reply, nobody to call, or what the method said.
fn failure(method: &str, error: messaging::Error) -> Error {
    match error {
        messaging::Error::Undelivered(undelivered) if undelivered.outcome == Outcome::Unroutable => {
            Error::NotTaken { number: 1, why: "no server of the topic is there".to_owned() }
        }
        messaging::Error::Timeout { .. } => {
            Error::Nothing(format!("method {method} has not replied in time"))
        }
        error => Error::messaging(format!("call method {method}"))(error),
    }
}
