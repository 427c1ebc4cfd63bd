//! Uses every part of the library: counts the words of a file by sending its lines through a
//! broker.
//!
//! Every line is a job on a topic exchange, published with `ensure_publish`. Two workers consume
//! the jobs, count words and acknowledge. One of them answers the remote call "how many words in
//! total?" and emits a notification, which a listener prints. Without `--url` an embedded broker is
//! used, and without FILE this program's own text. The words are those of `wc -w FILE`.
//!
//! ```text
//! quickstart [FILE] [--url amqp://guest:guest@127.0.0.1:5672/]
//! ```
//!
//! `RUST_LOG` says what is logged, on standard error.

use std::{
    error::Error,
    fmt, fs,
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::Parser;
use futures_util::{StreamExt as _, stream};
use messaging::{
    Consumer, Context, Exchange, Queue, Target, Topology, Transport, TransportOptions,
    notify::{Event, Level, NotificationResult, Notifier},
    rpc::{self, Endpoint},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

/// The most publishes that wait for their confirm at the same time.
const IN_FLIGHT: usize = 512;
/// How long nothing may progress before the program assumes that something was lost.
const PATIENCE: Duration = Duration::from_secs(30);

mod terminal;

/// Counts the words of a file by sending its lines through a broker.
#[derive(Parser)]
struct Arguments {
    /// The file whose words are counted; `-` reads standard input. Without it, this program's own
    /// text is counted.
    file: Option<PathBuf>,
    /// The broker: amqp://, rabbit:// or memory://. By default one is embedded.
    #[arg(long, default_value = "memory://quickstart")]
    url: String,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Job {
    number: usize,
    line: Line,
}

/// The bytes of a line. JSON has no bytes: a line that is not UTF-8 is sent as a list of numbers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Text(String),
    Bytes(Vec<u8>),
}

/// The results of the workers.
#[derive(Default)]
struct Tally {
    /// The lines that were seen, by number: a line that is delivered again counts once.
    seen: Vec<bool>,
    words: u64,
}

struct Summary {
    lines: usize,
    confirmed: usize,
    consumed: usize,
    words: u64,
    elapsed: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    terminal::log("off");
    match run(&Arguments::parse()).await {
        Ok(summary) => {
            // An error means that standard output is closed, so nobody reads the summary.
            let _ = write!(io::stdout(), "{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => terminal::end("quickstart", Err(error)),
    }
}

async fn run(arguments: &Arguments) -> Result<Summary, Box<dyn Error>> {
    let (file, content) = read(arguments.file.as_deref())?;
    let started = Instant::now();

    // All entities are deleted with their users, and have names that are unique to this run.
    let transport = TransportOptions::new()
        .name("quickstart")
        .topology(Topology::new().auto_delete(true))
        .connect(&arguments.url)
        .await?;
    let counted = count(&transport, &content).await;
    let closed = transport.close().await;
    let (confirmed, consumed, words) = counted?;
    closed?;

    let lines = lines(&content).count();
    let expected = count_words(&content);
    if (confirmed, consumed, words) != (lines, lines, expected) {
        let message = format!(
            "something was lost: of {lines} lines and {expected} words in {file}, \
             {confirmed} lines were confirmed, {consumed} consumed, and {words} words counted"
        );
        return Err(message.into());
    }
    Ok(Summary { lines, confirmed, consumed, words, elapsed: started.elapsed() })
}

/// Returns the name of what is to be counted, and its content.
fn read(file: Option<&Path>) -> Result<(String, Vec<u8>), String> {
    let Some(file) = file else { return Ok(("this text".into(), include_bytes!("quickstart.rs").to_vec())) };
    let name = if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    let mut content = Vec::new();
    let read = match file == Path::new("-") {
        true => io::stdin().read_to_end(&mut content).map(|_| content),
        false => fs::read(file),
    };
    match read {
        Ok(content) => Ok((name, content)),
        Err(error) => Err(format!("cannot read {name}: {error}")),
    }
}

/// Returns how many lines were confirmed and consumed, and how many words there are.
async fn count(transport: &Transport, content: &[u8]) -> Result<(usize, usize, u64), Box<dyn Error>> {
    let name = format!("quickstart-{}", uuid::Uuid::new_v4().simple());
    let exchange = Exchange::topic(&name).auto_delete(true);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (consumed, mut progress) = watch::channel(0);
    let consumed = Arc::new(consumed);

    let jobs =
        transport.consumer(Queue::new(format!("{name}.jobs")).exclusive(true)).bind(&exchange, "job.*");
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        workers.spawn(work(jobs.start().await?, tally.clone(), consumed.clone()));
    }
    let (listener, mut events) = listen(transport, &name).await?;
    let server = answer(transport, &name, tally).await?;

    let total = lines(content).count();
    let shown = Progress::show(progress.clone(), total);
    let confirmed = tokio::select! {
        published = publish(transport, exchange, content) => published?,
        Some(failed) = workers.join_next() => return Err(failed?.into()),
    };
    tokio::select! {
        done = all_consumed(&mut progress, total) => done?,
        Some(failed) = workers.join_next() => return Err(failed?.into()),
    }
    drop(shown);

    let client = transport.rpc_client(Target::topic(&name).exchange(&name));
    let words: u64 = client.call("how_many_words_in_total", &()).timeout(PATIENCE).await?;
    let event = timeout(PATIENCE, events.recv()).await.map_err(|_| "the notification was lost")?;
    let _ = writeln!(io::stdout(), "{}", event.ok_or("the listener ended")?);

    server.stop().await?;
    listener.stop().await;
    let consumed = *progress.borrow();
    Ok((confirmed, consumed, words))
}

/// Publishes every line, many at once. Returns how many the broker has confirmed.
async fn publish(
    transport: &Transport,
    exchange: Exchange,
    content: &[u8],
) -> Result<usize, messaging::Error> {
    let producer = transport.producer(exchange).mandatory(true);
    let producer = &producer;
    let publishes = lines(content).enumerate().map(|(number, line)| async move {
        let line = match str::from_utf8(line) {
            Ok(text) => Line::Text(text.to_owned()),
            Err(_) => Line::Bytes(line.to_owned()),
        };
        producer.ensure_publish("job.line", &Job { number, line }).await
    });
    let mut confirms = stream::iter(publishes).buffer_unordered(IN_FLIGHT);
    let mut confirmed = 0;
    while let Some(confirm) = confirms.next().await {
        confirm?;
        confirmed += 1;
    }
    Ok(confirmed)
}

/// Runs a worker: counts, and acknowledges what it has counted. It ends when something is wrong.
async fn work(
    mut jobs: Consumer<Job>,
    tally: Arc<Mutex<Tally>>,
    consumed: Arc<watch::Sender<usize>>,
) -> messaging::Error {
    while let Some(job) = jobs.recv().await {
        let settled = match job {
            Ok(job) => {
                let is_new = tally.lock().unwrap_or_else(PoisonError::into_inner).add(job.body());
                let acked = job.ack().await;
                if is_new && acked.is_ok() {
                    consumed.send_modify(|consumed| *consumed += 1);
                }
                acked
            }
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            return error;
        }
    }
    messaging::Error::Closed
}

/// Runs the other half of a worker: answers how many words there are in total, and emits a
/// notification of each question.
async fn answer(
    transport: &Transport,
    name: &str,
    tally: Arc<Mutex<Tally>>,
) -> Result<rpc::RunningServer, messaging::Error> {
    let notifier = Notifier::new("quickstart.worker-1")
        .driver(transport.notification_driver(notifications(name)).exchange(name));
    let endpoint = Endpoint::new().method("how_many_words_in_total", move |context: Context, (): ()| {
        let words = tally.lock().unwrap_or_else(PoisonError::into_inner).words;
        let notifier = notifier.clone();
        async move {
            notifier
                .info(&context, "quickstart.words.counted", &serde_json::json!({ "words": words }))
                .await?;
            Ok(words)
        }
    });
    let target = Target::topic(name).exchange(name).server("worker-1");
    transport.rpc_server(target).endpoint(endpoint).start().await
}

/// Starts a listener; returns it and what it hears.
async fn listen(
    transport: &Transport,
    name: &str,
) -> Result<
    (messaging::notify::RunningListener, tokio::sync::mpsc::UnboundedReceiver<String>),
    messaging::Error,
> {
    let (heard, events) = tokio::sync::mpsc::unbounded_channel();
    let hear = move |event: Event| {
        let payload: serde_json::Value = event.payload().unwrap_or_default();
        let line = format!("notification {} from {}: {payload}", event.event_type(), event.publisher_id());
        // An error means that nobody is interested any more.
        let _ = heard.send(line);
        async { NotificationResult::Handled }
    };
    let listener = transport.listener(notifications(name)).exchange(name).on(Level::Info, hear);
    Ok((listener.start().await?, events))
}

fn notifications(name: &str) -> String {
    format!("{name}.notifications")
}

async fn all_consumed(progress: &mut watch::Receiver<usize>, total: usize) -> Result<(), String> {
    loop {
        let consumed = *progress.borrow_and_update();
        if consumed >= total {
            return Ok(());
        }
        match timeout(PATIENCE, progress.changed()).await {
            Ok(Ok(())) => {}
            _ => return Err(format!("{consumed} of {total} lines were consumed, and then no more came")),
        }
    }
}

/// A line on the terminal that shows the progress of the workers, for as long as this lives, if
/// standard error is a terminal.
struct Progress(Option<tokio::task::JoinHandle<()>>);

impl Progress {
    fn show(progress: watch::Receiver<usize>, total: usize) -> Self {
        Progress(io::stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(100));
                loop {
                    ticks.tick().await;
                    let _ = write!(io::stderr(), "\r{} of {total} lines consumed ", *progress.borrow());
                }
            })
        }))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shown) = &self.0 {
            shown.abort();
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Tally {
    /// Adds a job. Returns whether its line was not seen before.
    fn add(&mut self, job: &Job) -> bool {
        if self.seen.len() <= job.number {
            self.seen.resize(job.number + 1, false);
        }
        let is_new = !std::mem::replace(&mut self.seen[job.number], true);
        if is_new {
            self.words += match &job.line {
                Line::Text(text) => count_words(text.as_bytes()),
                Line::Bytes(bytes) => count_words(bytes),
            };
        }
        is_new
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { lines, confirmed, consumed, words, elapsed } = self;
        writeln!(f, "lines:     {lines}\nconfirmed: {confirmed}\nconsumed:  {consumed}\nwords:     {words}")?;
        writeln!(f, "seconds:   {:.3}", elapsed.as_secs_f64())
    }
}

/// Returns the lines of a file, without their ends; the last one may lack it.
fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split_inclusive(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Counts words as `wc -w` does in a UTF-8 locale: printable characters between white space. Bytes
/// that are not UTF-8, and characters that do not print, neither begin nor end a word. (Characters
/// that Unicode does not have yet count as printable here, but not in wc.)
fn count_words(bytes: &[u8]) -> u64 {
    let mut words = 0;
    let mut in_word = false;
    for character in bytes.utf8_chunks().flat_map(|chunk| chunk.valid().chars()) {
        match character {
            // White space to Unicode, but not to wc.
            '\u{85}' | '\u{2028}' | '\u{2029}' => {}
            // White space to wc, but not to Unicode.
            '\u{2060}' => in_word = false,
            character if character.is_whitespace() => in_word = false,
            character if character.is_control() => {}
            _ => {
                words += u64::from(!in_word);
                in_word = true;
            }
        }
    }
    words
}
