//! The words, texts, numbers and brackets of a line.

use amqp_codec::{Array, Table, Value};
use bytes::Bytes;

use super::{secret::REDACTED, write::is_bare};

/// How deep brackets may nest: a little deeper than tables, whose own limit tells more.
const MOST_NESTED: usize = 40;

/// What is wrong at a place of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

/// The rest of a line.
pub(super) struct Cursor<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Cursor { line, at: 0 }
    }

    pub(super) fn wrong<T>(&self, what: &'static str) -> Result<T, Wrong> {
        Err(Wrong { at: self.at, what })
    }

    pub(super) fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().trim().is_empty()
    }

    pub(super) fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Steps over `text`, if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    /// The characters up to the first that does not belong there.
    pub(super) fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !belongs(character)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    pub(super) fn name(&mut self) -> &'a str {
        self.word(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
    }

    pub(super) fn number(&mut self) -> Result<u64, Wrong> {
        let start = self.at;
        let word = self.name();
        let number = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        number.map_err(|_| Wrong { at: start, what: "a number is expected here" })
    }

    /// A text in quotation marks. One that is cut, whose end is `...`, is filled up to `size` by
    /// repeating what is there.
    pub(super) fn bytes(&mut self, size: Option<u64>) -> Result<Bytes, Wrong> {
        if self.take(REDACTED) {
            return Ok(Bytes::from_static(REDACTED.as_bytes()));
        }
        // A byte string's mark means nothing: every text is bytes.
        let _ = self.rest().starts_with("b\"") && self.take("b");
        let mut bytes = self.quoted()?;
        if self.take("...") {
            let size = size.map_or(bytes.len() + 1, |size| size as usize);
            const MOST: usize = 1 << 28;
            if size > MOST || bytes.is_empty() {
                return self.wrong("a text that is cut cannot be filled up to that size");
            }
            bytes = bytes.iter().copied().cycle().take(size).collect();
        }
        Ok(bytes.into())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, Wrong> {
        if !self.take("\"") {
            return self.wrong("a text in quotation marks is expected here");
        }
        let mut bytes = Vec::new();
        loop {
            let Some(character) = self.rest().chars().next() else {
                return self.wrong("the text has no end");
            };
            self.at += character.len_utf8();
            match character {
                '"' => return Ok(bytes),
                '\\' => self.escaped(&mut bytes)?,
                character => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escaped(&mut self, bytes: &mut Vec<u8>) -> Result<(), Wrong> {
        const WRONG: &str = "no such escape";
        let Some(character) = self.rest().chars().next() else { return self.wrong(WRONG) };
        self.at += character.len_utf8();
        match character {
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            '\\' | '"' | '\'' => bytes.push(character as u8),
            'x' => {
                let octet = self.rest().get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(octet) = octet else { return self.wrong(WRONG) };
                self.at += 2;
                bytes.push(octet);
            }
            'u' => {
                let digits = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}'));
                let Some((digits, _)) = digits else { return self.wrong(WRONG) };
                let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let Some(character) = character else { return self.wrong(WRONG) };
                self.at += digits.len() + 2;
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return self.wrong(WRONG),
        }
        Ok(())
    }

    /// A table in braces, or its bytes.
    pub(super) fn table(&mut self, depth: usize) -> Result<Table, Wrong> {
        if self.take("encoded") {
            let start = self.at;
            let bytes = self.bytes(None)?;
            return Table::from_encoded(bytes)
                .map_err(|_| Wrong { at: start, what: "no entries of a table" });
        }
        if depth > MOST_NESTED {
            return self.wrong("nested too deep");
        }
        if !self.take("{") {
            return self.wrong("a table in braces is expected here");
        }
        let mut table = Table::new();
        let mut is_first = true;
        while !self.take("}") {
            self.separator(&mut is_first)?;
            let name = match self.rest().starts_with(['"', 'b']) && !self.is_bare_key() {
                true => self.bytes(None)?,
                false => Bytes::copy_from_slice(self.key()?.as_bytes()),
            };
            if !self.take(":") {
                return self.wrong("a colon is expected here");
            }
            self.skip_spaces();
            let value = self.value(depth + 1)?;
            let Ok(name) = std::str::from_utf8(&name) else { return self.wrong("a name that is no text") };
            if table.push(name, value).is_err() {
                return self.wrong("the name is too long, or the value nested too deep");
            }
        }
        Ok(table)
    }

    fn is_bare_key(&self) -> bool {
        let end = self.rest().find(':').unwrap_or_default();
        self.rest().get(..end).is_some_and(is_bare)
    }

    fn key(&mut self) -> Result<&'a str, Wrong> {
        let key = self.name();
        if is_bare(key) { Ok(key) } else { self.wrong("a name is expected here") }
    }

    fn array(&mut self, depth: usize) -> Result<Array, Wrong> {
        if depth > MOST_NESTED {
            return self.wrong("nested too deep");
        }
        let mut array = Array::new();
        let mut is_first = true;
        while !self.take("]") {
            self.separator(&mut is_first)?;
            let value = self.value(depth + 1)?;
            if array.push(value).is_err() {
                return self.wrong("nested too deep");
            }
        }
        Ok(array)
    }

    fn separator(&mut self, is_first: &mut bool) -> Result<(), Wrong> {
        if !std::mem::take(is_first) && !self.take(",") {
            return self.wrong("a comma or the closing bracket is expected here");
        }
        self.skip_spaces();
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, Wrong> {
        let rest = self.rest();
        if rest.starts_with('{') || rest.starts_with("encoded\"") {
            return self.table(depth).map(Value::Table);
        }
        if self.take("[") {
            return self.array(depth).map(Value::Array);
        }
        if rest.starts_with("x\"") {
            self.take("x");
            return self.bytes(None).map(Value::Bytes);
        }
        if rest.starts_with('"') || rest.starts_with("b\"") {
            return self.bytes(None).map(|bytes| Value::LongString(bytes.into()));
        }
        if self.take("@") {
            return self.number().map(Value::Timestamp);
        }
        let start = self.at;
        let word = self.word(|character| character.is_ascii_alphanumeric() || "-+.".contains(character));
        scalar(word).ok_or(Wrong { at: start, what: "a value is expected here" })
    }
}

/// A number with its type, or a word.
fn scalar(word: &str) -> Option<Value> {
    match word {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        "void" => return Some(Value::Void),
        _ => {}
    }
    let bits = |digits: &str| u64::from_str_radix(digits.strip_prefix("0x")?, 16).ok();
    if let Some(number) = word.strip_suffix("f32") {
        return match bits(number) {
            Some(bits) => u32::try_from(bits).ok().map(|bits| Value::F32(f32::from_bits(bits))),
            None => number.parse().ok().map(Value::F32),
        };
    }
    if let Some(number) = word.strip_suffix("f64") {
        return match bits(number) {
            Some(bits) => Some(Value::F64(f64::from_bits(bits))),
            None => number.parse().ok().map(Value::F64),
        };
    }
    let typed = |suffix: &str| word.strip_suffix(suffix);
    if let Some(number) = typed("i16") {
        return number.parse().ok().map(Value::I16);
    }
    if let Some(number) = typed("u16") {
        return number.parse().ok().map(Value::U16);
    }
    if let Some(number) = typed("u32") {
        return number.parse().ok().map(Value::U32);
    }
    if let Some(number) = typed("i64") {
        return number.parse().ok().map(Value::I64);
    }
    if let Some(number) = typed("i8") {
        return number.parse().ok().map(Value::I8);
    }
    if let Some(number) = typed("u8") {
        return number.parse().ok().map(Value::U8);
    }
    // Without a type a number is of the smallest that AMQP writes it with.
    if let Ok(number) = word.parse::<i32>() {
        return Some(Value::I32(number));
    }
    if let Ok(number) = word.parse::<i64>() {
        return Some(Value::I64(number));
    }
    if let Some((value, scale)) = word.split_once("e-")
        && let (Ok(value), Ok(scale)) = (value.parse(), scale.parse())
    {
        return Some(Value::Decimal { scale, value });
    }
    word.parse().ok().map(Value::F64)
}
