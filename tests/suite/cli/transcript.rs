//! `amqp decode` and `amqp encode`.

use std::{fs, path::Path, process::Stdio};

use tests::leave_out;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::fixture::{Broker, DEADLINE};

/// Sessions of other clients, octet by octet.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/codec/golden");

#[tokio::test]
async fn recorded_sessions_are_the_same_octets_after_both() {
    let broker = Broker::embedded().await;
    let (transcript, octets) = (broker.home().join("transcript"), broker.home().join("octets"));
    let (transcript, written) = (transcript.to_str().unwrap(), octets.to_str().unwrap());
    let mut sessions = 0;
    for entry in fs::read_dir(RECORDED).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bin") {
            continue;
        }
        for form in [&["--secrets"][..], &["--secrets", "--json"]] {
            let text = broker.run(&[&["decode", path.to_str().unwrap()], form].concat()).await.done();
            assert!(text.contains("connection.open") && !text.contains("no frame"), "{text}");
            fs::write(transcript, &text).unwrap();
            broker.run(&["encode", transcript, "--output", written]).await.done();
            assert_eq!(fs::read(&octets).unwrap(), fs::read(&path).unwrap(), "{}", path.display());
        }
        sessions += 1;
    }
    assert!(sessions >= 10, "{sessions}");
}

#[tokio::test]
async fn passwords_are_hidden_and_what_is_wrong_is_named_with_its_place() {
    let broker = Broker::embedded().await;
    let session = Path::new(RECORDED).join("pika.client.bin");
    let session = session.to_str().unwrap();
    for form in [&["decode", session][..], &["decode", session, "--json"]] {
        let text = broker.run(form).await.done();
        assert!(text.contains("[redacted]") && !text.contains("0guest"), "{text}");
        let refused = broker.run_with_input(&["encode", "-"], text.as_bytes()).await;
        assert!(refused.code == 6 && refused.stderr.contains("amqp decode --secrets"), "{refused:?}");
    }
    let refused = broker.run_with_input(&["encode", "-"], b"0 heartbeat\n1 basic.pray\n").await;
    assert!(refused.code == 6 && refused.stderr.contains("line 2: column 13"), "{refused:?}");
    let cut = [&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0][..], &[0; 12], &[1, 0, 0, 0, 1, 2, 3]].concat();
    let refused = broker.run_with_input(&["decode", "-"], &cut).await;
    assert!(refused.code == 6 && refused.stderr.contains("octet 24, after packet 0"), "{refused:?}");
    assert_eq!(broker.run(&["decode", "/no/such/file"]).await.code, 6);
    let odd = broker.run_with_input(&["decode", "-"], b"AMQP\0\0\x09\x01GET / HTTP/1.1").await.done();
    assert!(
        odd.contains("what follows is no frame") && odd.ends_with("octets \"GET / HTTP/1.1\"\n"),
        "{odd}"
    );
}

#[tokio::test]
async fn a_capture_of_tcpdump_is_read() {
    let test = "cli::transcript::a_capture_of_tcpdump_is_read";
    let broker = Broker::embedded().await;
    let (_, port) = broker.url().rsplit_once(':').unwrap();
    let file = broker.home().join("capture");
    let capture = file.to_str().unwrap();
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w", capture, "tcp", "port", port]);
    broker.isolate(&mut tcpdump);
    let Ok(mut tcpdump) = tcpdump.stdout(Stdio::null()).spawn() else {
        return leave_out(test, "no tcpdump (apt-get install tcpdump)");
    };
    let mut log = BufReader::new(tcpdump.stderr.take().unwrap()).lines();
    loop {
        match timeout(DEADLINE, log.next_line()).await.unwrap().unwrap() {
            Some(line) if line.contains("listening on") => break,
            Some(_) => {}
            None => return leave_out(test, "tcpdump may not capture here (it needs root)"),
        }
    }
    broker.run(&["declare", "queue", "captured"]).await.done();
    broker.run(&["pub", "-r", "captured", "a body"]).await.done();
    let decode = ["decode", capture, "--port", port];
    let told = timeout(DEADLINE, async {
        loop {
            // The last packet may be there in part.
            let told = broker.run(&decode).await.stdout;
            if told.matches("both sides have closed the connection").count() == 2 {
                return told;
            }
        }
    });
    let told = told.await.unwrap();
    tcpdump.kill().await.unwrap();
    for text in [
        "# connection 2, client: 127.0.0.1:",
        "octets \"AMQP\\0\\0\\t\\u{1}\"\n# connection 1, server\n0 connection.start ",
        "\n1 queue.declare queue=\"captured\" durable\n",
        "\n1 body size=6 \"a body\"\n",
        "\n1 basic.ack delivery_tag=1\n",
    ] {
        assert!(told.contains(text), "{text:?} is not in {told}");
    }
    assert!(!told.contains("no frame") && !told.contains("0guest"), "{told}");
    let refused = broker.run_with_input(&["encode", "-"], told.as_bytes()).await;
    assert!(refused.stderr.contains("--from"), "{refused:?}");
    let octets = broker.home().join("octets");
    let choice = ["encode", "-", "--connection", "2", "--from", "server", "-o", octets.to_str().unwrap()];
    broker.run_with_input(&choice, told.as_bytes()).await.done();
    let again = broker.run(&["decode", octets.to_str().unwrap()]).await.done();
    assert!(again.contains("basic.ack delivery_tag=1") && !again.contains("queue.declare"), "{again}");
}
