//! The stand-in for buffers on disk without the feature `spool`.

use std::{future::Ready, path::Path};

use bytes::Bytes;

use crate::{error::Error, oslo::error::notify::NotifyError, oslo::notify::notification::Notification};

/// A spool, of which there is none.
pub(super) enum Spool {}

/// The records of a folder, with their numbers and in order.
pub(super) type Kept = Vec<(u64, Notification)>;

impl Spool {
    pub(super) fn open(_folder: &Path) -> Result<(Self, Kept), NotifyError> {
        Err(NotifyError::NotCompiled { what: "buffers on disk", feature: "spool" })
    }

    pub(super) fn record(_notification: &Notification) -> Result<Bytes, Error> {
        Ok(Bytes::new())
    }

    pub(super) fn keep(&self, _number: u64, _record: Bytes) -> Ready<Result<(), Error>> {
        match *self {}
    }

    pub(super) fn forget(&self, _number: u64) {
        match *self {}
    }

    pub(super) async fn close(self) {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_on_disk_is_refused_by_the_name_of_the_feature() {
        let refused = Spool::open(Path::new("/nowhere")).err().unwrap().to_string();
        assert_eq!(refused, "buffers on disk are not in this build: feature `spool` of `messaging` is off");
    }
}
