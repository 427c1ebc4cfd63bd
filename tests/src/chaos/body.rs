//! Bodies that say which message they are of.

/// The body of a message: its number, and octets that follow from it.
pub(super) fn body_of(number: usize) -> String {
    let length = number * 37 % 400;
    let filling: String = (0..length).map(|place| char::from(b'a' + ((number + place) % 26) as u8)).collect();
    format!("{number}:{filling}")
}

/// The number of a body, if it is right.
pub(super) fn number_of(body: &str) -> Option<usize> {
    let number = body.split(':').next()?.parse().ok()?;
    (body_of(number) == body).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_number_and_no_other() {
        assert_eq!((0..1000).filter_map(|number| number_of(&body_of(number))).count(), 1000);
        assert_eq!(number_of(&body_of(71).replace("71:", "72:")), None);
        assert_eq!([number_of(""), number_of("x"), number_of("1")], [None; 3]);
    }
}
