//! Values that JSON has no form for, as kombu writes them: `{"__type__": "datetime", "__value__":
//! "2024-01-02T03:04:05"}`.
//!
//! These types can be used for fields, also in an `Option`:
//!
//! | type | `__type__` | `__value__` |
//! |---|---|---|
//! | chrono's `NaiveDateTime`, `DateTime<Utc>`, `DateTime<FixedOffset>` | `datetime` | Python's `isoformat`, to the microsecond; the zone as `+00:00` |
//! | chrono's `NaiveDate` | `date` | `2024-01-02` |
//! | chrono's `NaiveTime` | `time` | `03:04:05.000006` |
//! | `rust_decimal::Decimal` | `decimal` | Python's text, `1.50` or `1E-7` |
//! | `uuid::Uuid` | `uuid` | `{"hex": "12345678123456781234567812345678"}` |
//! | `Vec<u8>`, `bytes::Bytes` | `bytes` when it is UTF-8, else `base64` | the text |
//!
//! ```
//! use messaging::{Serializers, tagged};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Upload {
//!     #[serde(with = "tagged")]
//!     id: uuid::Uuid,
//!     #[serde(with = "tagged")]
//!     digest: Option<Vec<u8>>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let upload = Upload { id: uuid::Uuid::nil(), digest: Some(vec![0xff]) };
//! let written = Serializers::new().encode("json", &upload)?;
//! assert_eq!(
//!     written.body,
//!     concat!(
//!         r#"{"id":{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000000"}},"#,
//!         r#""digest":{"__type__":"base64","__value__":"/w=="}}"#
//!     )
//! );
//! let read: Upload = Serializers::new().decode(Some("application/json"), None, &written.body)?;
//! assert_eq!(read, upload);
//! # Ok(())
//! # }
//! ```
//!
//! Reading accepts whatever Python's constructors accept: `uuid.UUID` by any of its arguments,
//! including the `version` that kombu 5.3.0 writes, `datetime.fromisoformat` in all of its forms, a
//! decimal number as a string or a number. The plain strings that kombu wrote before version 5.3
//! are accepted as well. A time with a zone cannot be read as a `Naive…` type, and one without a
//! zone not as a `DateTime`. Python's years are 1 to 9999, and its times have microseconds: other
//! years are refused, and finer times are cut off. In formats that are not human-readable, such as
//! MessagePack, kombu has no tags: bytes are bytes there, and everything else is a plain string.
//!
//! [`Value`] reads all of them without knowing the type in advance. [`Tagged`] is for types of your
//! own; it corresponds to `kombu.utils.json.register_type` in Python.

mod datetime;
mod decimal;
mod identifier;
mod octets;
mod tag;
mod value;

pub use decimal::Number;
pub use identifier::UuidArguments;
pub use tag::{Field, Plain, Tagged, deserialize, serialize};
pub use value::Value;
