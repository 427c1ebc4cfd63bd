//! A method, borrowed from the bytes that hold it; its arguments are checked for length but not
//! decoded.

use bytes::Bytes;
use nom::Err;

use crate::{
    error::Error,
    method::{Method, MethodId, method_id},
    wire::{
        argument::Reader,
        field::FieldKind,
        nesting::check_table,
        octets::{self, Mode, Parsed, field},
    },
};

/// A borrowed method whose arguments are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodRef<'a> {
    id: MethodId,
    arguments: &'a [u8],
}

impl<'a> MethodRef<'a> {
    /// Class and method number.
    pub const fn id(&self) -> MethodId {
        self.id
    }

    /// The encoded arguments; [`MethodId::fields`] says what they are.
    pub const fn arguments(&self) -> &'a [u8] {
        self.arguments
    }

    /// Decodes the method. Its arguments are copied once, all together.
    ///
    /// # Errors
    /// None that parsing has not already found.
    pub fn decode(&self) -> Result<Method, Error> {
        let arguments = Bytes::copy_from_slice(self.arguments);
        let mut reader = Reader::new(&arguments);
        let method = Method::read(self.id, &mut reader)?;
        reader.finish(method.name())?;
        Ok(method)
    }
}

/// A method, from its number to its last argument.
pub(crate) fn method<M: Mode<Error = Error>>(input: &[u8]) -> Parsed<'_, MethodRef<'_>> {
    let (arguments, id) = method_id::<M>()(input)?;
    let MethodId { class_id, method_id } = id;
    let fields = id.arguments().ok_or(Err::Error(Error::UnknownMethod { class_id, method_id }))?;
    let mut rest = arguments;
    // Consecutive bits share octets (spec section 4.2.5.2).
    let mut bits = 0;
    for &(what, kind) in fields {
        bits = if kind == FieldKind::Bit { bits + 1 } else { 0 };
        if kind == FieldKind::Bit && bits % 8 != 1 {
            continue;
        }
        let (after, value) = field::<M>(kind, what)(rest)?;
        if kind == FieldKind::Table {
            check_table(value, 1).map_err(Err::Error)?;
        }
        rest = after;
    }
    Ok((rest, MethodRef { id, arguments: octets::between(arguments, rest) }))
}
