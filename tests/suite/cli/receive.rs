//! `amqp sub`.

use amqp_client::{Exchange, Queue};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::{
    fixture::{Broker, ended},
    on_tcp_brokers,
};

async fn it_receives_from_queues_and_bindings_until_the_limit(broker: Broker) {
    let (one, two) = (broker.queue_with("one", &["a"]).await, broker.queue_with("two:x", &["b"]).await);
    let both =
        broker.run(&["sub", &one, "-q", &two, "-n", "2", "--format", "{{queue}}={{body}} "]).await.done();
    let mut both: Vec<_> = both.split_whitespace().collect();
    both.sort_unstable();
    assert_eq!(both, [format!("{one}=a"), format!("{two}=b")]);

    let exchange = broker.name("events");
    let channel = broker.channel().await;
    channel.declare(Exchange::topic(&exchange).durable(true)).await.unwrap();
    let source = format!("{exchange}:job.#");
    let mut command = broker.command(["sub", &source, "-n", "1", "--json"]);
    let child = command.spawn().unwrap();
    // The program's queue is there once a mandatory message is taken.
    let publisher = channel.publisher().await.unwrap();
    loop {
        let route = amqp_client::Route::new(&exchange, "job.run").mandatory(true);
        let confirm = publisher.publish(route, &amqp_client::Message::new("hi")).await.unwrap();
        if matches!(confirm.await.unwrap(), amqp_client::Confirmation::Ack) {
            break;
        }
    }
    let json = ended(child).await.done();
    assert!(json.contains(r#""routing_key":"job.run""#) && json.contains(r#""body":"hi""#), "{json}");
    channel.delete_exchange(&exchange, amqp_client::DeleteOptions::new()).await.unwrap();
}

async fn an_idle_timeout_ends_it_and_what_it_only_looked_at_is_there(broker: Broker) {
    let queue = broker.queue_with("idle", &["a", "b"]).await;
    let line = ["sub", &queue, "--idle-timeout", "0.3", "--then", "requeue"];
    assert_eq!(broker.run(&line).await.done(), "a\nb\n");
    assert_eq!(broker.bodies_of(&queue).await, ["a", "b"]);
    assert_eq!(broker.run(&line).await.code, 3);
}

async fn a_program_acknowledges_by_its_exit_code_and_no_shell_is_between(broker: Broker) {
    let queue = broker.queue_with("program", &["$(echo x); rm -rf", "2"]).await;
    let cat = broker.run(&["sub", &queue, "-n", "1", "--", "cat"]).await.done();
    assert_eq!(cat, "$(echo x); rm -rf");
    let failing = ["sub", &queue, "--on-failure", "stop", "--", "sh", "-c", "cat; exit 9"];
    let failed = broker.run(&failing).await;
    assert_eq!((failed.code, failed.stdout.as_str()), (9, "2"));
    let variables = ["sub", &queue, "-n", "1", "--", "sh", "-c", "echo $AMQP_ROUTING_KEY $AMQP_REDELIVERED"];
    assert_eq!(broker.run(&variables).await.done(), format!("{queue} 1\n"));
    let missing = broker.queue_with("program", &["3"]).await;
    let missing_program = broker.run(&["sub", &missing, "-n", "1", "--", "/no/such/program"]).await;
    assert_eq!(missing_program.code, 1);
    assert!(missing_program.stderr.contains("cannot start /no/such/program"), "{missing_program:?}");
    assert_eq!(broker.bodies_of(&missing).await, ["3"]);
}

async fn a_stream_is_read_from_an_offset(broker: Broker) {
    let stream = broker.name("stream");
    let channel = broker.channel().await;
    channel.declare(Queue::stream(&stream)).await.unwrap();
    broker.run(&["pub", "-r", &stream, "a", "b", "c"]).await.done();
    let line = ["sub", &stream, "--offset", "1", "-n", "2", "--format", "{{offset}}{{body}} "];
    assert_eq!(broker.run(&line).await.done(), "1b 2c ");
    channel.delete_queue(&stream, amqp_client::DeleteOptions::new()).await.unwrap();
}

async fn when_the_reader_goes_it_ends_cleanly_and_what_was_not_printed_is_there(broker: Broker) {
    let bodies: Vec<String> = (0..2000).map(|number| format!("{number} {}", "x".repeat(1000))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let queue = broker.queue_with("reader", &bodies).await;
    let mut child = broker.command(["sub", &queue]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut read = String::new();
    stdout.read_line(&mut read).await.unwrap();
    assert!(read.starts_with("0 "));
    drop(stdout);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
    assert_eq!((child.wait().await.unwrap().code(), stderr.as_str()), (Some(0), ""));
    // What was acknowledged had been handed to the system: a pipe holds 64 KiB, and the program
    // gathers as much before it writes.
    let left = broker.bodies_of(&queue).await;
    assert!(left.len() >= 2000 - 400, "{} messages are left", left.len());
    assert_eq!(left.last().map(String::as_str), bodies.last().copied());
}

on_tcp_brokers!(
    a_program_acknowledges_by_its_exit_code_and_no_shell_is_between,
    a_stream_is_read_from_an_offset,
    an_idle_timeout_ends_it_and_what_it_only_looked_at_is_there,
    it_receives_from_queues_and_bindings_until_the_limit,
    when_the_reader_goes_it_ends_cleanly_and_what_was_not_printed_is_there,
);
