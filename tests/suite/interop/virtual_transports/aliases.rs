//! Each name of kombu's table of transports is served, or refused with the way to write one.

use messaging::{Error, TransportOptions, UrlError};
use tests::Python;

/// These are served here. `sentinel` lacks the name of a master.
const SERVED: [&str; 9] =
    ["amqp", "amqps", "filesystem", "librabbitmq", "memory", "pyamqp", "redis", "rediss", "sentinel"];

#[tokio::test]
async fn every_name_of_kombus_table_is_served_or_points_to_the_seam() {
    let test = concat!(module_path!(), "::every_name_of_kombus_table_is_served_or_points_to_the_seam");
    let Some(python) = Python::require(test) else { return };
    let script = "from kombu.transport import TRANSPORT_ALIASES\nprint(*TRANSPORT_ALIASES)";
    let output = python.run(script, &[]).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut served = Vec::new();
    for name in said.split_whitespace() {
        match TransportOptions::new().lazy(&format!("{name}://")) {
            Err(Error::Url(UrlError::Unsupported(error))) => {
                assert!(error.to_string().contains("amqp_broker::backend::Backend"), "{error}");
            }
            Err(Error::Url(UrlError::Redis(error))) if name == "sentinel" => {
                assert!(error.to_string().contains("master_name"), "{error}");
                served.push(name);
            }
            Err(error) => panic!("{name}: {}", messaging::Report(&error)),
            Ok(_) => served.push(name),
        }
    }
    served.sort_unstable();
    assert_eq!(served, SERVED);
}
