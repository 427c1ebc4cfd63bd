//! What the tables of methods and properties say of themselves: for sniffers, generators and tests.

/// One argument of a method, or one property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// The specification's name as a Rust name: `-` is `_`, `type` is `kind`, `nowait` is
    /// `no_wait`.
    pub name: &'static str,
    /// How it is written.
    pub kind: FieldKind,
}

/// How a field is written (spec section 4.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// One bit; bits in a row share octets, lowest first.
    Bit,
    /// One octet.
    Octet,
    /// Two octets.
    Short,
    /// Four octets.
    Long,
    /// Eight octets; timestamps too.
    LongLong,
    /// An octet of length, then as many.
    ShortString,
    /// Four octets of length, then as many.
    LongString,
    /// Four octets of length, then entries.
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
