//! Settings from flags and files.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

const FILE: &str = r#"
    listen = ["127.0.0.1:1", "127.0.0.1:2"]
    vhost = ["a", "b"]
    heartbeat = 5
    max-queues = 7

    [[user]]
    name = "ada"
    password = "secret"

    [[permissions]]
    user = "ada"
    vhost = "a"
    configure = "^x"
    write = ""
    read = ".*"
"#;

#[test]
fn a_flag_wins_over_the_file_which_says_the_rest() {
    let flags = Flags::parse_from(["broker", "--listen", "127.0.0.1:3", "--heartbeat", "9"]).settings;
    let both = flags.or(Settings::parse(FILE).unwrap());
    assert_eq!((both.listen.as_slice(), both.heartbeat), (&["127.0.0.1:3".to_owned()][..], Some(9)));
    assert_eq!((both.vhosts.len(), both.max_queues, both.users.len()), (2, Some(7), 1));
    assert_eq!(both.permissions_in_file.len(), 1);
    assert!(both.builder().is_ok());
    assert!(!format!("{both:?}").contains("secret"));
}

/// The setters of the builder, by the names that their flags and keys would have.
fn setters() -> Vec<String> {
    let source = include_str!("../broker/mod.rs");
    let (_, builder) = source.split_once("impl BrokerBuilder {").unwrap();
    let (builder, _) = builder.split_once("\n}\n").unwrap();
    let named = builder.split("pub fn ").skip(1).filter_map(|setter| setter.split_once('('));
    let setters = named.filter(|(_, arguments)| arguments.trim_start().starts_with("mut self"));
    // The one backend of the program has a flag that names it.
    let flag = |name| if name == "backend" { "redis" } else { name };
    setters.map(|(name, _)| flag(name).replace('_', "-")).collect()
}

#[test]
fn whatever_can_be_said_to_the_builder_has_a_flag_and_a_key() {
    let setters = setters();
    assert!(setters.len() >= 14 && setters.contains(&"consumer-timeout".to_owned()), "{setters:?}");
    let flags = <Flags as clap::CommandFactory>::command();
    for name in setters {
        assert!(flags.get_arguments().any(|flag| flag.get_long() == Some(&name)), "no flag --{name}");
        // A known key with a value of the wrong type gives another error.
        let refused = Settings::parse(&format!("{name} = {{ x = {{}} }}")).unwrap_err().to_string();
        assert!(
            !refused.contains("unknown field `{name}`") && refused.contains("expected"),
            "{name}: {refused}"
        );
    }
}

#[test]
fn every_limit_of_the_file_and_of_flags_gets_to_the_builder() {
    const LIMITS: [(&str, &str, &str); 14] = [
        ("heartbeat", "11", "heartbeat: 11"),
        ("login-timeout", "12", "login_timeout: 12s"),
        ("channel-max", "13", "channel_max: 13"),
        ("frame-max", "14000", "frame_max: 14000"),
        ("max-message-size", "15", "max_message_size: 15"),
        ("max-connections", "16", "max_connections: 16"),
        ("max-queues", "17", "queues: 17"),
        ("max-unacked", "18", "unacked: 18"),
        ("consumer-timeout", "19", "ack_timeout: 19"),
        ("memory-limit", "20", "memory_limit: Some(20)"),
        ("disk-free-limit", "24", "disk_free_limit: 24"),
        ("max-exchanges", "21", "exchanges: 21"),
        ("max-bindings", "22", "bindings: 22"),
        ("max-consumers", "23", "consumers: 23"),
    ];
    let file: String = LIMITS.iter().map(|(key, value, _)| format!("{key} = {value}\n")).collect();
    let flags = LIMITS.iter().map(|(flag, value, _)| format!("--{flag}={value}"));
    let flags = Flags::parse_from(std::iter::once("broker".to_owned()).chain(flags)).settings;
    for settings in
        [flags, Settings::parse(&file).unwrap(), Settings::default().or(Settings::parse(&file).unwrap())]
    {
        let builder = format!("{:?}", settings.builder().unwrap());
        for (_, _, expected) in LIMITS {
            assert!(builder.contains(expected), "{expected} is not in {builder}");
        }
    }
}

