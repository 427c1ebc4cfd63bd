//! The registry of serializers, and of the content that a consumer accepts.

use std::{fmt, sync::Arc};

use amqp_codec::ShortString;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "msgpack")]
use super::message_pack::{self, MessagePack};
use super::{
    json::{self, Json},
    plain::{Plain, Raw, Text},
    serializer::{BoxError, Serializer},
};
use crate::{
    compress::{DECOMPRESSED_LIMIT, DECOMPRESSED_TOTAL},
    error::{Malformed, SerializerError},
};

/// kombu's serializers that are refused, by name and content type.
const REFUSED: [(&str, &str); 2] =
    [("pickle", "application/x-python-serialize"), ("yaml", "application/x-yaml")];

/// Serializers whose feature of this crate is off: name, content type and feature.
#[cfg(not(feature = "msgpack"))]
const NOT_COMPILED: [(&str, &str, &str); 1] = [("msgpack", "application/x-msgpack", "msgpack")];
#[cfg(feature = "msgpack")]
const NOT_COMPILED: [(&str, &str, &str); 0] = [];

/// The content types of plain bytes and text, which are always accepted.
const TRUSTED: [&str; 2] = ["application/data", "application/text"];

/// The serializers of producers and consumers, and what a consumer accepts. Cloning is cheap.
///
/// There are `json` (`application/json`), `msgpack` (`application/x-msgpack`), `text` (strings,
/// `text/plain`) and `raw` (bytes, `application/data`), as kombu writes and reads them, and what
/// [`register`](Self::register) adds. kombu's `pickle` and `yaml` are refused by name, and so is
/// `msgpack` without the feature of that name, unless one is registered.
///
/// The content type decides how a body is decoded; its parameters and its case do not matter:
/// - A missing content type means `application/data`. Bodies of that type, of `text/plain` and of
///   unknown types are text in the character set of their content encoding (`utf-8`, which is the
///   default, `us-ascii` or `iso-8859-1`), or bytes if that is `binary`. Text and bytes convert to
///   each other if the requested type needs it.
/// - JSON is UTF-8 whatever the content encoding says. `NaN` and the infinities are read as null,
///   lone surrogates as U+FFFD; integers of any size can be read as a type that holds them.
/// - An empty body is an empty string, no bytes, `()` or `None`, whatever its content type.
#[derive(Clone)]
pub struct Serializers {
    entries: Arc<[Entry]>,
    /// The accepted content types, if they are limited.
    accepted: Option<Arc<[String]>>,
    /// The limits of decompressed bodies in bytes: of one body, and of those that are handled
    /// together.
    limit: u64,
    total: u64,
    /// Whether nothing is registered and everything is accepted: JSON is then decoded without
    /// further checks.
    is_default: bool,
}

#[derive(Clone)]
struct Entry {
    /// The format. This library's own are called by their types, without type erasure.
    format: Format,
    serializer: Arc<dyn Serializer>,
}

#[derive(Clone, Copy)]
enum Format {
    Json,
    #[cfg(feature = "msgpack")]
    MessagePack,
    Plain,
    Registered,
}

/// A body, with the properties that describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Serialized {
    /// The message property of this name.
    pub content_type: ShortString,
    /// The message property of this name.
    pub content_encoding: ShortString,
    /// The body, not compressed.
    pub body: Bytes,
}

impl Serializers {
    /// Returns `json`, `msgpack`, `text` and `raw`; everything they can read is accepted.
    #[must_use]
    pub fn new() -> Self {
        let entries = [
            (Format::Json, Arc::new(Json) as Arc<dyn Serializer>),
            #[cfg(feature = "msgpack")]
            (Format::MessagePack, Arc::new(MessagePack)),
            (Format::Plain, Arc::new(Text)),
            (Format::Plain, Arc::new(Raw)),
        ];
        let entries = entries.into_iter().map(|(format, serializer)| Entry { format, serializer });
        Serializers {
            entries: entries.collect(),
            accepted: None,
            limit: DECOMPRESSED_LIMIT,
            total: DECOMPRESSED_TOTAL,
            is_default: true,
        }
    }

