//! Values that JSON has no form for, as kombu writes them: `{"__type__": "datetime", "__value__":
//! "2024-01-02T03:04:05"}`.
//!
//! For fields, and for `Option`s of them:
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
//! What is read is whatever Python's constructors take: `uuid.UUID` by any of its arguments, the
//! `version` that kombu 5.3.0 writes among them, `datetime.fromisoformat` in all of its forms, a
//! decimal number as a string or a number. It may also be the plain string that kombu wrote before
//! version 5.3. A time with a zone is no `Naive…`, and one without is no `DateTime`. Python's years
//! are 1 to 9999, and its times have microseconds: others are refused, finer ones cut. In formats
//! that are not for people, MessagePack among them, kombu has no tags: bytes are bytes there, all
//! else plain strings.
//!
//! [`Value`] reads them all without knowing which will come. [`Tagged`] is for types of one's own,
//! what `kombu.utils.json.register_type` is in Python.

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
