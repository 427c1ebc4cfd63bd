//! Compares the codec's tables with the specification in RabbitMQ's machine-readable form, if that
//! is at hand.

use std::{fs, path::Path};

use amqp_codec::{FRAME_MIN_SIZE, Field, Method, MethodId, Properties, ReplyCode, Scope, frame};
use serde::Deserialize;
use tests::leave_out;

use super::reference::sample_payload;

/// It lies next to the repository.
const SPECIFICATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/spec/amqp-rabbitmq-0.9.1.json");

#[derive(Deserialize)]
struct Specification {
    /// The names of the domains, and their types.
    domains: Vec<(String, String)>,
    constants: Vec<Constant>,
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Constant {
    name: String,
    value: u16,
    /// `soft-error` closes a channel, `hard-error` the connection.
    class: Option<String>,
}

#[derive(Deserialize)]
struct Class {
    id: u16,
    name: String,
    methods: Vec<MethodEntry>,
    #[serde(default)]
    properties: Vec<Argument>,
}

#[derive(Deserialize)]
struct MethodEntry {
    id: u16,
    name: String,
    #[serde(default)]
    synchronous: bool,
    #[serde(default)]
    content: bool,
    arguments: Vec<Argument>,
}

#[derive(Deserialize)]
struct Argument {
    name: String,
    r#type: Option<String>,
    domain: Option<String>,
}

impl Specification {
    /// `None`, with a report, where it is not at hand.
    fn at_hand(test: &str) -> Option<Self> {
        if !Path::new(SPECIFICATION).exists() {
            leave_out(
                &format!("{}::{test}", module_path!()),
                "no amqp-rabbitmq-0.9.1.json beside the repository",
            );
            return None;
        }
        Some(serde_json::from_str(&fs::read_to_string(SPECIFICATION).unwrap()).unwrap())
    }

    fn methods(&self) -> impl Iterator<Item = (&Class, &MethodEntry)> {
        self.classes.iter().flat_map(|class| class.methods.iter().map(move |method| (class, method)))
    }

    /// Names and types in the codec's terms.
    fn fields(&self, arguments: &[Argument]) -> Vec<(String, String)> {
        let type_of = |argument: &Argument| {
            let of_domain = |domain| &self.domains.iter().find(|(name, _)| name == domain).unwrap().1;
            match argument.domain.as_ref().map(of_domain).or(argument.r#type.as_ref()).unwrap().as_str() {
                "timestamp" => "longlong".to_owned(),
                other => other.to_owned(),
            }
        };
        arguments.iter().map(|argument| (rust_name(&argument.name), type_of(argument))).collect()
    }
}

fn rust_name(name: &str) -> String {
    match name {
        "type" => "kind".to_owned(),
        "nowait" => "no_wait".to_owned(),
        other => other.replace('-', "_"),
    }
}

fn described(fields: &[Field]) -> Vec<(String, String)> {
    fields.iter().map(|field| (field.name.to_owned(), field.kind.name().to_owned())).collect()
}

#[test]
fn every_method_is_as_the_specification_has_it() {
    let Some(specification) = Specification::at_hand("every_method_is_as_the_specification_has_it") else {
        return;
    };
    for (class, method) in specification.methods() {
        let id = MethodId { class_id: class.id, method_id: method.id };
        let name = format!("{}.{}", class.name, method.name);
        assert_eq!(id.name(), Some(&name[..]));
        assert_eq!(described(id.fields().unwrap()), specification.fields(&method.arguments), "{name}");
        assert_eq!(id.reply().is_some(), method.synchronous, "{name} waits for an answer");
        if let Some(reply) = id.reply() {
            assert_eq!(reply.name(), Some(&format!("{name}-ok")[..]));
        }
        let decoded = Method::decode(&sample_payload(id)).unwrap();
        assert_eq!(decoded.has_content(), method.content, "{name} carries content");
    }
    assert_eq!(MethodId::ALL.len(), specification.methods().count(), "and no others");
}

#[test]
fn every_property_is_as_the_specification_has_it() {
    let Some(specification) = Specification::at_hand("every_property_is_as_the_specification_has_it") else {
        return;
    };
    for class in &specification.classes {
        let fields = if class.name == "basic" { Properties::FIELDS } else { &[] };
        assert_eq!(described(fields), specification.fields(&class.properties), "{}", class.name);
    }
}

#[test]
fn every_constant_is_as_the_specification_has_it() {
    let Some(specification) = Specification::at_hand("every_constant_is_as_the_specification_has_it") else {
        return;
    };
    let mut codes = 0;
    for Constant { name, value, class } in &specification.constants {
        match name.as_str() {
            "FRAME-MIN-SIZE" => assert_eq!(u32::from(*value), FRAME_MIN_SIZE),
            "FRAME-END" => assert_eq!(*value, u16::from(frame::FRAME_END)),
            "FRAME-METHOD" | "FRAME-HEADER" | "FRAME-BODY" | "FRAME-HEARTBEAT" => {
                assert_eq!(kind_of_type(*value), name);
            }
            _ => {
                assert_eq!(ReplyCode(*value).name(), Some(&name.replace('-', "_")[..]));
                let hard = ReplyCode(*value).scope() == Some(Scope::Connection);
                assert_eq!(hard, class.as_deref() == Some("hard-error"), "{name}");
                codes += 1;
            }
        }
    }
    assert_eq!(ReplyCode::ALL.len(), codes, "and no other reply codes");
}

/// The specification's name for a frame's type octet.
fn kind_of_type(octet: u16) -> &'static str {
    let bytes = [u8::try_from(octet).unwrap(), 0, 0, 0, 0, 0, 0];
    match frame::FrameHeader::peek(&bytes, 4096).unwrap().unwrap().kind {
        frame::FrameKind::Method => "FRAME-METHOD",
        frame::FrameKind::Header => "FRAME-HEADER",
        frame::FrameKind::Body => "FRAME-BODY",
        frame::FrameKind::Heartbeat => "FRAME-HEARTBEAT",
    }
}
