//! `amqp bench`.

use std::{fs, path::Path};

use amqp_client::Queue;
use serde_json::Value as Json;

use super::{
    fixture::{Broker, Ended},
    on_tcp_brokers,
    terminal::Terminal,
};

impl Ended {
    #[track_caller]
    fn json(self) -> Json {
        serde_json::from_str(&self.done()).unwrap()
    }
}

async fn bench(broker: &Broker, line: &str) -> Json {
    let line: Vec<&str> = ["bench", "--json"].into_iter().chain(line.split_whitespace()).collect();
    broker.run(&line).await.json()
}

#[track_caller]
fn flowed(report: &Json, messages: u64, confirmed: u64) {
    let count = |flow: &str| report[flow]["messages"].as_u64().unwrap();
    let counts = (count("published"), count("confirmed"), count("consumed"));
    assert_eq!(counts, (messages, confirmed, messages), "{report}");
    assert_eq!((&report["left"], &report["refused"]), (&0.into(), &0.into()), "{report}");
}

async fn everything_is_counted_whatever_the_shape(broker: Broker) {
    for (line, messages, confirmed) in [
        ("-n 300", 300, 300),
        ("-n 100 -p 2 -c 3 -q 2 -s 8-64 --confirm 7 --ack-every 5 --prefetch 20", 200, 200),
        ("-n 100 -p 3 -q 4 --connections 1 --threads 1 --persistent --stamp header", 300, 300),
        ("-n 200 --confirm 0 --ack-every 0 -s 0", 200, 0),
        ("-n 60 --type quorum --ack-every 10 -s 200000", 60, 60),
        ("-n 200 --type stream --ack-every 10 --prefetch 50", 200, 200),
    ] {
        let report = bench(&broker, line).await;
        flowed(&report, messages, confirmed);
        let latency = &report["latency"];
        assert_eq!(latency["count"], messages, "{line}: {report}");
        assert_eq!(latency["is_corrected"], false);
        let percentiles = latency["percentiles"].as_array().unwrap();
        let values: Vec<f64> = percentiles.iter().map(|at| at["microseconds"].as_f64().unwrap()).collect();
        assert!(values.is_sorted() && values[0] > 0.0 && values.len() == 7, "{latency}");
        let confirms = report["confirm_latency"]["count"].as_u64().unwrap_or_default();
        assert_eq!(confirms, confirmed, "{line}: {report}");
    }
    let unstamped = bench(&broker, "-n 100 --stamp none").await;
    flowed(&unstamped, 100, 100);
    assert!(unstamped["latency"].is_null() && unstamped["confirm_latency"].is_null(), "{unstamped}");
}

async fn at_a_rate_times_count_from_when_a_message_was_due(broker: Broker) {
    let report = bench(&broker, "-p 2 --rate 250 --warm-up 0.1 -d 0.6 --interval 0.2").await;
    let latency = &report["latency"];
    assert_eq!(latency["is_corrected"], true, "{report}");
    let published = report["published"]["messages"].as_u64().unwrap();
    // What was due before its end, however late that was, and what was late when it began.
    let due = 500.0 * (report["seconds"].as_f64().unwrap() + 0.1);
    assert!(published > 0 && published as f64 <= 1.2 * due, "{report}");
    // What was due during the warm-up is not among them.
    let received = latency["count"].as_u64().unwrap();
    assert!(received > 0 && received as f64 <= 1.2 * due, "{report}");
    assert!(!report["intervals"].as_array().unwrap().is_empty(), "{report}");
    assert_eq!(report["left"], 0);
    let slow = bench(&broker, "-n 20 --consume-rate 40").await;
    flowed(&slow, 20, 20);
    assert!(slow["seconds"].as_f64().unwrap() >= 19.0 / 40.0, "{slow}");
}

async fn a_queue_of_others_is_read_and_stays(broker: Broker) {
    let queue = broker.queue_with("bench <b>'&\"", &["a", "b", "c", "d", "e"]).await;
    let line = ["bench", "-p", "0", "--queue", &queue, "-n", "5", "--json"];
    let report = broker.run(&line).await.json();
    assert_eq!((&report["consumed"]["messages"], &report["published"]["messages"]), (&5.into(), &0.into()));
    // The messages carry no times.
    assert!(report["latency"].is_null(), "{report}");
    let info = broker.channel().await.declare(Queue::new(&queue).passive(true)).await.unwrap();
    assert_eq!(info.messages, 0);

    let folder = tempfile::tempdir().unwrap();
    let html = folder.path().join("report.html");
    let page = html.to_str().unwrap();
    broker.run(&["bench", "--queue", &queue, "-n", "50", "--html", page]).await.done();
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("bench &lt;b&gt;&#39;&amp;"), "{page}");
    assert!(!page.contains("<b>") && !page.contains("<script") && !page.contains("href"), "{page}");
    assert!(!page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "").contains("http"), "{page}");
    assert_eq!(page.matches("<svg").count(), 3);
    let missing = broker.run(&["bench", "--queue", &broker.name("missing"), "-n", "1"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("404 NOT_FOUND"), "{missing:?}");
}

