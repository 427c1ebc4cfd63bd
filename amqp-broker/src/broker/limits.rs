//! Limits of virtual hosts, set while the broker runs.

use std::collections::BTreeMap;

use super::Broker;
use crate::config::vhosts::MAX_QUEUES;

impl Broker {
    /// Sets the limits of a virtual host, in place of those before. What there is stays. The
    /// configuration's own limits apply besides.
    pub(crate) fn limit_vhost(&self, vhost: &str, limits: BTreeMap<String, i64>) {
        let config = &self.inner.config;
        let own = limits.get(MAX_QUEUES).and_then(|most| usize::try_from(*most).ok());
        config.vhosts.change(vhost, |settings| settings.limits = limits);
        if let Some(host) = self.inner.host(vhost) {
            let most = own.unwrap_or(usize::MAX).min(config.limits().queues);
            host.with(|_, shared| shared.vhost.limit_queues(most));
        }
    }
}
