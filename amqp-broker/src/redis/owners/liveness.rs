//! The signs that holders are still there.
//!
//! Redis tells which connections it has, so that what a killed process held is free at once. Where
//! a login may not ask for that, its holders have a lease instead, a key that expires unless it is
//! renewed.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    backend::BackendError,
    redis::{connect::seated, declared::Holder, hub::Hub},
};

/// The time for which a lease lasts.
const LEASE: Duration = Duration::from_secs(30);

/// The time between two renewals of a lease.
pub(crate) const LEASE_EVERY: Duration = Duration::from_secs(10);

/// Those of some holders that are gone, with all that they held. Of those whose connections this
/// login may not look at, none is.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn gone(
    hub: &Hub,
    holders: impl IntoIterator<Item = Holder>,
) -> Result<BTreeSet<Holder>, BackendError> {
    let others: BTreeSet<_> = holders.into_iter().filter(|holder| *holder != hub.holder).collect();
    if others.is_empty() {
        return Ok(others);
    }
    let (seated, leased): (Vec<_>, Vec<_>) = others.into_iter().partition(|holder| holder.seat.is_some());
    let mut gone = without_connection(hub, seated).await?;
    gone.extend(without_lease(hub, leased).await?);
    Ok(gone)
}

async fn without_connection(hub: &Hub, holders: Vec<Holder>) -> Result<BTreeSet<Holder>, BackendError> {
    let Some(own) = &hub.holder.seat else { return Ok(BTreeSet::new()) };
    // A holder that was connected to the server before it started again is not any more.
    let here = |holder: &Holder| holder.seat.as_ref().filter(|seat| seat.server == own.server).cloned();
    let clients: Vec<_> = holders.iter().filter_map(here).map(|seat| seat.client).collect();
    let there = match clients.is_empty() {
        true => Vec::new(),
        false => hub.checked(seated(&mut hub.commands(), &clients).await)?,
    };
    let is_there = |holder: &Holder| here(holder).is_some_and(|seat| there.contains(&seat.client));
    Ok(holders.into_iter().filter(|holder| !is_there(holder)).collect())
}

async fn without_lease(hub: &Hub, holders: Vec<Holder>) -> Result<BTreeSet<Holder>, BackendError> {
    let mut gone = BTreeSet::new();
    for holder in holders {
        let key = hub.keys.lease(&holder.id.simple().to_string());
        if hub.command::<u64>(redis::cmd("EXISTS").arg(key)).await? == 0 {
            gone.insert(holder);
        }
    }
    Ok(gone)
}

/// Takes the lease of a hub that is about to hold something, if others could not see otherwise that
/// it is there.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn hold_lease(hub: &Hub) -> Result<(), BackendError> {
    if hub.holder.seat.is_some() || hub.leases.has_lease() {
        return Ok(());
    }
    set_lease(hub, "NX").await?;
    hub.leases.take_lease();
    Ok(())
}

/// Renews the lease of a hub. One that has lapsed may have cost what the hub held, so that its
/// clients are disconnected.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn renew_lease(hub: &Hub) -> Result<(), BackendError> {
    if hub.leases.has_lease() && !set_lease(hub, "XX").await? {
        hub.lose("the lease of this process in Redis has lapsed");
    }
    Ok(())
}

async fn set_lease(hub: &Hub, condition: &str) -> Result<bool, BackendError> {
    let key = hub.keys.lease(&hub.holder.id.simple().to_string());
    let mut set = redis::cmd("SET");
    set.arg(key).arg(1).arg("PX").arg(LEASE.as_millis()).arg(condition);
    let answer: Option<String> = hub.command(&set).await?;
    Ok(answer.is_some())
}
