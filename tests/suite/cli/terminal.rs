//! The program on a pseudo-terminal.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::Stdio,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::{
    process::{Child, Command},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::fixture::{Broker, DEADLINE, PROGRAM};

/// The size of the terminal.
pub(super) const COLUMNS: usize = 80;
pub(super) const ROWS: usize = 24;

/// A program that has a pseudo-terminal for its input, output and errors.
pub(super) struct Terminal {
    controller: File,
    child: Child,
    /// The lines that it has shown so far.
    shown: String,
}

impl Terminal {
    /// Starts the program in a session of its own, of which the terminal is the controlling one.
    pub(super) fn start(broker: &Broker, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        tcsetwinsize(
            &controller,
            Winsize { ws_row: ROWS as u16, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 },
        )
        .unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let name = OsStr::from_bytes(name.as_bytes());
        let end = || Stdio::from(OpenOptions::new().read(true).write(true).open(name).unwrap());
        let mut command = Command::new("setsid");
        command.args(["--ctty", PROGRAM]).args(arguments);
        broker.isolate(&mut command);
        command.env("AMQP_URL", broker.url()).envs(environment.iter().copied());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Terminal { controller: File::from(controller), child, shown: String::new() }
    }

    /// Waits until it has shown this.
    pub(super) async fn shows(&mut self, text: &str) {
        self.shows_what(text, |shown| shown.contains(text)).await;
    }

    /// Waits until this holds of all that it has shown.
    pub(super) async fn shows_what(&mut self, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(&self.shown) {
            assert!(Instant::now() < deadline, "it does not show {what:?}: {:?}", self.shown);
            assert!(self.read().await, "it ended without {what:?}: {:?}", self.shown);
        }
    }

    /// The modes in which lines are edited, echoed and interrupted.
    pub(super) fn modes(&self) -> LocalModes {
        tcgetattr(&self.controller).unwrap().local_modes
    }

    /// The controlling end, on which the modes can still be read when the program has ended.
    pub(super) fn controller(&self) -> File {
        self.controller.try_clone().unwrap()
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.unwrap(), signal).unwrap();
    }

    pub(super) fn types(&mut self, text: &str) {
        self.controller.write_all(text.as_bytes()).unwrap();
    }

    /// Returns its exit code, and all that it showed.
    pub(super) async fn ended(mut self) -> (Option<i32>, String) {
        while self.read().await {}
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it does not end").unwrap();
        (status.code(), self.shown)
    }

    /// Reads more of what it shows; returns whether there can be more.
    async fn read(&mut self) -> bool {
        let mut controller = self.controller.try_clone().unwrap();
        let reading = spawn_blocking(move || {
            let mut octets = vec![0; 4096];
            // The read fails (EIO) once nobody has the other end.
            let read = controller.read(&mut octets).unwrap_or_default();
            octets.truncate(read);
            octets
        });
        let octets = timeout(DEADLINE, reading).await.expect("it shows nothing more").unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&octets));
        !octets.is_empty()
    }
}

const HOSTILE: &str = "\u{1b}[2Jgone\r\u{9b}31m\u{202e}txt";

#[tokio::test]
async fn what_a_peer_wrote_reaches_a_terminal_escaped_and_a_pipe_as_it_is() {
    let broker = Broker::embedded().await;
    for options in [&[][..], &["--raw"], &["--format", "{{body}}"], &["--json"]] {
        let queue = broker.queue_with("hostile", &[HOSTILE]).await;
        let line = [&["get", &queue], options].concat();
        let (code, shown) = Terminal::start(&broker, &line, &[("NO_COLOR", "1")]).ended().await;
        assert_eq!(code, Some(0), "{shown:?}");
        assert!(shown.contains("[2Jgone"), "{shown:?}");
        // The terminal itself makes \r\n of \n.
        let unsafe_ones = ['\u{1b}', '\u{9b}', '\u{202e}'];
        assert!(!shown.replace("\r\n", "\n").contains(['\r']) && !shown.contains(unsafe_ones), "{shown:?}");
    }
    let queue = broker.queue_with("hostile", &[HOSTILE]).await;
    assert_eq!(broker.run(&["get", &queue, "--raw"]).await.done(), HOSTILE);
}

#[tokio::test]
async fn a_hostile_name_in_an_error_is_escaped_even_in_a_pipe() {
    let broker = Broker::embedded().await;
    let refused = broker.run(&["get", "no\u{1b}[2Jqueue"]).await;
    assert!(refused.stderr.contains("u{1b}") && !refused.stderr.contains('\u{1b}'), "{refused:?}");
}

#[tokio::test]
async fn there_are_colours_on_a_terminal_unless_they_are_unwanted() {
    let broker = Broker::embedded().await;
    let none: &[(&str, &str)] = &[];
    for (options, environment, is_coloured) in [
        (&[][..], none, true),
        (&[], &[("NO_COLOR", "1")], false),
        (&[], &[("NO_COLOR", "")], true),
        (&[], &[("TERM", "dumb")], false),
        (&["--color", "never"], none, false),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
    ] {
        let queue = broker.queue_with("coloured", &["body"]).await;
        let line = [&["get", &queue], options].concat();
        let (_, shown) = Terminal::start(&broker, &line, environment).ended().await;
        assert_eq!(shown.contains("\u{1b}["), is_coloured, "{options:?} {environment:?} {shown:?}");
        assert!(shown.contains(&queue) && shown.contains("body"), "{shown:?}");
    }
}

#[tokio::test]
async fn an_interrupt_ends_it_and_only_what_was_printed_is_acknowledged() {
    let broker = Broker::embedded().await;
    let queue = broker.queue_with("interrupted", &["first"]).await;
    let mut terminal = Terminal::start(&broker, &["sub", &queue], &[]);
    terminal.shows("first").await;
    terminal.types("\u{3}");
    let (code, _) = terminal.ended().await;
    assert_eq!(code, Some(130));
    assert!(broker.bodies_of(&queue).await.is_empty());

    let queue = broker.queue_with("interrupted-child", &["held"]).await;
    let line = ["sub", &queue, "--", "sh", "-c", "echo started; exec sleep 600"];
    let mut terminal = Terminal::start(&broker, &line, &[]);
    terminal.shows("started").await;
    terminal.types("\u{3}");
    let (code, _) = terminal.ended().await;
    assert_eq!(code, Some(130));
    assert_eq!(broker.bodies_of(&queue).await, ["held"]);
}

#[tokio::test]
async fn a_password_is_asked_for_without_an_echo() {
    let broker = Broker::embedded().await;
    let url = broker.url().replace("guest:guest@", "guest@");
    let queue = broker.queue_with("asked", &["body"]).await;
    for (typed, code) in [("guest\r", 0), ("gueX\u{7f}st\r", 0), ("wrong\r", 4), ("gu\u{3}", 130)] {
        let line = ["get", &queue, "--url", &url, "--ask-password", "--then", "requeue"];
        let mut terminal = Terminal::start(&broker, &line, &[]);
        terminal.shows("Password: ").await;
        terminal.types(typed);
        let (ended, shown) = terminal.ended().await;
        assert_eq!(ended, Some(code), "{shown:?}");
        assert!(!shown.contains("gue") || code == 4, "{shown:?}");
        assert!(!shown.contains("wrong"), "{shown:?}");
    }
}
