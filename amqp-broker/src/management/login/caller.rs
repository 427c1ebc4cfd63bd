//! The user of a request, by basic authentication (RFC 7617), and what its tags allow
//! (<https://www.rabbitmq.com/docs/management#permissions>).

use std::collections::BTreeSet;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::{
    core::rabbitmq::access::tags::UserTag,
    management::{
        answer::api_error::ApiError,
        service::{Peer, Service},
    },
};

/// A user who has logged in, and may use the management API.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) user: String,
    tags: BTreeSet<UserTag>,
}

impl Caller {
    /// Checks a login.
    ///
    /// # Errors
    /// When there is none, it is wrong, or its user has no tag that allows anything here.
    async fn of(service: &Service, headers: &HeaderMap, peer: &Peer) -> Result<Self, ApiError> {
        let (user, password) = credentials(headers)?;
        let config = &service.broker.inner.config;
        if !service.checks.is_right(&service.broker, &peer.known, &user, &password).await {
            return Err(ApiError::BadLogin);
        }
        // As everywhere, some users log in from this machine only.
        if config.loopback_users.contains(&user) && !peer.is_near {
            return Err(ApiError::NotAuthorised("User can only log in via localhost".to_owned()));
        }
        let tags = config.users.get(&user).map(|user| user.tags).unwrap_or_default();
        let caller = Caller { user, tags };
        let allowing =
            [UserTag::Management, UserTag::Policymaker, UserTag::Monitoring, UserTag::Administrator];
        if !allowing.iter().any(|tag| caller.tags.contains(tag)) {
            return Err(ApiError::not("management"));
        }
        Ok(caller)
    }

    /// The tags, in RabbitMQ's names.
    pub(crate) fn tags(&self) -> Vec<&'static str> {
        self.tags.iter().map(|tag| tag.name()).collect()
    }

    pub(crate) fn administrates(&self) -> bool {
        self.tags.contains(&UserTag::Administrator)
    }

    /// Tells whether it may see what belongs to others.
    pub(crate) fn monitors(&self) -> bool {
        self.administrates() || self.tags.contains(&UserTag::Monitoring)
    }

    /// # Errors
    /// When it is no administrator.
    pub(crate) fn must_administrate(&self) -> Result<(), ApiError> {
        if self.administrates() { Ok(()) } else { Err(ApiError::not("administrator")) }
    }

    /// # Errors
    /// When it may not see what belongs to others.
    pub(crate) fn must_monitor(&self) -> Result<(), ApiError> {
        if self.monitors() { Ok(()) } else { Err(ApiError::not("monitor")) }
    }

    /// # Errors
    /// When it may not make policies.
    pub(crate) fn must_make_policies(&self) -> Result<(), ApiError> {
        match self.administrates() || self.tags.contains(&UserTag::Policymaker) {
            true => Ok(()),
            false => Err(ApiError::not("policymaker")),
        }
    }

    /// Tells whether the user has permissions in a virtual host.
    pub(crate) fn enters(&self, service: &Service, vhost: &str) -> bool {
        service.broker.inner.config.users.access(&self.user, vhost).is_some()
    }

    /// Checks that the virtual host is there, and that the caller may work in it.
    ///
    /// # Errors
    /// When it is not there, or the user has no permissions in it.
    pub(crate) fn must_enter(&self, service: &Service, vhost: &str) -> Result<(), ApiError> {
        self.admitted(service, vhost, self.enters(service, vhost))
    }

    /// Checks that the virtual host is there, and that the caller may see what is in it.
    ///
    /// # Errors
    /// When it is not there, or the user neither has permissions in it nor monitors.
    pub(crate) fn must_see(&self, service: &Service, vhost: &str) -> Result<(), ApiError> {
        self.admitted(service, vhost, self.monitors() || self.enters(service, vhost))
    }

    fn admitted(&self, service: &Service, vhost: &str, is_admitted: bool) -> Result<(), ApiError> {
        if !service.broker.inner.config.vhosts.has(vhost) {
            return Err(ApiError::NotFound);
        }
        match is_admitted {
            true => Ok(()),
            false => Err(ApiError::NotAuthorised("User not authorised to access virtual host".to_owned())),
        }
    }

    /// The virtual hosts that the caller may work in, by name.
    pub(crate) fn entered_vhosts(&self, service: &Service) -> Vec<String> {
        let vhosts = service.broker.inner.config.vhosts.all();
        vhosts.into_iter().filter(|vhost| self.enters(service, vhost)).collect()
    }

    /// The virtual hosts that the caller may see, by name.
    pub(crate) fn visible_vhosts(&self, service: &Service) -> Vec<String> {
        let vhosts = service.broker.inner.config.vhosts.all();
        vhosts.into_iter().filter(|vhost| self.monitors() || self.enters(service, vhost)).collect()
    }
}

impl FromRequestParts<Service> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default();
        Caller::of(service, &parts.headers, &peer).await
    }
}

/// The user and the password that a request names.
fn credentials(headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(ApiError::NoLogin)?;
    let encoded = value.to_str().ok().and_then(|text| {
        let (scheme, encoded) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("basic").then_some(encoded.trim())
    });
    let decoded =
        BASE64_STANDARD.decode(encoded.ok_or(ApiError::NoLogin)?).map_err(|_| ApiError::BadLogin)?;
    let text = String::from_utf8(decoded).map_err(|_| ApiError::BadLogin)?;
    let (user, password) = text.split_once(':').ok_or(ApiError::BadLogin)?;
    Ok((user.to_owned(), password.to_owned()))
}