#[tokio::test]
async fn reports_are_files_that_can_be_compared() {
    let broker = Broker::embedded().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b, csv) = (path("a.json"), path("b.json"), path("a.csv"));
    let text = broker.run(&["bench", "-n", "100", "--json-file", &a, "--csv", &csv]).await.done();
    assert!(text.contains("published       100") && text.contains("uncorrected"), "{text}");
    broker.run(&["bench", "-n", "200", "--rate", "2000", "--json-file", &b]).await.done();
    let lines: Vec<String> = fs::read_to_string(&csv).unwrap().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("seconds,published_per_second,") && lines.len() >= 2, "{lines:?}");
    assert!(lines[1].split(',').all(|number| number.parse::<f64>().is_ok()), "{lines:?}");

    let compared = broker.run(&["bench", "compare", &a, &b]).await;
    assert!(compared.stderr.contains("count is 100 in A, 200 in B"), "{compared:?}");
    let table = compared.done();
    assert!(table.contains("change %") && table.contains("delivery p99.99 us"), "{table}");
    let same = broker.run(&["bench", "compare", &a, &a, "--json"]).await;
    assert_eq!(same.stderr, "");
    for line in same.done().lines() {
        let row: Json = serde_json::from_str(line).unwrap();
        assert_eq!((&row["change"], &row["a"]), (&0.0.into(), &row["b"]), "{row}");
    }
    for (content, why) in [("{}", "no report"), ("{\"format\": 9}", "form 9"), ("x", "not JSON")] {
        fs::write(Path::new(&b), content).unwrap();
        let refused = broker.run(&["bench", "compare", &a, &b]).await;
        assert!(refused.code == 6 && refused.stderr.contains(why), "{refused:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_before_anything_is_made() {
    let broker = Broker::embedded().await;
    for (line, why) in [
        ("-p 0 -c 0", "neither publishers nor consumers"),
        ("-p 0", "--queue says"),
        ("--stamp body -s 4", "needs 8 bytes"),
        ("--stamp body --body /dev/null", "would change"),
        ("--ack-every 50 --prefetch 10", "would wait forever"),
        ("--type stream --ack-every 0", "acknowledgements"),
        ("-s 20-10", "ends before it begins"),
        ("-q 0", "from 1 to"),
        ("-d 0", "no time"),
        ("--rate 0", "0"),
    ] {
        let line: Vec<&str> = ["bench"].into_iter().chain(line.split_whitespace()).collect();
        let refused = broker.run(&line).await;
        assert!(refused.code == 2 && refused.stderr.contains(why), "{line:?}: {refused:?}");
    }
    let file = broker.run(&["bench", "--body", "/no/such/file"]).await;
    assert_eq!(file.code, 6, "{file:?}");
    let endless = broker.run(&["bench", "--body", "/dev/zero"]).await;
    assert!(endless.code == 6 && endless.stderr.contains("larger"), "{endless:?}");
    let unreachable = broker.run(&["bench", "--url", "amqp://127.0.0.1:1"]).await;
    assert_eq!(unreachable.code, 4, "{unreachable:?}");
}

#[tokio::test]
async fn its_queues_are_gone_at_the_end_and_after_an_interrupt() {
    let server = amqp_broker::Broker::builder().build();
    let listener = server.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}", listener.local_addr());
    let broker = Broker::embedded().await;
    broker.run(&["bench", "-n", "100", "-q", "3", "--url", &url]).await.done();
    assert!(server.queues("/").is_empty(), "{:?}", server.queues("/"));

    let line = ["bench", "-d", "600", "--rate", "500", "-q", "2", "--url", &url];
    let mut terminal = Terminal::start(&broker, &line, &[]);
    // The live line.
    terminal.shows("consumed").await;
    assert_eq!(server.queues("/").len(), 2);
    terminal.types("\u{3}");
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(130), "{shown:?}");
    assert!(shown.contains("messages  a second") && shown.contains("from when due"), "{shown:?}");
    assert!(server.queues("/").is_empty());
}

on_tcp_brokers!(
    a_queue_of_others_is_read_and_stays,
    at_a_rate_times_count_from_when_a_message_was_due,
    everything_is_counted_whatever_the_shape,
);