    /// Adds a serializer. An earlier one is no longer found by a name or content type that the two
    /// share.
    #[must_use]
    pub fn register(self, serializer: impl Serializer + 'static) -> Self {
        let added = Entry { format: Format::Registered, serializer: Arc::new(serializer) };
        let entries = std::iter::once(added).chain(self.entries.iter().cloned()).collect();
        Serializers { entries, is_default: false, ..self }
    }

    /// Accepts only these names or content types, besides `application/data` and
    /// `application/text`, which are plain bytes and text. By default everything that can be read
    /// is accepted.
    ///
    /// # Errors
    /// [`SerializerError::NotInstalled`] for a name that is not registered,
    /// [`SerializerError::Refused`] for `pickle` and `yaml`, [`SerializerError::NotCompiled`] for
    /// one whose feature is off.
    pub fn accept<T: AsRef<str>>(
        self,
        content: impl IntoIterator<Item = T>,
    ) -> Result<Self, SerializerError> {
        let accepted = content.into_iter().map(|item| self.content_type_of(item.as_ref()));
        let accepted = accepted.collect::<Result<Vec<_>, _>>()?;
        Ok(Serializers { accepted: Some(accepted.into()), is_default: false, ..self })
    }

    /// Sets the limit of a decompressed body, in bytes. A compressed body that would be larger is
    /// refused ([`Malformed::TooLarge`]); default [`DECOMPRESSED_LIMIT`].
    #[must_use]
    pub fn decompressed_limit(self, bytes: u64) -> Self {
        Serializers { limit: bytes, ..self }
    }

    /// Sets, for [workers](crate::Worker), how many bytes all compressed messages that are being
    /// handled may take together after decompression. The next one waits until there is room, and
    /// one that exceeds this alone is refused ([`Malformed::TooLarge`]). A value of JSON counts
    /// with the size it may have in memory. Default [`DECOMPRESSED_TOTAL`].
    #[must_use]
    pub fn decompressed_total(self, bytes: u64) -> Self {
        Serializers { total: bytes, ..self }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Returns the serializer of a name or content type.
    #[must_use]
    pub fn get(&self, name_or_content_type: &str) -> Option<&dyn Serializer> {
        let entry = if name_or_content_type.contains('/') {
            self.by_content_type(essence(name_or_content_type))
        } else {
            self.by_name(name_or_content_type)
        };
        entry.map(|entry| &*entry.serializer)
    }

    /// Checks whether a message of this content type would be read.
    fn check(&self, content_type: Option<&str>) -> Result<(), Malformed> {
        let essence = essence(content_type.unwrap_or_default());
        if let Some(&(name, content_type)) = REFUSED.iter().find(|(_, refused)| is(refused, essence)) {
            // This does not apply if a serializer was registered for it.
            if self.by_content_type(essence).is_none() {
                return Err(Malformed::Refused { name, content_type });
            }
        }
        let Some(accepted) = &self.accepted else { return self.check_compiled(essence) };
        let mut known = TRUSTED.into_iter().chain(accepted.iter().map(String::as_str));
        if known.any(|known| is(known, essence)) {
            Ok(())
        } else {
            Err(Malformed::NotAccepted(essence.to_owned()))
        }
    }

    fn check_compiled(&self, essence: &str) -> Result<(), Malformed> {
        match not_compiled(essence).filter(|_| self.by_content_type(essence).is_none()) {
            Some(feature) => Err(Malformed::NotCompiled { feature }),
            None => Ok(()),
        }
    }

    /// Encodes a value as a body, with the serializer of this name.
    ///
    /// # Errors
    /// [`SerializerError`], when there is no such serializer, or the value does not suit it.
    pub fn encode<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<Serialized, SerializerError> {
        let not_installed =
            || refused(name).unwrap_or_else(|| SerializerError::NotInstalled(name.to_owned()));
        let entry = self.by_name(name).ok_or_else(not_installed)?;
        let serializer = &*entry.serializer;
        let body = match entry.format {
            Format::Json => json::to_json(value).map_err(BoxError::from),
            #[cfg(feature = "msgpack")]
            Format::MessagePack => message_pack::to_message_pack(value).map_err(BoxError::from),
            Format::Plain | Format::Registered => serializer.encode(&value),
        };
        let body = body.map_err(|source| SerializerError::Encode { serializer: name.to_owned(), source })?;
        let short = |text: &str| {
            ShortString::try_from(text).map_err(|_| SerializerError::TooLong(serializer.name().to_owned()))
        };
        let content_type = short(serializer.content_type())?;
        Ok(Serialized { content_type, content_encoding: short(serializer.content_encoding())?, body })
    }

    /// Decodes the value in a body, which is no longer compressed.
    ///
    /// # Errors
    /// [`Malformed`], when the content type is refused or not accepted, or the body does not match
    /// it or is not a `T`.
    pub fn decode<T: DeserializeOwned>(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        body: &[u8],
    ) -> Result<T, Malformed> {
        if self.is_default && content_type == Some(json::CONTENT_TYPE) && !body.is_empty() {
            return Ok(json::from_json_slice(body)?);
        }
        self.check(content_type)?;
        let essence = essence(content_type.unwrap_or_default());
        let entry = self.by_content_type(essence);
        let format = entry.map_or(Format::Plain, |entry| entry.format);
        let undecodable = |source| Malformed::Decode { content_type: essence.to_owned(), source };
        let read = |plain: Plain<'_>| T::deserialize(plain).map_err(|error| undecodable(error.into()));
        match (format, entry) {
            (Format::Plain, _) | (_, None) => read(Plain::new(body, content_encoding)?),
            _ if body.is_empty() => read(Plain::Empty),
            (Format::Json, _) => Ok(json::from_json_slice(body)?),
            #[cfg(feature = "msgpack")]
            (Format::MessagePack, _) => message_pack::from_message_pack(body).map_err(undecodable),
            (Format::Registered, Some(entry)) => {
                let mut value = None;
                let mut read = |deserializer: &mut dyn erased_serde::Deserializer<'_>| {
                    value = Some(T::deserialize(deserializer)?);
                    Ok(())
                };
                entry.serializer.decode(body, &mut read).map_err(undecodable)?;
                value.ok_or_else(|| undecodable("the serializer returned no value".into()))
            }
        }
    }

    fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.serializer.name() == name)
    }

    fn by_content_type(&self, essence: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| is(entry.serializer.content_type(), essence))
    }

    fn content_type_of(&self, item: &str) -> Result<String, SerializerError> {
        if let Some(serializer) = self.get(item) {
            return Ok(serializer.content_type().to_owned());
        }
        match refused(item) {
            Some(refused) => Err(refused),
            None if item.contains('/') => Ok(essence(item).to_owned()),
            None => Err(SerializerError::NotInstalled(item.to_owned())),
        }
    }
}

impl Default for Serializers {
    fn default() -> Self {
        Serializers::new()
    }
}

impl fmt::Debug for Serializers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.entries.iter().map(|entry| entry.serializer.name()).collect();
        f.debug_struct("Serializers").field("names", &names).field("accepted", &self.accepted).finish()
    }
}

/// Returns a content type without its parameters. An empty one is that of plain bytes.
fn essence(content_type: &str) -> &str {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "" => "application/data",
        essence => essence,
    }
}

fn is(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Returns the feature that is off for this name or content type.
fn not_compiled(item: &str) -> Option<&'static str> {
    let is_this =
        |(name, content_type, _): &&(&str, &str, &str)| *name == item || is(content_type, essence(item));
    NOT_COMPILED.iter().find(is_this).map(|(_, _, feature)| *feature)
}

