//! A content header, borrowed from the bytes that hold it.

use bytes::Bytes;
use nom::{Err, Parser as _};

use crate::{
    content::ContentHeader,
    error::Error,
    properties::{EncodedProperties, Properties},
    wire::octets::{self, Mode, Parsed, field, long_long, short},
};

/// What a content header says of the content that follows a method; the properties are borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeaderRef<'a> {
    /// The class of the method: 60, basic.
    pub class_id: u16,
    /// Length of the whole body in bytes.
    pub body_size: u64,
    /// Flags and property list. [`ContentProperties`](crate::borrowed::ContentProperties) reads
    /// them in place.
    pub properties: &'a [u8],
}

/// Copies the properties.
impl From<ContentHeaderRef<'_>> for ContentHeader {
    fn from(ContentHeaderRef { class_id, body_size, properties }: ContentHeaderRef<'_>) -> Self {
        let properties = EncodedProperties::from_encoded(Bytes::copy_from_slice(properties));
        ContentHeader { class_id, body_size, properties }
    }
}

/// Reads a content header with all of its properties. The contents of its header table are not
/// checked.
pub(crate) fn content_header<M: Mode<Error = Error>>(input: &[u8]) -> Parsed<'_, ContentHeaderRef<'_>> {
    let mut fixed =
        (short::<M>("content class"), short::<M>("content weight"), long_long::<M>("content body size"));
    let (properties, (class_id, _weight, body_size)) = fixed.parse(input)?;
    let (mut rest, flags) = short::<M>("property flags")(properties)?;
    let mut unknown = flags;
    for (place, property) in Properties::FIELDS.iter().enumerate() {
        // The first property's flag is the highest bit (spec section 4.2.6.1).
        let bit = 1 << (15 - place);
        unknown &= !bit;
        if flags & bit != 0 {
            (rest, _) = field::<M>(property.kind, property.name)(rest)?;
        }
    }
    if unknown != 0 {
        return Err(Err::Error(Error::UnknownPropertyFlags(flags)));
    }
    Ok((rest, ContentHeaderRef { class_id, body_size, properties: octets::between(properties, rest) }))
}
