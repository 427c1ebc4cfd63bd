//! The program and its disk: a full disk, a failing disk, too few open files, and the log lines at
//! the start.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use amqp_codec::{
    Frame, Method,
    method::{basic, connection},
};
use running::{Client, Program, publisher};

/// A separate disk of so many megabytes.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts a disk; `None` where that is not allowed.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(SmallDisk { folder });
        }
        eprintln!("left out: nothing can be mounted here");
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what}");
}

/// Publishes until the broker sends something else than a confirm.
fn publish_until_something_else(client: &mut Client) -> Method {
    for number in 0.. {
        client.publish(number * 10).unwrap();
        match client.next().unwrap() {
            Frame::Method(_, Method::Basic(basic::Method::Ack(_))) => {}
            Frame::Method(_, method) => return method,
            other => panic!("{other:?}"),
        }
    }
    unreachable!("it goes on for ever")
}

#[test]
fn a_write_that_fails_nacks_tells_the_cause_in_words_and_ends_the_program() {
    let Some(disk) = SmallDisk::mount(3) else { return };
    let mut program = Program::with(disk.path(), ":", &["--disk-free-limit", "0"]);
    let mut client = publisher(&program.address);
    let nack = publish_until_something_else(&mut client);
    assert!(matches!(nack, Method::Basic(basic::Method::Nack(_))), "{nack:?}");
    let Frame::Method(0, Method::Connection(connection::Method::Close(close))) = client.next().unwrap()
    else {
        panic!("no close")
    };
    assert_eq!(close.reply_code, 541);
    client.send(0, connection::CloseOk {}).unwrap();
    let status = program.child.wait().unwrap();
    assert!(!status.success(), "a supervisor sees it");
    let words = format!("cannot write to {}: No space left on device", disk.path().display());
    wait_until("the log tells the cause", || program.log.lock().unwrap().contains(&words));
    let log = program.log.lock().unwrap();
    assert!(!log.contains("FjallError"), "{log}");
}

#[test]
fn on_a_disk_that_is_nearly_full_publishers_are_held_back_and_consumers_drain() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let filler = disk.path().join("filler");
    let data = disk.path().join("data");
    let program = Program::with(&data, ":", &["--disk-free-limit", "50MB"]);
    let mut client = publisher(&program.address);
    client.confirmed(0..10, &mut 0).unwrap();
    fs::write(&filler, vec![1; 20_000_000]).unwrap();
    wait_until("it sees that", || program.log.lock().unwrap().contains("publishers are held back"));
    client.publish(10).unwrap();
    // The publish that is held back may have been executed already.
    let is_ack = |frame: &Frame| matches!(frame, Frame::Method(1, Method::Basic(basic::Method::Ack(_))));
    let mut told = client.next().unwrap();
    let is_in = is_ack(&told);
    if is_in {
        told = client.next().unwrap();
    }
    let Frame::Method(0, Method::Connection(connection::Method::Blocked(blocked))) = &told else {
        panic!("{told:?}")
    };
    assert_eq!(blocked.reason.to_text(), "low on disk");
    assert!(Client::open(&program.address).unwrap().drain().len() >= 10);
    fs::remove_file(&filler).unwrap();
    let rest: Vec<Frame> = (usize::from(is_in)..2).map(|_| client.next().unwrap()).collect();
    let is_unblocked = |frame: &Frame| {
        matches!(frame, Frame::Method(0, Method::Connection(connection::Method::Unblocked(_))))
    };
    assert!(
        rest.iter().any(is_unblocked) && rest.iter().all(|frame| is_unblocked(frame) || is_ack(frame)),
        "{rest:?}"
    );
}

#[test]
fn connections_that_do_nothing_leave_the_disk_the_files_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::with(folder.path(), "ulimit -n 128", &[]);
    let mut client = publisher(&program.address);
    let idle: Vec<TcpStream> = (0..200).map_while(|_| TcpStream::connect(&program.address).ok()).collect();
    wait_until("it is full", || program.log.lock().unwrap().contains("as many as open files allow"));
    let files = fs::read_dir(format!("/proc/{}/fd", program.child.id())).unwrap().count();
    assert!(files < 128 - 16, "{files} are open");
    client.confirmed(0..500, &mut 0).unwrap();
    drop(idle);
    assert_eq!(Client::open(&program.address).unwrap().drain().len(), 500);
}

#[test]
fn the_log_says_at_the_start_what_was_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    publisher(&program.address).confirmed(0..10, &mut 0).unwrap();
    program.kill();
    for end in ["an end that was not clean", "a clean end"] {
        let mut program = Program::with(folder.path(), ":", &[]);
        let line = format!(
            "version {} with {}: 0 exchanges, 1 queues, 0 bindings and 10 messages recovered after {end}, in ",
            env!("CARGO_PKG_VERSION"),
            folder.path().display()
        );
        wait_until("it says so", || program.log.lock().unwrap().contains(&line));
        Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status().unwrap();
        assert!(program.child.wait().unwrap().success());
    }
}

/// The output of a program that does not start.
fn refused(folder: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqp-broker"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(folder).args(flags).env_remove("RUST_LOG");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_damaged_folder_is_refused_until_the_flag_says_otherwise_which_is_no_key_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let (mut client, mut tag) = (publisher(&program.address), 0);
    // Each is written separately.
    (0..100).for_each(|number| client.confirmed(number..number + 1, &mut tag).unwrap());
    program.kill();
    let journal = folder.path().join("0.jnl");
    fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(10_000).unwrap();
    let file = folder.path().join("file.toml");
    fs::write(&file, "repair = true").unwrap();
    let log = refused(folder.path(), &["--config", file.to_str().unwrap()]);
    assert!(log.contains("unknown field `repair`"), "{log}");
    for _ in 0..2 {
        let log = refused(folder.path(), &[]);
        assert!(log.contains("ERROR") && log.contains("was confirmed"), "{log}");
        assert!(log.contains("--repair"), "it says what may be done: {log}");
    }
    let program = Program::with(folder.path(), ":", &["--repair"]);
    let left = Client::open(&program.address).unwrap().drain().len();
    assert!((10..100).contains(&left), "{left}");
    program.kill();
    Program::start(folder.path());
}