#[test]
fn a_product_gets_to_the_builder() {
    let file = Settings::parse("product = 'Rabbits'\nproduct-version = '4.0.5'").unwrap();
    let flags = Flags::parse_from(["broker", "--product", "Hares"]).settings;
    let builder = format!("{:?}", flags.or(file).builder().unwrap());
    assert!(builder.contains(r#"product: "Hares", product_version: "4.0.5""#), "{builder}");
}

#[test]
fn a_version_gets_to_the_builder_with_its_defaults() {
    let flags = Flags::parse_from(["broker", "--like", "4.3"]).settings;
    let file = Settings::parse("like = '4.0'").unwrap();
    for (settings, version, patch) in
        [(flags.clone().or(file.clone()), "V4_3", "4.3.6"), (file, "V4_0", "4.0.9")]
    {
        let builder = format!("{:?}", settings.builder().unwrap());
        assert!(builder.contains(&format!("like: {version}")), "{builder}");
        assert!(builder.contains(&format!("product_version: {patch:?}")), "{builder}");
        assert!(builder.contains("max_message_size: 16777216"), "{builder}");
    }
    let error = Flags::try_parse_from(["broker", "--like", "4.1"]).err().unwrap().to_string();
    assert!(error.contains("3.10, 4.0, 4.2 and 4.3"), "{error}");
}

#[test]
fn permissions_are_five_words_and_replace_those_of_the_file() {
    let words =
        ["broker", "--permissions", "ada", "a", "^x", "", ".*", "--permissions", "b", "b", "(", "", ""];
    let both = Flags::parse_from(words).settings.or(Settings::parse(FILE).unwrap());
    assert_eq!((both.permissions.len(), both.permissions_in_file.len()), (10, 0));
    assert!(both.builder().unwrap_err().to_string().contains("is not a regular expression"));
}

#[test]
fn topic_permissions_and_tags_get_to_the_builder_and_flags_replace_those_of_the_file() {
    let file = "[[topic-permissions]]\nuser = \"guest\"\nvhost = \"/\"\nexchange = \"e\"\nwrite = \"(\"\nread = \"\"\n";
    let error = Settings::parse(file).unwrap().builder().unwrap_err().to_string();
    assert!(error.starts_with("topic permissions of user 'guest'"), "{error}");
    let words = ["broker", "--topic-permissions", "guest", "/", "e", "", ""];
    assert!(Flags::parse_from(words).settings.or(Settings::parse(file).unwrap()).builder().is_ok());

    let file = "[[user-tags]]\nuser = \"guest\"\ntags = [\"impersonator\", \"none\"]\n";
    let error = Settings::parse(file).unwrap().builder().unwrap_err().to_string();
    assert!(error.starts_with("tags of user 'guest': \"none\" is no tag"), "{error}");
    let words = ["broker", "--user-tags", "guest", "impersonator,monitoring"];
    assert!(Flags::parse_from(words).settings.or(Settings::parse(file).unwrap()).builder().is_ok());
}

#[test]
fn policies_get_to_the_builder_and_what_is_wrong_with_one_is_told_with_its_name() {
    let file = |more: &str| {
        format!("[[policy]]\nname = \"p\"\npattern = \"^q\"\n{more}\ndefinition = {{ max-length = 5 }}\n")
    };
    let more = "apply-to = \"queues\"\npriority = -3\noperator = true";
    let builder = format!("{:?}", Settings::parse(&file(more)).unwrap().builder().unwrap());
    for part in ["\"p\"", "target: Queues", "priority: -3", "is_of_operator: true", "\"max-length\": I64(5)"]
    {
        assert!(builder.contains(part), "{part} is not in {builder}");
    }
    let refused = |text: &str| Settings::parse(text).unwrap().builder().unwrap_err().to_string();
    for (more, expected) in [
        ("apply-to = \"queue\"", "policy 'p' applies to 'queue': it may apply to all, queues,"),
        ("vhost = \"other\"", "policy 'p' is for virtual host 'other', but there is none of that name"),
    ] {
        assert!(refused(&file(more)).starts_with(expected), "{}", refused(&file(more)));
    }
    let twice = [file(""), file("operator = true"), file("")];
    assert_eq!(refused(&twice.concat()), "policy 'p' of virtual host '/' is given more than once");
    let redis = format!("redis = \"redis://localhost/0\"\n{}", file(""));
    assert!(refused(&redis).starts_with("policy 'p' is for virtual host '/', whose other side is a Redis"));
    assert!(Settings::parse(&twice[..2].concat()).unwrap().builder().is_ok());
    for (definition, expected) in [
        ("max-length = -1", "policy 'p': -1 is not a valid maximum length"),
        ("max-age = 1979-05-27", "policy 'p': max-age is a string, a whole number, a float, true or false"),
        ("", "policy 'p': no policy provided"),
        // The version is 3.10 by default.
        ("delivery-limit = -1", "policy 'p': -1 is not a valid delivery limit"),
    ] {
        let text = file("").replace("max-length = 5", definition);
        assert_eq!(refused(&text), expected);
    }
}

#[test]
fn what_nobody_knows_and_half_a_certificate_are_refused() {
    assert!(Settings::parse("heart-beat = 5").unwrap_err().to_string().contains("heart-beat"));
    assert!(Settings::parse("[[user]]\nname = 5").is_err());
    let half = Flags::parse_from(["broker", "--listen-tls", "127.0.0.1:0"]).settings;
    assert!(half.tls().unwrap_err().to_string().contains("--tls-certificate"));
}

#[test]
fn what_is_no_user_is_not_repeated() {
    let error = Flags::try_parse_from(["broker", "--user", "hunter2"]).err().unwrap().to_string();
    assert!(error.contains("a user is NAME:PASSWORD"), "{error}");
}
