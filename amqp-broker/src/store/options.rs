//! The options of the store and its keyspaces.

use std::path::Path;

use fjall::{Database, DatabaseBuilder, KeyspaceCreateOptions, KvSeparationOptions};

use super::room::Room;

/// The suffix of the keyspaces with large bodies.
pub(super) const BODIES: &str = ".bodies";

/// The options for creating a keyspace of this name.
pub(super) fn of_keyspace(name: &str, room: Room) -> KeyspaceCreateOptions {
    let plain = KeyspaceCreateOptions::default().max_memtable_size(room.memtable);
    match name.ends_with(BODIES) {
        true => plain.with_kv_separation(Some(KvSeparationOptions::default())),
        false => plain,
    }
}

/// The options for opening the store.
pub(super) fn of_store(folder: &Path, room: Room) -> DatabaseBuilder<Database> {
    Database::builder(folder).cache_size(room.cache).max_cached_files(Some(room.files))
}
