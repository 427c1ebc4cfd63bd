//! The broker as a program: its output, its addresses and its end.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// The program, killed when dropped.
struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amqp-broker"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (Output, String) {
    let output = command(arguments).output().unwrap();
    let said = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    (output, said)
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Program { child, stdout }
    }

    /// The next line, which names the address.
    fn address(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned()
    }

    /// Sends a signal and awaits the end; returns whether it was orderly, and the log.
    fn ended_by(mut self, signal: &str) -> (bool, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().success(), log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first octets that the broker sends.
fn greeting(address: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(HEADER).unwrap();
    let mut start = [0; 11];
    stream.read_exact(&mut start).unwrap();
    start.to_vec()
}

#[test]
fn it_listens_where_it_says_and_ends_cleanly_by_either_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut program = Program::start(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
        for _ in 0..2 {
            // This is a method frame on channel 0: connection.start.
            assert_eq!(greeting(&program.address())[7..], [0, 10, 0, 10]);
        }
        let (clean, log) = program.ended_by(signal);
        assert!(clean && log.contains("ending"), "{signal}: {log}");
    }
}

#[test]
fn a_hangup_ends_nothing() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0"]);
    let address = program.address();
    let id = program.child.id().to_string();
    let mut before = TcpStream::connect(&address).unwrap();
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
        greeting(&address);
    }
    before.write_all(HEADER).unwrap();
    before.read_exact(&mut [0; 11]).unwrap();
    let (clean, log) = program.ended_by("-TERM");
    assert!(clean && log.contains("users and certificates are those of the settings"), "{log}");
}

