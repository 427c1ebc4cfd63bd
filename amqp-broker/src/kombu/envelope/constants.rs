//! The numbers that Python writes and JSON lacks.

/// What stands for each of them.
pub(super) struct Substitutes {
    pub(super) nan: &'static str,
    pub(super) infinity: &'static str,
    pub(super) negative_infinity: &'static str,
}

/// Values that are read as those numbers.
pub(super) const TAGGED: Substitutes = Substitutes {
    nan: r#"{"__type__":"float","__value__":"NaN"}"#,
    infinity: r#"{"__type__":"float","__value__":"inf"}"#,
    negative_infinity: r#"{"__type__":"float","__value__":"-inf"}"#,
};

/// Numbers of the same length, so that everything else stays in its place.
pub(super) const MASKS: Substitutes =
    Substitutes { nan: "1.0", infinity: "1.000000", negative_infinity: "-1.000000" };

/// Replaces them in an item that could not be read; `None` when there are none.
pub(super) fn substituted(item: &[u8], by: &Substitutes) -> Option<Vec<u8>> {
    let constants = [("NaN", by.nan), ("-Infinity", by.negative_infinity), ("Infinity", by.infinity)];
    let mut out = Vec::with_capacity(item.len());
    let (mut rest, mut in_text, mut found) = (item, false, false);
    while let Some(byte) = rest.first() {
        let constant = constants.iter().find(|(name, _)| !in_text && rest.starts_with(name.as_bytes()));
        let length = match (constant, byte) {
            (Some((name, substitute)), _) => {
                out.extend_from_slice(substitute.as_bytes());
                found = true;
                rest = &rest[name.len()..];
                continue;
            }
            (None, b'\\') if in_text => rest.len().min(2),
            (None, b'"') => {
                in_text = !in_text;
                1
            }
            _ => 1,
        };
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_replaced_but_not_in_texts() {
        let item = br#"{"a":NaN,"b\"NaN":[Infinity,-Infinity],"c":"NaN\\"}"#;
        let masked = substituted(item, &MASKS).unwrap();
        assert_eq!(masked, br#"{"a":1.0,"b\"NaN":[1.000000,-1.000000],"c":"NaN\\"}"#);
        assert_eq!(masked.len(), item.len());
        assert_eq!(substituted(br#"{"NaN":"\"Infinity"}"#, &MASKS), None);
        assert_eq!(substituted(br#""\"#, &MASKS), None);
    }
}
