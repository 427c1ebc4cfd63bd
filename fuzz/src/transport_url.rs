use messaging::TransportOptions;

const SECRET: &str = "swordfish";

/// Reads a transport URL from the input as it is; then one with a password inserted between its
/// lines, which no error may show; and one with the input as user, password and virtual host, which
/// is always valid.
pub fn transport_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The transport is described without connecting.
    let told = |url: &str| match TransportOptions::new().lazy(url) {
        Ok(transport) => format!("{transport:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    told(&text);
    let mut parts = text.splitn(3, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (user, password, vhost) = (next(), next(), next());
    // An unescaped semicolon in a password may begin another URL. Schemes and hosts are shown in
    // lower case.
    if !text.to_lowercase().contains(SECRET) && !password.contains(';') {
        for url in [
            format!("rabbit://{}:{SECRET}@{text}", encoded(user)),
            format!("amqp://u:{SECRET}{password}@h/{vhost}"),
            format!("amqp://h;amqp://u:{SECRET}@{text}"),
        ] {
            let told = told(&url);
            assert!(!told.contains(SECRET), "{url:?} shows its password: {told}");
        }
    }
    let url = format!("pyamqp://{}:{}@host/{}", encoded(user), encoded(password), encoded(vhost));
    TransportOptions::new().lazy(&url).expect("every part is encoded");
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