#[test]
fn a_file_says_what_flags_do_not() {
    let file = std::env::temp_dir().join(format!("amqp-broker-test-{}.toml", std::process::id()));
    std::fs::write(&file, "listen = [\"127.0.0.1:0\"]\nlog = \"error\"\n").unwrap();
    let mut program = Program::start(&["--config", file.to_str().unwrap()]);
    greeting(&program.address());
    let (clean, log) = program.ended_by("-TERM");
    assert!(clean && log.is_empty(), "{log}");
    std::fs::write(&file, "listens = []\n").unwrap();
    let (output, said) = output(&["--config", file.to_str().unwrap()]);
    assert!(!output.status.success() && said.contains("unknown field `listens`"), "{said}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn settings_are_checked_without_listening_or_opening_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("broker.toml"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let data = data.to_str().unwrap();
    let settings = ["check-config", "--listen", &taken, "--data", data];
    let (output, said) = output(&settings);
    assert!(output.status.success() && said == "the settings are valid\n", "{said}");
    assert!(!std::path::Path::new(data).exists());
    std::fs::write(&file, "listen = [\"localhost\"]\n").unwrap();
    let file = file.to_str().unwrap();
    let wrong: [(&[&str], &str); 5] = [
        (&["--config", file], "cannot listen on localhost"),
        (&["--config", data], "data: No such file"),
        (&["--repair"], "--repair needs --data"),
        (&["--vhost", ""], "cannot be named by clients"),
        (&["--listen-tls", "127.0.0.1:0", "--tls-certificate", data, "--tls-key", data], "cannot read"),
    ];
    for (flags, why) in wrong {
        let (output, said) = self::output(&[&["check-config"], flags].concat());
        assert!(!output.status.success() && said.contains(why), "{flags:?}: {said}");
    }
}

#[test]
fn definitions_are_loaded_before_it_listens_and_those_that_are_wrong_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let flags = ["--listen", "127.0.0.1:0", "--load-definitions", file.to_str().unwrap()];
    let user = r#"{"users": [{"name": "ada", "password_hash": "", "tags": "administrator"}]}"#;
    for (definitions, why) in [
        ("", "EOF while parsing"),
        ("[]", "definitions are an object in JSON"),
        (r#"{"queues": [{"name": "q", "vhost": "nowhere"}]}"#, "nowhere"),
        (r#"{"policies": [{"vhost": "/"}]}"#, "name"),
    ] {
        std::fs::write(&file, definitions).unwrap();
        let (output, said) = output(&flags);
        assert!(!output.status.success() && said.contains(why), "{definitions}: {said}");
    }
    std::fs::write(&file, "{").unwrap();
    let (checked, said) = output(&["check-config", "--load-definitions", file.to_str().unwrap()]);
    assert!(!checked.status.success() && said.contains("definitions.json"), "{said}");
    std::fs::write(&file, user).unwrap();
    let mut program = Program::start(&flags);
    greeting(&program.address());
    assert!(program.ended_by("-TERM").0);
}

#[test]
fn help_names_every_flag_and_shows_a_file() {
    let (output, said) = output(&["--help"]);
    assert!(output.status.success());
    for word in [
        "--config",
        "--listen-tls",
        "--permissions",
        "--consumer-timeout",
        "--memory-limit",
        "--user-without-password",
        "--loopback-users",
        "--log",
        "--log-format",
        "SIGHUP",
        "[[user]]",
    ] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
}

#[test]
fn what_cannot_be_is_told_and_a_password_is_not_repeated() {
    let cases: [(&[&str], &str); 30] = [
        (&["--repair"], "--repair needs --data: there is no folder to be repaired"),
        (&["--tls-client-authorities", "/x"], "but no --listen-tls that would use them"),
        (&["--listen", "5672"], "cannot listen on 5672: invalid socket address: an address is HOST:PORT"),
        (
            &["--permissions", "reeder", "/", "", "", ".*"],
            "permissions are for user 'reeder', but there is no such user",
        ),
        (
            &["--permissions", "guest", "/x", "", "", ".*"],
            "are for virtual host '/x', but there is none of that name",
        ),
        (&["--anonymous", "nobody"], "--anonymous is user 'nobody', but there is no such user"),
        (&["--loopback-users", "gast"], "--loopback-users names user 'gast', but there is no such user"),
        (&["--user", "ada:x", "--user", "ada:y"], "user 'ada' is given more than once"),
        (&["--user", "ada:x", "--user-without-password", "ada"], "user 'ada' is given more than once"),
        (&["--vhost", "a", "--vhost", "a"], "virtual host 'a' is given more than once"),
        (&["--user", "ada:"], "user 'ada' has an empty password"),
        (&["--user", ":hunter2"], "a user has no name"),
        (&["--frame-max", "10"], "--frame-max is 10: it is at least 4096, in bytes"),
        (&["--frame-max", "4G"], "--frame-max is 4294967296: it is at most 4294967295"),
        (&["--channel-max", "0"], "--channel-max is 0: it is at least 1"),
        (&["--login-timeout", "0"], "--login-timeout is 0: it is at least 1, for nobody could log in"),
        (&["--memory-limit", "lots"], "a size is a number of bytes, such as 1048576, or one with a unit"),
        (
            &["--log", "inf"],
            "--log inf: it is neither one of the levels off, error, warn, info, debug, trace nor",
        ),
        (&["--log-format", "xml"], "[possible values: text, json]"),
        (&["--log", "off", "--channel-max", "0"], "--channel-max is 0: it is at least 1"),
        (&["--listen", "nowhere:1:2"], "cannot listen on nowhere:1:2"),
        (&["--config", "/nonexistent/x.toml"], "/nonexistent/x.toml: "),
        (&["--listen-tls", "127.0.0.1:0"], "TLS needs --tls-certificate and --tls-key"),
        (&["--permissions", "u", "/", "(", "", ""], "is not a regular expression"),
        (&["--log", "=="], "--log"),
        (&["--user", "ada:my", "hunter2"], "a word belongs to no flag"),
        (&["hunter2", "--repair"], "a word belongs to no flag"),
        (&["--", "hunter2"], "a word belongs to no flag"),
        (&["--repair=hunter2"], "a flag that takes no value has got one"),
        (&["--pasword=hunter2"], "unexpected argument '--pasword' found"),
    ];
    for (arguments, text) in cases {
        let (output, said) = output(arguments);
        assert!(!output.status.success() && said.contains(text), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{arguments:?}: {said}");
    }
    for arguments in
        [&["--user", "hunter2"][..], &["--user=hunter2"], &["--user", "hunter2", "--user", "ada:hunter2"]]
    {
        let (output, said) = output(arguments);
        assert!(!output.status.success() && said.contains("a user is NAME:PASSWORD"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn an_error_in_a_file_repeats_no_line_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    for password in [
        "\"hunter2",
        "'hunter2",
        "hunter2",
        "[\"hunter2\"]",
        "5",
        "\"\"",
        "\"hunter2\"\npassword = \"hunter2\"",
    ] {
        std::fs::write(&file, format!("[[user]]\nname = \"ada\"\npassword = {password}\n")).unwrap();
        let (output, said) = output(&["--config", file.to_str().unwrap()]);
        let is_told =
            said.contains("broker.toml: line ") || said.contains("user 'ada' has an empty password");
        assert!(!output.status.success() && is_told && !said.contains("hunter"), "{password}: {said}");
    }
}

#[test]
fn a_user_who_has_no_way_to_log_in_is_told_of() {
    let mut program = Program::start(&["--listen", "127.0.0.1:0", "--user-without-password", "sensor"]);
    program.address();
    let (clean, log) = program.ended_by("-TERM");
    assert!(clean && log.contains("nobody logs in as user 'sensor': it has no password"), "{log}");
}

#[test]
fn a_file_names_users_without_a_password_and_those_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    let text = "listen = [\"127.0.0.1:0\"]\nlog-format = \"json\"\nuser-without-password = [\"sensor\"]\n\
                loopback-users = []\nframe-max = \"64k\"\nanonymous = \"sensor\"\n\
                [[permissions]]\nuser = \"sensor\"\nvhost = \"/\"\nconfigure = \"\"\nwrite = \"\"\nread = \"\"\n";
    std::fs::write(&file, text).unwrap();
    let mut program = Program::start(&["--config", file.to_str().unwrap()]);
    greeting(&program.address());
    let (clean, log) = program.ended_by("-TERM");
    assert!(clean && log.starts_with('{') && !log.contains("nobody logs in"), "{log}");
}

/// How many files the process with this id has open.
fn open_files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// The processor time that the process with this id has used, in hundredths of a second.
fn processor_time(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn the_soft_limit_of_open_files_is_raised_and_at_the_hard_one_connections_wait_for_others_to_go() {
    const HARD: usize = 64;
    // The shell's process becomes the program's, with the same id and limits.
    let script = format!("ulimit -Sn 32 && ulimit -Hn {HARD} && exec \"$0\" --listen 127.0.0.1:0");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script, env!("CARGO_BIN_EXE_amqp-broker")])
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut program = Program { child, stdout };
    let (address, id) = (program.address(), program.child.id());
    // A few of the free files are reserved for other purposes.
    let free = HARD - open_files(id) - 8;
    let connect = || {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(HEADER).unwrap();
        stream
    };
    let answered = |stream: &mut TcpStream| stream.read_exact(&mut [0; 7]).unwrap();
    let mut clients: Vec<TcpStream> = (0..free).map(|_| connect()).collect();
    clients.iter_mut().for_each(answered);
    assert!(open_files(id) > 32, "the soft limit is below");
    let mut waiting: Vec<TcpStream> = (0..16).map(|_| connect()).collect();
    // It is at the limit from here on, which must take next to no processor time.
    let before = processor_time(id);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(processor_time(id) - before < 25, "it spins");
    assert!(open_files(id) <= HARD - 4, "{} are open", open_files(id));
    clients.drain(..16);
    waiting.iter_mut().for_each(answered);
    drop((clients, waiting));
    let (clean, log) = program.ended_by("-TERM");
    assert!(clean && log.contains("as many as open files allow"), "{log}");
}
