//! Damaged lists of a keyspace's tables and of a table's parts. The store would ask for as much
//! memory as a wrong count in them says, which ends the program without an error.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    damage::{all_files, build, killed, long_lived, numbers, overwrite, refused, repaired},
    durability::copy,
};
use crate::tests::peer::Peer;

/// The file that names a keyspace's list of tables, and the list.
fn lists(folder: &Path, keyspace: &str) -> [PathBuf; 2] {
    let keyspace = folder.join("keyspaces").join(keyspace);
    let current = keyspace.join("current");
    let number = u64::from_le_bytes(fs::read(&current).unwrap()[..8].try_into().unwrap());
    [current, keyspace.join(format!("v{number}"))]
}

/// The tables of all keyspaces.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let files = all_files(&folder.join("keyspaces")).into_keys();
    files.filter(|file| file.parent().unwrap().ends_with("tables")).collect()
}

/// Changes a bit of each of these octets, and checks that each time the folder is refused.
fn each_is_damage(folder: &Path, file: &Path, octets: std::ops::Range<usize>) {
    let whole = fs::read(file).unwrap();
    for at in octets {
        overwrite(file, at, &[whole[at] ^ 1 << (at % 8)]);
        refused(folder, "has a list of its parts that cannot be read");
        overwrite(file, at, &whole[at..=at]);
    }
}

#[tokio::test]
async fn whatever_bit_of_a_list_of_tables_is_another_it_is_damage() {
    let folder = killed(10).await;
    for file in ["0", "2"].map(|keyspace| lists(folder.path(), keyspace)).concat() {
        each_is_damage(folder.path(), &file, 0..fs::read(&file).unwrap().len());
    }
    drop(build(folder.path(), false).unwrap());
}

#[tokio::test]
async fn whatever_bit_of_a_list_of_a_tables_parts_is_another_it_is_damage() {
    let folder = long_lived().await;
    let tables = tables(folder.path());
    let longest = tables.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let length = fs::read(longest).unwrap().len();
    // The directory of sections, and the trailer.
    each_is_damage(folder.path(), longest, length - 80..length);
    overwrite(longest, length - 20, &[0xff; 4]);
    let (bodies, _) = repaired(folder.path()).await;
    assert!(numbers(&bodies).is_sorted());
}

#[tokio::test]
async fn a_table_that_was_being_written_is_no_damage() {
    let whole = long_lived().await;
    for content in [&b""[..], b"a part of it"] {
        let folder = copy(whole.path());
        let table = tables(folder.path()).pop().unwrap().with_file_name("99");
        fs::write(&table, content).unwrap();
        let broker = build(folder.path(), false).unwrap();
        let mut peer = Peer::open(&broker).await;
        assert_eq!(numbers(&peer.bodies("q").await), (0..150).collect::<Vec<_>>());
        assert!(!table.exists(), "the store removes it");
    }
}
