//! `amqp listen`

use clap::Args;
use messaging::notify::{Endpoint, Event, Level, NotificationResult};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::notify::level;
use crate::{
    commands::receiving::receive::EndArguments,
    connection::{arguments::ConnectionArguments, target::Target},
    context::Context,
    error::Error,
    exit::Exit,
    output::{
        arguments::OutputArguments,
        escape::{escaped_line, escaped_text},
        screen::Screen,
    },
};

/// Prints notifications of oslo.messaging, and acknowledges them once they are printed
///
/// With --pool, this listener gets a copy of each; without one, each goes to one of the listeners.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The topics, by convention notifications
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    /// A level to listen to; may be repeated [default: all]
    #[arg(short, long = "level", value_name = "LEVEL", value_parser = level)]
    levels: Vec<Level>,

    /// The pool to listen in
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,

    #[command(flatten)]
    end: EndArguments,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    connection: ConnectionArguments,
}

/// A notification as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    level: &'a str,
    publisher_id: &'a str,
    event_type: &'a str,
    message_id: Option<&'a str>,
    timestamp: Option<&'a str>,
    payload: Option<&'a RawValue>,
}

/// A notification, and who waits until it is printed.
type Printing = (Event, oneshot::Sender<()>);

pub(crate) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let transport = context.interrupt.or(Target::of(&arguments.connection)?.transport()).await?;
    let (sender, mut events) = mpsc::channel::<Printing>(1);
    let levels = if arguments.levels.is_empty() { Level::ALL.to_vec() } else { arguments.levels.clone() };
    let endpoint = Endpoint::new().on_each(&levels, move |event| {
        let sender = sender.clone();
        async move {
            let (printed, is_printed) = oneshot::channel();
            // It fails when nobody prints any more, and then the answer tells.
            let _ = sender.send((event, printed)).await;
            match is_printed.await {
                Ok(()) => NotificationResult::Handled,
                Err(_) => NotificationResult::Requeue,
            }
        }
    });
    let (first, more) = arguments.topics.split_first().ok_or_else(|| Error::Usage("no topic".to_owned()))?;
    let mut listener = transport.listener(first).endpoint(endpoint);
    for topic in more {
        listener = listener.topic(topic);
    }
    if let Some(pool) = &arguments.pool {
        listener = listener.pool(pool);
    }
    let starting = async { listener.start().await.map_err(Error::messaging("listen")) };
    let listener = context.interrupt.or(starting).await?;
    let ended = print_all(&mut screen, &mut events, &arguments.end, context).await;
    drop(events);
    listener.stop().await;
    transport.close().await.map_err(Error::messaging("close the connection"))?;
    ended
}

async fn print_all(
    screen: &mut Screen,
    events: &mut mpsc::Receiver<Printing>,
    end: &EndArguments,
    context: &Context,
) -> Result<Exit, Error> {
    let mut count = 0;
    while end.limit.is_none_or(|limit| count < limit) {
        let next = async {
            Ok(match end.idle_timeout {
                Some(idle) => timeout(idle, events.recv()).await.ok().flatten(),
                None => events.recv().await,
            })
        };
        let Some((event, printed)) = context.interrupt.or(next).await? else { break };
        print(screen, &event)?;
        count += 1;
        // If the listener has ended, it is delivered again.
        let _ = printed.send(());
    }
    Ok(if count == 0 { Exit::Nothing } else { Exit::Done })
}

fn print(screen: &mut Screen, event: &Event) -> Result<(), Error> {
    let shown = Shown {
        level: event.level().name(),
        publisher_id: event.publisher_id(),
        event_type: event.event_type(),
        message_id: event.message_id(),
        timestamp: event.timestamp(),
        payload: serde_json::from_str(event.payload_json()).ok(),
    };
    let style = screen.style;
    let line = format!(
        "{} {} {}\n{}",
        style.name(shown.level),
        style.bold(&escaped_line(shown.event_type)),
        style.dim(&escaped_line(shown.publisher_id)),
        escaped_text(event.payload_json())
    );
    screen.object(&shown, &line)
}
