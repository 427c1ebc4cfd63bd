//! `amqp reply`

use std::{ffi::OsString, sync::Arc};

use amqp_client::{Channel, ConsumeOptions, Message, Properties, Route};
use clap::Args;
use messaging::{
    Target,
    rpc::{Acknowledge, Endpoint},
};

use super::{answer::answer, methods::ProgramMethods};
use crate::{
    commands::receiving::{
        receive::{EndArguments, Receiving, deliveries},
        settlement::Then,
        sources::{Source, subscribe},
    },
    connection::{
        arguments::ConnectionArguments,
        target::{Target as Broker, close},
    },
    context::Context,
    error::Error,
    exit::Exit,
    message::{sink::MessageSink, view::MessageView},
    output::notes::note,
};

/// Answers requests with the output of a program
///
/// The program gets the body of each request on its standard input; what it prints is the body of
/// the reply. The request is acknowledged once the broker has the reply; if the program fails, it
/// is rejected, and not answered. No shell is between.
///
/// With --oslo it is a server of oslo.messaging: the program gets the method as its last argument,
/// the arguments as JSON on its standard input, and prints the result as JSON.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The queue; with --oslo the topic
    queue: String,

    /// Serves an oslo.messaging topic
    #[arg(long)]
    oslo: bool,

    /// The name of the server
    #[arg(long, value_name = "NAME", requires = "oslo")]
    server: Option<String>,

    /// The namespace of the methods
    #[arg(long, value_name = "NAME", requires = "oslo")]
    namespace: Option<String>,

    #[command(flatten)]
    end: EndArguments,

    /// The program, and its arguments
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<OsString>,

    #[command(flatten)]
    connection: ConnectionArguments,
}

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let broker = Broker::of(&arguments.connection)?;
    match arguments.oslo {
        true => serve(&broker, &arguments, context).await,
        false => reply(&broker, arguments, context).await,
    }
}

async fn serve(broker: &Broker, arguments: &Arguments, context: &Context) -> Result<Exit, Error> {
    let transport = context.interrupt.or(broker.transport()).await?;
    let mut target = Target::topic(&arguments.queue);
    if let Some(server) = &arguments.server {
        target = target.server(server);
    }
    let mut endpoint = Endpoint::of(ProgramMethods(Arc::new(arguments.command.clone())));
    if let Some(namespace) = &arguments.namespace {
        endpoint = endpoint.namespace(namespace);
    }
    let server = transport.rpc_server(target).acknowledge(Acknowledge::After).endpoint(endpoint);
    let mut server = server.start().await.map_err(Error::messaging("start the server"))?;
    note(&format!("serving {:?}", arguments.queue));
    let ended = context.interrupt.or(async { server.wait().await.map_err(Error::messaging("serve")) }).await;
    let stopped = server.stop().await.map_err(Error::messaging("stop the server"));
    transport.close().await.map_err(Error::messaging("close the connection"))?;
    ended.and(stopped).map(|()| Exit::Done)
}

async fn reply(broker: &Broker, arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let (connection, channel) = context.interrupt.or(broker.open_channel()).await?;
    let options = || Ok(ConsumeOptions::new().prefetch(1));
    let queues = [Source::Queue(arguments.queue.clone())];
    let subscribed = context.interrupt.or(subscribe(&channel, &queues, options)).await?;
    note(&format!("serving {:?}", arguments.queue));
    let mut receiving = Receiving::new(Nowhere, Then::Ack, arguments.end.clone(), context);
    let mut deliveries = deliveries(subscribed);
    let answering = async {
        while let Some(incoming) = receiving.next(&mut deliveries).await? {
            let delivery = incoming.map_err(Error::broker("receive requests"))?;
            let (view, acker) = receiving.view(delivery);
            let variables = [("AMQP_ROUTING_KEY", view.routing_key.as_str())];
            let (status, body) = answer(&arguments.command, &variables, &view.body).await?;
            let settled = match status.success() {
                true => {
                    send(&channel, &view, body).await?;
                    acker.ack().await
                }
                false => {
                    note(&format!("request {} is rejected: the program ended with {status}", view.number));
                    acker.reject(false).await
                }
            };
            settled.map_err(Error::broker("settle a request"))?;
        }
        Ok(receiving.exit())
    };
    let ended = answering.await;
    close(&connection).await;
    ended
}

/// Sends a reply, if the request wants one, and waits until the broker has it. One that nobody
/// waits for any more is dropped.
async fn send(channel: &Channel, request: &MessageView, body: Vec<u8>) -> Result<(), Error> {
    let Some(reply_to) = &request.properties.reply_to else { return Ok(()) };
    let properties =
        Properties { correlation_id: request.properties.correlation_id.clone(), ..Properties::default() };
    let message = Message::with_properties(body, properties);
    let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
    let queue = reply_to.to_text();
    let confirm = publisher.publish(Route::new("", &queue), &message).await;
    let confirm = confirm.map_err(Error::broker("send a reply"))?;
    confirm.await.map(drop).map_err(Error::broker("send a reply"))
}

/// Requests are not kept anywhere.
struct Nowhere;

impl MessageSink for Nowhere {
    fn put(&mut self, _: &MessageView) -> Result<(), Error> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
