//! Additional routing keys in the headers `CC` and `BCC`
//! (<https://www.rabbitmq.com/sender-selected.html>).

use std::collections::HashSet;

use amqp_codec::{Entries, HeaderTable, ShortString, ValueRef};
use bytes::Bytes;

use super::{refusal::Refusal, term::type_name};
use crate::core::content::{
    header_table::{get, texts},
    message::Draft,
    properties::{Changes, Relevant},
};

/// The additional routing keys of a message.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) keys: Vec<ShortString>,
    /// The index of the first key from `BCC`.
    pub(crate) blind_from: usize,
    /// Whether there is a `BCC` header, which no receiver may see.
    pub(crate) blind: bool,
}

impl Copies {
    /// Reads the keys. It returns `None` quickly when there are none.
    #[inline]
    pub(crate) fn read(relevant: &Relevant<'_>) -> Result<Option<Self>, Refusal> {
        match relevant.headers {
            Some(encoded) if may_name_copies(encoded) => Self::decode(encoded),
            _ => Ok(None),
        }
    }

    #[cold]
    fn decode(encoded: &[u8]) -> Result<Option<Self>, Refusal> {
        let headers = Entries::from_encoded(encoded);
        headers.check().map_err(Refusal::Syntax)?;
        let mut keys = Vec::new();
        // A message goes only once to each key.
        let mut seen = HashSet::new();
        let mut blind_from = 0;
        for header in ["CC", "BCC"] {
            blind_from = keys.len();
            match get(headers, header) {
                None => {}
                Some(ValueRef::Array(values)) => {
                    values.check().map_err(Refusal::Syntax)?;
                    // RabbitMQ ignores elements that are not text.
                    let copies = texts(values).map(Bytes::copy_from_slice);
                    let copies = copies.flat_map(|key| ShortString::from_bytes(header, key));
                    keys.extend(copies.filter(|key| seen.insert(key.clone())));
                }
                Some(other) => return Err(unacceptable(header, other)),
            }
        }
        let blind = get(headers, "BCC").is_some();
        Ok((blind || !keys.is_empty()).then_some(Copies { keys, blind_from, blind }))
    }
}

fn unacceptable(header: &'static str, value: ValueRef<'_>) -> Refusal {
    Refusal::InvalidCarbonCopy { header, kind: type_name(value) }
}

/// Tells whether "CC" occurs anywhere in the headers.
fn may_name_copies(encoded: &[u8]) -> bool {
    memchr::memchr_iter(b'C', encoded).any(|index| encoded.get(index + 1) == Some(&b'C'))
}

/// Removes the header `BCC` from a message.
pub(crate) fn remove_blind_copies(draft: &mut Draft) -> Result<(), Refusal> {
    let parts = draft.parts();
    let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
    let mut headers =
        HeaderTable::from_encoded(relevant.headers.unwrap_or_default()).map_err(Refusal::Syntax)?;
    headers.remove("BCC");
    let changes = Changes { headers: Some(headers.as_encoded()), ..Default::default() };
    let header = changes.apply(parts.header).map_err(Refusal::Syntax)?;
    draft.replace_header(&header);
    Ok(())
}
