//! Sends millions of messages through the embedded broker with all clients; see `tests/README.md`.

use std::{env, io, process::ExitCode};

use tests::{
    exit_code,
    soak::{Request, run},
};

const USAGE: &str = "usage: soak [--messages N]";

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request { messages: 240_000 };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--messages" => request.messages = arguments.next()?.parse().ok()?,
            _ => return None,
        }
    }
    Some(request)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(request) = parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    exit_code("soak", soak(request).await)
}

#[allow(clippy::print_stdout, reason = "its output is its result")]
async fn soak(request: Request) -> io::Result<bool> {
    let wrong = run(request).await.map_err(io::Error::other)?;
    wrong.iter().for_each(|wrong| println!("WRONG: {wrong}"));
    println!("{} wrong", wrong.len());
    Ok(wrong.is_empty())
}
