//! How the store and its keyspaces are set up.

use std::path::Path;

use fjall::{Database, DatabaseBuilder, KeyspaceCreateOptions, KvSeparationOptions};

use super::room::Room;

/// How the names of those end that hold large bodies.
pub(super) const BODIES: &str = ".bodies";

/// How a keyspace of this name is made.
pub(super) fn of_keyspace(name: &str, room: Room) -> KeyspaceCreateOptions {
    let plain = KeyspaceCreateOptions::default().max_memtable_size(room.memtable);
    match name.ends_with(BODIES) {
        true => plain.with_kv_separation(Some(KvSeparationOptions::default())),
        false => plain,
    }
}

/// How the store is opened.
pub(super) fn of_store(folder: &Path, room: Room) -> DatabaseBuilder<Database> {
    Database::builder(folder).cache_size(room.cache).max_cached_files(Some(room.files))
}
