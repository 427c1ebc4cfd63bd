//! Measures the lower bound for a broker: the cost of reading bytes from one loopback connection
//! and writing them to another, with nothing in between.
//!
//! `relay COUNT SIZE [two]` moves so many messages of so many bytes from a source to a sink, which
//! are separate processes, and prints the rate and the CPU time a message of the relay alone. It
//! reads into 16 buffers of 256 KiB in turn and writes each unchanged. With `two`, one thread reads
//! and another writes, as a broker does that serves each connection separately.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    sync::mpsc,
    thread,
    time::Instant,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const BUFFER: usize = 256 * 1024;
const BUFFERS: usize = 16;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["source", address, count, size] => source(address, count.parse()?, size.parse()?),
        ["sink", address] => sink(address),
        [count, size, how @ ..] => relay(count.parse()?, size.parse()?, how.first() == Some(&"two")),
        _ => Err("usage: relay COUNT SIZE [two]".into()),
    }
}

fn source(address: &str, count: u64, size: usize) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(b"<")?;
    let message = vec![b'x'; size];
    for _ in 0..count {
        stream.write_all(&message)?;
    }
    // This waits until the other side has read all.
    let _ = stream.read(&mut [0])?;
    Ok(())
}

fn sink(address: &str) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b">")?;
    let mut buffer = vec![0; 16 * BUFFER];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

fn relay(count: u64, size: u64, is_two: bool) -> Result<(), Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    let program = std::env::current_exe()?;
    let mut peers: Vec<Child> = vec![
        Command::new(&program).args(["source", &address, &count.to_string(), &size.to_string()]).spawn()?,
        Command::new(&program).args(["sink", &address]).spawn()?,
    ];
    let (mut from, mut to) = (None, None);
    while from.is_none() || to.is_none() {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let mut which = [0];
        stream.read_exact(&mut which)?;
        let place = if &which == b"<" { &mut from } else { &mut to };
        *place = Some(stream);
    }
    let (Some(from), Some(to)) = (from, to) else { return Err("no peers".into()) };
    let (began, cpu) = (Instant::now(), cpu());
    let total = count * size;
    if is_two {
        in_two_threads(from, to, total)?
    } else {
        in_one_thread(from, to, total)?
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), self::cpu() - cpu);
    for peer in &mut peers {
        peer.wait()?;
    }
    let threads = if is_two { "two threads" } else { "one thread" };
    println!(
        "{threads}: {:.0} messages/s, {:.2} us CPU a message",
        count as f64 / seconds,
        cpu * 1e6 / count as f64
    );
    Ok(())
}

fn in_one_thread(mut from: TcpStream, mut to: TcpStream, total: u64) -> io::Result<()> {
    let mut buffers = vec![vec![0; BUFFER]; BUFFERS];
    let mut moved = 0;
    while moved < total {
        for buffer in &mut buffers {
            let count = read(&mut from, buffer)?;
            to.write_all(&buffer[..count])?;
            moved += count as u64;
            if moved == total {
                break;
            }
        }
    }
    Ok(())
}

fn read(from: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    match from.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

fn in_two_threads(mut from: TcpStream, mut to: TcpStream, total: u64) -> Result<(), Failure> {
    let (full, filled) = mpsc::channel::<(Vec<u8>, usize)>();
    let (empty, emptied) = mpsc::channel::<Vec<u8>>();
    for _ in 0..BUFFERS {
        empty.send(vec![0; BUFFER])?;
    }
    let writer = thread::spawn(move || -> io::Result<()> {
        for (buffer, count) in filled {
            to.write_all(&buffer[..count])?;
            // The reader may have all the buffers it needs.
            let _ = empty.send(buffer);
        }
        Ok(())
    });
    let mut moved = 0;
    while moved < total {
        let mut buffer = emptied.recv()?;
        let count = read(&mut from, &mut buffer)?;
        moved += count as u64;
        full.send((buffer, count))?;
    }
    drop(full);
    writer.join().map_err(|_| "the writer panicked")??;
    Ok(())
}

/// The CPU time of all threads of this process, user and system, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
