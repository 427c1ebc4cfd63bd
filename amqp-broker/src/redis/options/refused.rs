//! Options of kombu and redis-py that cannot have their effect here.

/// Options by name, each with the reason why it is refused and what takes its place.
const REFUSED: [(&str, &str); 20] = [
    (
        "credential_provider",
        "a function cannot be in a URL: give RedisOptions with `credentials` to Redis::new or TransportOptions::on_redis",
    ),
    ("errback", "a function cannot be in a URL, and attempts to connect are logged"),
    ("callback", "a function cannot be in a URL, and attempts to connect are logged"),
    ("retry", "it is an object of Python; `retry_on_timeout` repeats commands"),
    ("retry_on_error", "its classes are those of Python; `retry_on_timeout` repeats commands"),
    ("hostname", "it belongs in front of the path of the URL"),
    ("port", "it belongs in front of the path of the URL"),
    ("userid", "it belongs in front of the host of the URL"),
    ("password", "it belongs in front of the host of the URL"),
    ("transport", "the scheme of the URL is the transport"),
    ("ssl_ca_path", "a folder of certificates is not read: name a file by `ssl_ca_certs`"),
    ("ssl_password", "an encrypted key cannot be read: name an unencrypted one by `ssl_keyfile`"),
    ("ssl_ciphers", "rustls chooses the ciphers"),
    ("ssl_min_version", "it is TLS 1.2, and 1.3 where the server has it"),
    ("ssl_include_verify_flags", "they are flags of OpenSSL, and TLS is that of rustls"),
    ("ssl_exclude_verify_flags", "they are flags of OpenSSL, and TLS is that of rustls"),
    ("ssl_validate_ocsp", "rustls asks no OCSP service"),
    ("ssl_validate_ocsp_stapled", "rustls checks no stapled OCSP response"),
    ("ssl_ocsp_context", "rustls asks no OCSP service"),
    ("ssl_ocsp_expected_cert", "rustls asks no OCSP service"),
];

/// Returns the reason why an option of kombu's is refused, if it is.
pub(super) fn refused(option: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == option).map(|(_, reason)| *reason)
}
