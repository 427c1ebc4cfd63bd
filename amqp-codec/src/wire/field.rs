//! Descriptions of method arguments and properties, for sniffers, generators and tests.

/// One argument of a method, or one property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The specification's name as a Rust name: `-` is `_`, `type` is `kind`, `nowait` is
    /// `no_wait`.
    pub name: &'static str,
    /// How the value is encoded.
    pub kind: FieldKind,
}

/// How a field is encoded (spec section 4.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// One bit. Consecutive bits share octets, lowest bit first.
    Bit,
    /// One octet.
    Octet,
    /// Two octets.
    Short,
    /// Four octets.
    Long,
    /// Eight octets; also used for timestamps.
    LongLong,
    /// One octet of length, then that many bytes.
    ShortString,
    /// Four octets of length, then that many bytes.
    LongString,
    /// Four octets of length, then that many bytes of entries.
    Table,
}

impl FieldKind {
    /// The specification's name, `shortstr`.
    pub const fn name(self) -> &'static str {
        match self {
            FieldKind::Bit => "bit",
            FieldKind::Octet => "octet",
            FieldKind::Short => "short",
            FieldKind::Long => "long",
            FieldKind::LongLong => "longlong",
            FieldKind::ShortString => "shortstr",
            FieldKind::LongString => "longstr",
            FieldKind::Table => "table",
        }
    }
}
