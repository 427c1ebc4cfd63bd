//! Handles the messages of a queue until it is killed, and records each before it acknowledges it.
//!
//! `recording_worker URL QUEUE FILE [hold]` appends a line to FILE for each message: the number
//! that is its body, and `true` if it came with the redelivered flag, else `false`. With `hold` it
//! never finishes what it has recorded. `tests::RecordingWorker` starts it.

use std::{
    env,
    error::Error,
    fs::{File, OpenOptions},
    future::pending,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use messaging::{Incoming, Queue, Transport};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recording_worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [url, queue, file, rest @ ..] = arguments else {
        return Err("usage: recording_worker URL QUEUE FILE [hold]".into());
    };
    let record = Arc::new(OpenOptions::new().append(true).open(file)?);
    let holds = !rest.is_empty();
    let transport = Transport::connect(url).await?;
    let handler = move |message: Incoming<u64>| {
        let record = Arc::clone(&record);
        async move {
            write(&record, &message)?;
            if holds { pending().await } else { Ok::<_, io::Error>(()) }
        }
    };
    let mut worker = transport.worker(Queue::durable(queue)).concurrency(8).start(handler).await?;
    Ok(worker.wait().await?)
}

/// One call of the system writes the line, so that a kill leaves the whole of it or nothing.
fn write(mut record: &File, message: &Incoming<u64>) -> io::Result<()> {
    let line = format!("{} {}\n", message.body(), message.redelivered());
    record.write_all(line.as_bytes())
}
