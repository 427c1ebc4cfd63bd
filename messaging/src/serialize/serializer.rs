//! The trait of serializers.

use bytes::Bytes;

/// Whatever went wrong in a serializer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a serializer gives its deserializer to: the value is made of it.
pub type ReadValue<'a> =
    dyn for<'de> FnMut(&mut dyn erased_serde::Deserializer<'de>) -> Result<(), erased_serde::Error> + 'a;

/// A way to write values as bodies of one content type, and to read them.
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
/// assert!(serializers.get("pretty").is_some() && serializers.get("application/x-pretty").is_some());
/// ```
pub trait Serializer: Send + Sync {
    /// What producers and lists of accepted content call it; short, without a slash.
    fn name(&self) -> &str;

    /// The content type of what it writes and reads; at most 255 bytes.
    fn content_type(&self) -> &str;

    /// The content encoding of what it writes: a character set, or `binary`; default `utf-8`, at
    /// most 255 bytes.
    fn content_encoding(&self) -> &str {
        "utf-8"
    }

    /// The body for a value.
    ///
    /// # Errors
    /// When the value has no such form.
    fn encode(&self, value: &dyn erased_serde::Serialize) -> Result<Bytes, BoxError>;

    /// Gives `read` a deserializer of the body. A serializer that has two ways to read may call it
    /// again when it failed: the last call that succeeded counts. The body is never empty, and
    /// comes from a stranger: what is claimed in it is to be checked.
    ///
    /// # Errors
    /// When the body cannot be read, and what `read` returned.
    fn decode(&self, body: &[u8], read: &mut ReadValue<'_>) -> Result<(), BoxError>;
}
