//! The transports of kombu that this project does not have.

/// A transport that does not come with this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{scheme}:// is not supported: {what}")]
pub struct UnsupportedScheme {
    scheme: String,
    what: String,
}

impl UnsupportedScheme {
    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }
}

/// The other transports of kombu 5.7, and three that earlier releases had, by scheme.
const OTHERS: [(&[&str], &str); 17] = [
    (&["sqs"], "Amazon SQS"),
    (&["mongodb"], "MongoDB"),
    (&["zookeeper"], "Apache ZooKeeper"),
    (&["sqlalchemy", "sqla"], "SQL databases by SQLAlchemy"),
    (&["slmq"], "SoftLayer message queues"),
    (&["qpid"], "Apache Qpid"),
    (&["consul"], "Consul"),
    (&["etcd"], "etcd"),
    (&["confluentkafka", "kafka"], "Apache Kafka"),
    (&["azurestoragequeues"], "Azure Storage queues"),
    (&["azureservicebus"], "Azure Service Bus"),
    (&["pyro"], "Pyro"),
    (&["gcpubsub"], "Google Cloud Pub/Sub"),
    (&["pgmq"], "PostgreSQL message queues"),
    (&["beanstalk"], "beanstalkd"),
    (&["zmq", "zeromq"], "ZeroMQ"),
    (&["couchdb"], "CouchDB"),
];

/// Tells whether a URL's scheme is that of a transport which kombu has or had and this project has
/// not. Case does not matter, and what follows a `+` does not either.
///
/// ```
/// let error = amqp_broker::backend::unsupported_scheme("sqs").unwrap();
/// assert!(error.to_string().contains("amqp_broker::backend::Backend"));
/// assert_eq!(amqp_broker::backend::unsupported_scheme("redis"), None);
/// ```
pub fn unsupported_scheme(scheme: &str) -> Option<UnsupportedScheme> {
    let scheme = scheme.to_ascii_lowercase();
    let what = if is_cluster(&scheme) {
        "a queue's lists and claims are changed in one step, and Redis Cluster does that only for keys of one \
         hash slot; use a single Redis or Sentinel, where a `global_keyprefix` with one hash tag keeps the keys \
         together"
            .to_owned()
    } else {
        let transport = scheme.split('+').next().unwrap_or_default();
        let (_, name) = OTHERS.iter().find(|(schemes, _)| schemes.contains(&transport))?;
        format!("there is no transport for {name}; implement amqp_broker::backend::Backend to write one")
    };
    Some(UnsupportedScheme { scheme, what })
}

fn is_cluster(scheme: &str) -> bool {
    matches!(
        scheme,
        "redis+cluster"
            | "rediss+cluster"
            | "redis-cluster"
            | "rediss-cluster"
            | "rediscluster"
            | "redisscluster"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_other_transport_of_kombu_points_to_the_seam() {
        for scheme in [
            "confluentkafka",
            "kafka",
            "SQS",
            "sqs",
            "mongodb",
            "zookeeper",
            "sqlalchemy",
            "sqla",
            "SLMQ",
            "slmq",
            "qpid",
            "consul",
            "etcd",
            "azurestoragequeues",
            "azureservicebus",
            "pyro",
            "gcpubsub",
            "pgmq",
            "beanstalk",
            "zmq",
            "sqla+postgresql",
        ] {
            let error = unsupported_scheme(scheme).unwrap();
            assert_eq!(error.scheme(), scheme.to_ascii_lowercase());
            assert!(error.to_string().ends_with("implement amqp_broker::backend::Backend to write one"));
        }
        let error = unsupported_scheme("kafka").unwrap().to_string();
        assert!(error.starts_with("kafka:// is not supported: there is no transport for Apache Kafka;"));
    }

    #[test]
    fn a_cluster_is_refused_with_the_reason() {
        for scheme in ["redis+cluster", "rediss+cluster", "redis-cluster", "RedisCluster"] {
            assert!(unsupported_scheme(scheme).unwrap().to_string().contains("one hash slot"));
        }
    }

    #[test]
    fn what_there_is_is_not_refused() {
        for scheme in
            ["amqp", "amqps", "pyamqp", "memory", "redis", "rediss", "redis+socket", "sentinel", "http", ""]
        {
            assert_eq!(unsupported_scheme(scheme), None, "{scheme}");
        }
    }
}
