//! `amqp latency`.

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{fixture::Broker, on_tcp_brokers, terminal::Terminal};

async fn it_prints_a_line_an_interval_and_all_at_the_end(broker: Broker) {
    let line = ["latency", "--rate", "500", "-d", "1.5", "-i", "0.1", "-s", "4", "--json"];
    let json = broker.run(&line).await.done();
    let mut lines: Vec<Json> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.pop().unwrap();
    assert_eq!((&report["plan"]["rate"], &report["plan"]["stamp"]), (&500.into(), &"header".into()));
    assert_eq!(report["latency"]["is_corrected"], true);
    // What was due before it began to measure, or left after its end, counts as one of them alone.
    let count = |flow: &Json| flow.as_u64().unwrap();
    let (measured, published) = (count(&report["latency"]["count"]), count(&report["published"]["messages"]));
    assert!(0 < measured && 0 < published, "{json}");
    // On a busy machine intervals are longer than asked.
    assert!(lines.iter().any(|line| line["p50_us"].as_f64().is_some_and(|p50| p50 > 0.0)), "{json}");
    assert!(lines.iter().map(|line| line["seconds"].as_f64().unwrap()).is_sorted(), "{json}");
}

#[tokio::test]
async fn an_interrupt_ends_it_with_all_that_was_measured() {
    let broker = Broker::embedded().await;
    let mut terminal = Terminal::start(&broker, &["latency", "-i", "0.1"], &[]);
    terminal.shows(" p99 ").await;
    terminal.types("\u{3}");
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(0), "{shown:?}");
    assert!(shown.contains("microseconds, from when due") && shown.contains("p99.99"), "{shown:?}");
}

#[tokio::test]
async fn when_the_reader_goes_it_ends() {
    let broker = Broker::embedded().await;
    let mut child = broker.command(["latency", "-i", "0.1"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    assert!(line.contains("p50"), "{line}");
    drop(stdout);
    let ended = super::fixture::ended(child).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
}

on_tcp_brokers!(it_prints_a_line_an_interval_and_all_at_the_end);
