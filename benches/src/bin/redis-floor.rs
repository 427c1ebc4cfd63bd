//! Measures how long Redis itself takes to hand a message to someone who waits for it, and prints
//! one JSON line.
//!
//! `redis-floor HOST:PORT COUNT` waits with `BLPOP` on one connection and sends with `LPUSH` on
//! another, by blocking sockets and threads of their own, with a pause before each message as in
//! `wakeups`. No client can be faster than that.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::mpsc,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

/// The pause before each message.
const IDLE: Duration = Duration::from_millis(5);

const LIST: &str = "bench-floor";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: redis-floor HOST:PORT COUNT".into());
    };
    let count: usize = count.parse()?;
    let (mut waiting, mut sending) = (connect(&address)?, connect(&address)?);
    let (arrived, arrivals) = mpsc::channel();
    std::thread::spawn(move || {
        while call(&mut waiting, &["BLPOP", LIST, "0"]).is_ok() && arrived.send(Instant::now()).is_ok() {}
    });
    let mut times = Vec::with_capacity(count);
    for number in 0..=count {
        sleep(IDLE);
        let begun = Instant::now();
        call(&mut sending, &["LPUSH", LIST, "message"])?;
        let time = arrivals.recv()?.duration_since(begun);
        // The first has more to do.
        if number > 0 {
            times.push(time.as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    let part = |share: usize| times.get(times.len() * share / 100).map(|time| time * 1e6);
    println!("{}", json!({"count": count, "p50_us": part(50), "p99_us": part(99)}));
    Ok(())
}

fn connect(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a command and reads its answer, which is short enough to come in one piece.
fn call(stream: &mut TcpStream, command: &[&str]) -> Result<(), Failure> {
    let mut request = format!("*{}\r\n", command.len());
    for word in command {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 1024];
    match stream.read(&mut answer)? {
        0 => Err("Redis has closed the connection".into()),
        _ if answer[0] == b'-' => Err("Redis refused a command".into()),
        _ => Ok(()),
    }
}