/// Returns why there is no serializer of this name or content type, if there is a special reason.
fn refused(item: &str) -> Option<SerializerError> {
    if let Some(feature) = not_compiled(item) {
        return Some(SerializerError::NotCompiled { feature });
    }
    let is_refused = |(name, content_type): &&(&str, &str)| *name == item || is(content_type, essence(item));
    let &(name, content_type) = REFUSED.iter().find(is_refused)?;
    Some(SerializerError::Refused { name, content_type })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::serialize::serializer::ReadValue;

    fn decode<T: DeserializeOwned>(content_type: &str, body: &[u8]) -> Result<T, Malformed> {
        Serializers::new().decode(Some(content_type), None, body)
    }

    #[test]
    fn each_writes_what_kombu_declares_and_reads_it_back() {
        let all = Serializers::new();
        for (name, content_type, content_encoding) in [
            ("json", "application/json", "utf-8"),
            #[cfg(feature = "msgpack")]
            ("msgpack", "application/x-msgpack", "binary"),
            ("text", "text/plain", "utf-8"),
            ("raw", "application/data", "binary"),
        ] {
            let written = all.encode(name, "é").unwrap();
            assert_eq!(written.content_type.to_text(), content_type);
            assert_eq!(written.content_encoding.to_text(), content_encoding);
            let encoding = Some(content_encoding);
            assert_eq!(all.decode::<String>(Some(content_type), encoding, &written.body).unwrap(), "é");
            let serializer = all.get(name).unwrap();
            assert_eq!(serializer.encode(&"é").unwrap(), written.body);
            let mut read = None;
            let mut visit = |body: &mut dyn erased_serde::Deserializer<'_>| {
                read = Some(erased_serde::deserialize::<String>(body)?);
                Ok(())
            };
            serializer.decode(&written.body, &mut visit).unwrap();
            assert_eq!(read.unwrap(), "é");
        }
    }

    #[test]
    fn no_content_type_is_plain_data_and_so_is_an_unknown_one() {
        let all = Serializers::new();
        for content_type in [None, Some(""), Some("application/x-unknown"), Some("application/text")] {
            let text: String = all.decode(content_type, None, b"{}").unwrap();
            assert_eq!(text, "{}");
            let bytes: Vec<u8> = all.decode(content_type, Some("binary"), b"\xff").unwrap();
            assert_eq!(bytes, [0xff]);
            assert!(matches!(all.decode::<Value>(content_type, None, b"\xff"), Err(Malformed::Text { .. })));
            let no_map = all.decode::<std::collections::BTreeMap<String, u8>>(content_type, None, b"{}");
            assert!(matches!(no_map, Err(Malformed::Decode { .. })));
        }
    }

    #[test]
    fn parameters_and_upper_case_do_not_hide_a_content_type() {
        for content_type in ["application/json; charset=utf-8", "Application/JSON", " application/json ;x"] {
            assert_eq!(decode::<Value>(content_type, b"[1]").unwrap(), json!([1]));
        }
        let hidden = decode::<String>("APPLICATION/x-python-serialize;a=b", b"text");
        assert!(matches!(hidden, Err(Malformed::Refused { name: "pickle", .. })));
    }

    #[test]
    fn json_is_utf_8_whatever_its_content_encoding_says() {
        let read = |encoding| {
            Serializers::new().decode::<String>(Some("application/json"), encoding, "\"é\"".as_bytes())
        };
        assert_eq!(read(Some("us-ascii")).unwrap(), "é");
        assert_eq!(read(Some("binary")).unwrap(), "é");
    }

    #[test]
    fn an_empty_body_is_nothing_in_every_content_type() {
        let compiled = |content_type: &&str| not_compiled(content_type).is_none();
        let all = ["application/json", "application/x-msgpack", "text/plain", "application/data"];
        for content_type in all.into_iter().filter(compiled) {
            assert_eq!(decode::<String>(content_type, b"").unwrap(), "");
            assert_eq!(decode::<Bytes>(content_type, b"").unwrap(), "");
            decode::<()>(content_type, b"").unwrap();
        }
        assert_eq!(decode::<Option<Value>>("application/json", b"").unwrap(), None);
        assert!(matches!(decode::<Vec<u8>>("application/json", b""), Err(Malformed::Decode { .. })));
    }

    #[test]
    fn pickle_and_yaml_are_refused_by_name() {
        let all = Serializers::new;
        for (name, content_type) in REFUSED {
            let error = decode::<Value>(content_type, b"\x80\x04N.").unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("the content type is {content_type} ({name}), which this library never decodes")
            );
            assert!(matches!(all().encode(name, &1), Err(SerializerError::Refused { .. })));
            assert!(matches!(all().accept([name]), Err(SerializerError::Refused { .. })));
            assert!(matches!(all().accept([content_type]), Err(SerializerError::Refused { .. })));
        }
        assert!(matches!(all().encode("xml", &1), Err(SerializerError::NotInstalled(name)) if name == "xml"));
    }

    #[cfg(not(feature = "msgpack"))]
    #[test]
    fn what_is_not_compiled_in_names_its_feature_unless_it_is_registered() {
        let none = Serializers::new();
        for refused in [
            none.encode("msgpack", &1).map(drop),
            none.clone().accept(["json", "msgpack"]).map(drop),
            none.clone().accept(["Application/x-msgpack; a=b"]).map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, SerializerError::NotCompiled { feature: "msgpack" }), "{refused}");
            assert_eq!(
                refused.to_string(),
                "the serializer is not in this build: feature `msgpack` of `messaging` is off"
            );
        }
        for (content_type, body) in [("application/x-msgpack", "\u{1}"), ("APPLICATION/X-MSGPACK;a=b", "")] {
            let refused = decode::<String>(content_type, body.as_bytes()).unwrap_err();
            assert!(matches!(refused, Malformed::NotCompiled { feature: "msgpack" }), "{refused}");
        }
        assert!(none.get("msgpack").is_none());

        let own = none.register(Lengths("msgpack", "application/x-msgpack".to_owned()));
        assert_eq!(own.encode("msgpack", &1).unwrap().body, ".");
        assert_eq!(own.decode::<u8>(Some("application/x-msgpack"), None, b"..").unwrap(), 2);
        own.accept(["msgpack"]).unwrap();
    }

    #[test]
    fn only_what_is_accepted_is_read_and_plain_data() {
        let json = Serializers::new().accept(["json", "application/x-other"]).unwrap();
        let read = |content_type| json.decode::<Value>(content_type, None, b"1");
        assert_eq!(read(Some("application/json")).unwrap(), json!(1));
        for content_type in
            [None, Some("application/data"), Some("application/text"), Some("application/x-other")]
        {
            assert_eq!(read(content_type).unwrap(), json!("1"));
        }
        for content_type in ["application/x-msgpack", "text/plain", "application/x-unknown"] {
            let refused = read(Some(content_type));
            assert!(matches!(refused, Err(Malformed::NotAccepted(name)) if name == content_type));
        }
        let none = Serializers::new().accept(<[&str; 0]>::default()).unwrap();
        assert!(matches!(
            none.decode::<Value>(Some("application/json"), None, b"1"),
            Err(Malformed::NotAccepted(_))
        ));
        assert!(matches!(Serializers::new().accept(["jsonn"]), Err(SerializerError::NotInstalled(_))));
    }

    /// A serializer that writes a dot for each byte of the value's JSON, reads the length of a
    /// body, and reads no value from `x`.
    struct Lengths(&'static str, String);

    impl Serializer for Lengths {
        fn name(&self) -> &str {
            self.0
        }

        fn content_type(&self) -> &str {
            &self.1
        }

        fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError> {
            Ok(vec![b'.'; json::to_json(value)?.len()].into())
        }

        fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
            if body == b"x" {
                return Ok(());
            }
            let length = json::to_json(&body.len())?;
            let mut json = serde_json::Deserializer::from_slice(&length);
            Ok(read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?)
        }
    }

    #[test]
    fn a_registered_serializer_is_used_by_name_and_content_type_and_may_replace_one() {
        for (name, content_type) in
            [("lengths", "x/lengths"), ("json", "application/json"), ("pickle", REFUSED[0].1)]
        {
            let all = Serializers::new().register(Lengths(name, content_type.to_owned()));
            let all = all.accept([name]).unwrap();
            let written = all.encode(name, &[1, 2]).unwrap();
            assert_eq!(
                (written.body, written.content_type.to_text().as_ref()),
                (Bytes::from("....."), content_type)
            );
            assert_eq!(all.decode::<u8>(Some(content_type), None, b"...").unwrap(), 3);
            let no_text = all.decode::<String>(Some(content_type), None, b"...").unwrap_err();
            assert!(amqp_client::Report(&no_text).to_string().contains("expected a string"), "{no_text:?}");
            assert!(matches!(
                all.decode::<u8>(Some(content_type), None, b"x"),
                Err(Malformed::Decode { .. })
            ));
        }
        let long = Serializers::new().register(Lengths("long", "x".repeat(256)));
        assert!(matches!(long.encode("long", &1), Err(SerializerError::TooLong(name)) if name == "long"));
    }
}
