//! The trait of serializers.

use bytes::Bytes;

/// Any error of a serializer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The function to which a serializer passes its deserializer, and which makes the value.
pub type ReadValue<'a> =
    dyn for<'de> FnMut(&mut dyn erased_serde::Deserializer<'de>) -> Result<(), erased_serde::Error> + 'a;

/// A format for bodies of one content type: encodes and decodes values.
///
/// ```
/// use messaging::{BoxError, ReadValue, Serializer, Serializers, erased_serde};
///
/// /// JSON on several lines.
/// struct Pretty;
///
/// impl Serializer for Pretty {
///     fn name(&self) -> &str {
///         "pretty"
///     }
///
///     fn content_type(&self) -> &str {
///         "application/x-pretty"
///     }
///
///     fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<bytes::Bytes, BoxError> {
///         Ok(serde_json::to_vec_pretty(value)?.into())
///     }
///
///     fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError> {
///         let mut json = serde_json::Deserializer::from_slice(body);
///         read(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut json))?;
///         Ok(json.end()?)
///     }
/// }
///
/// let serializers = Serializers::new().register(Pretty);
/// assert!(serializers.get("pretty").is_some());
/// assert!(serializers.get("application/x-pretty").is_some());
/// ```
pub trait Serializer: Send + Sync {
    /// Returns the name that producers and lists of accepted content use; short, without a slash.
    fn name(&self) -> &str;

    /// Returns the content type of its bodies; at most 255 bytes.
    fn content_type(&self) -> &str;

    /// Returns the content encoding of its bodies: a character set, or `binary`; default `utf-8`,
    /// at most 255 bytes.
    fn content_encoding(&self) -> &str {
        "utf-8"
    }

    /// Encodes a value as a body.
    ///
    /// # Errors
    /// When the value has no such form.
    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError>;

    /// Passes a deserializer of the body to `read`. A serializer that has two ways to decode may
    /// call `read` again after it failed: the last call that succeeded counts. The body is never
    /// empty, and comes from a peer: do not trust it unchecked.
    ///
    /// # Errors
    /// When the body cannot be decoded, and what `read` returned.
    fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError>;
}
