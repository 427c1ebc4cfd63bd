//! Values of kombu's tagged types: what Python's constructors accept is read here as the same
//! value.

use std::{fmt::Write as _, fs};

use bytes::Bytes;
use messaging::{
    Serializers,
    tagged::{self, Value},
};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::json;
use tests::{Python, scale};
use uuid::Uuid;

const SCRIPT: &str = include_str!("constructors.py");

/// The number of random values for each type with a grammar, in addition to the table.
const AT_RANDOM: usize = 3000;

const HEX: &str = "c9b56ef7b2a04cd29be1e2d9b1b3a9b5";

#[derive(Deserialize)]
#[serde(bound = "T: tagged::Field")]
struct Typed<T>(#[serde(with = "tagged")] T);

/// Payloads that Python accepts, by their tags.
fn taken() -> Vec<(&'static str, serde_json::Value)> {
    let octets = |tag: &str, text: &str| json!({"__type__": tag, "__value__": text});
    let mut taken = vec![
        ("uuid", json!({"hex": HEX, "version": 4})),
        ("uuid", json!({"hex": HEX, "version": 1})),
        ("uuid", json!({"hex": HEX, "version": null, "is_safe": 7})),
        ("uuid", json!({"hex": "{urn:uuid:c9b56ef7-b2a0-4cd2-9be1-e2d9b1b3a9b5}"})),
        ("uuid", json!({"hex": " +0x9b56ef7b2a04cd29be1e2d9b1b3 "})),
        ("uuid", json!({"hex": "0x_9b56ef7b2a04c_29be1e2d9b1b3ab"})),
        ("uuid", json!({"int": 5})),
        ("uuid", json!({"int": u64::MAX, "version": 5})),
        ("uuid", json!({"fields": [1, 2, 3, 4, 5, 6]})),
        ("uuid", json!({"bytes": octets("bytes", "sixteen of ASCII")})),
        ("uuid", json!({"bytes_le": octets("base64", "ybVu97KgTNKb4eLZsbOptQ==")})),
        ("base64", json!("/w\r\nA=more")),
        ("base64", json!("=/w=A==")),
        ("bytes", json!("é\0")),
        ("decimal", json!(5)),
        ("decimal", json!(-0.5)),
        ("time", json!("T0304")),
    ];
    for text in [" 1.50\n", "1_000.5", "+5", ".5", "-5.", "0005e-1", "1E+2", "-0.00", "1e-7"] {
        taken.push(("decimal", json!(text)));
    }
    for text in [
        "2024-01-02",
        "20240102",
        "2024W01",
        "2024-W01-2",
        "2024W012",
        "2024-01-02 03",
        "2024-01-02é0304",
        "20240102T030405,123456789",
        "2024-01-02T03:04.5",
        "2024-01-02T03:04:05Z",
        "2024-01-02T03:04:05-0330",
        "2024-01-02T03:04:05+01:60",
        "2024-01-02T03:04:05-05:53:28.5",
    ] {
        taken.push(("datetime", json!(text)));
        taken.push(("date", json!(text)));
    }
    taken
}

/// A text that resembles a date, a time or a number.
fn at_random(tag: &'static str) -> (&'static str, serde_json::Value) {
    let alphabet: Vec<char> =
        if tag == "decimal" { "0123456789.eE+-_ " } else { "0123456789:-+.,TZW " }.chars().collect();
    let mut text: Vec<char> = match tag {
        "datetime" => *fastrand::choice(
            ["2024-01-02T03:04:05.678901+01:30", "20240102T030405Z", "2024-W01-2 03:04", "2020W537T0304-05"]
                .iter(),
        )
        .unwrap(),
        "time" => *fastrand::choice(["03:04:05.678901-01:30", "T030405Z", "23:59+23:59:59"].iter()).unwrap(),
        _ => *fastrand::choice(["-1234.5678", "12e-3", "0.001E+4"].iter()).unwrap(),
    }
    .chars()
    .collect();
    for _ in 0..fastrand::usize(0..4) {
        let at = fastrand::usize(..=text.len());
        match fastrand::u8(0..4) {
            0 => text.insert(at, *fastrand::choice(alphabet.iter()).unwrap()),
            1 if at < text.len() => drop(text.remove(at)),
            2 => text.truncate(at),
            _ if at < text.len() => text[at] = *fastrand::choice(alphabet.iter()).unwrap(),
            _ => {}
        }
    }
    (tag, json!(text.into_iter().collect::<String>()))
}

/// The value as constructors.py prints it; `None` when it is refused.
fn plain(body: &str) -> Option<String> {
    let read: Value = Serializers::new().decode(Some("application/json"), None, body.as_bytes()).ok()?;
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    };
    Some(match &read {
        Value::Uuid(uuid) => {
            let typed: Typed<Uuid> = serde_json::from_str(body).unwrap();
            assert_eq!(typed.0, *uuid, "{body}");
            hex(uuid.as_bytes())
        }
        Value::Bytes(bytes) => {
            let typed: Typed<Bytes> = serde_json::from_str(body).unwrap();
            assert_eq!(typed.0, bytes, "{body}");
            hex(bytes)
        }
        // The text has any length, but the type has a limit.
        Value::Decimal(_) => serde_json::from_str::<Typed<Decimal>>(body).ok()?.0.to_string(),
        moment => {
            let written = serde_json::to_value(moment).unwrap();
            written["__value__"].as_str().unwrap().to_owned()
        }
    })
}

#[tokio::test]
async fn what_pythons_constructors_take_is_read_the_same() {
    let test = "interop::constructors::what_pythons_constructors_take_is_read_the_same";
    let Some(python) = Python::require(test) else { return };
    let mut payloads = taken();
    let table = payloads.len();
    for tag in ["datetime", "time", "decimal"] {
        payloads.extend((0..AT_RANDOM * scale()).map(|_| at_random(tag)));
    }
    let bodies: Vec<_> = payloads
        .into_iter()
        .map(|(tag, payload)| json!({"__type__": tag, "__value__": payload}).to_string())
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bodies.join("\n")).unwrap();
    let output = python.run(SCRIPT, &[file.path().to_str().unwrap()]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said.len(), bodies.len());
    let (mut accepted, mut refused) = (0, 0);
    for (number, (body, python)) in bodies.iter().zip(said).enumerate() {
        assert!(number >= table || !python.is_empty(), "Python takes {body}");
        if python.is_empty() {
            continue;
        }
        accepted += 1;
        match plain(body) {
            Some(read) => assert_eq!(read, python, "{body}"),
            None if number < table => panic!("{body} is refused"),
            None => refused += 1,
        }
    }
    assert!(accepted > bodies.len() / 10, "{accepted} of {}", bodies.len());
    // Decimal numbers over 96 bits do not fit, and Python ignores a stray character before a zone.
    assert!(refused < accepted / 10, "{refused} of {accepted} are refused");
}
