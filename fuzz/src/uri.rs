use amqp_client::Uri;

/// Reads a URI from the input as it is, and one with the input as user, password and virtual host,
/// which are read as they were written.
pub fn uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(uri) = Uri::parse(&text) {
        assert!(!uri.address().is_empty());
        assert!(!format!("{uri} {uri:?}").is_empty());
    }
    let mut parts = text.splitn(3, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (user, password, vhost) = (next(), next(), next());
    let uri = format!("amqp://{}:{}@host/{}", encoded(user), encoded(password), encoded(vhost));
    let read = Uri::parse(&uri).expect("every part is encoded");
    let vhost = if vhost.is_empty() { "/" } else { vhost };
    assert_eq!((&*read.user, read.password.expose(), &*read.vhost), (user, password, vhost));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
