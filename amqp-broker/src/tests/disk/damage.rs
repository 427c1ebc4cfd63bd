//! Damaged folders: they are refused and not changed, unless they are to be repaired.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::durability::{
    confirming, copy, declare, journal_of, open, publish, shut_down, written, written_to,
};
use crate::{broker::Broker, store::DataError, tests::peer::Peer};

/// A folder with so many messages, each confirmed separately, as SIGKILL leaves it.
pub(super) async fn killed(messages: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    for number in 0..messages {
        publish(&mut peer, "", "q", &format!("{number} {}", "x".repeat(1000))).await;
    }
    copy(folder.path())
}

pub(super) fn build(folder: &Path, repairs: bool) -> Result<Broker, DataError> {
    Broker::builder().vhost("/").vhost("other").data_dir(folder).repair(repairs).build()
}

/// All files in a folder with their contents, except those that opening may change.
pub(super) fn all_files(folder: &Path) -> BTreeMap<PathBuf, (usize, Vec<u8>)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(all_files(&entry.path())),
            false => {
                // A file that vanishes meanwhile is left out.
                let Ok(octets) = fs::read(entry.path()) else { continue };
                all.insert(entry.path(), (octets.len(), octets[..written(&octets)].to_vec()));
            }
        }
    }
    all
}

/// Checks that a folder is refused with this error, and not changed.
pub(super) fn refused(folder: &Path, words: &str) {
    let before = all_files(folder);
    let error = build(folder, false).expect_err("a damaged folder is refused");
    assert!(matches!(error, DataError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.to_string().contains("Error"), "in words: {error}");
    assert!(before == all_files(folder), "nothing was changed");
}

/// Repairs a folder and checks that it is in order then; returns the remaining messages, and the
/// folder with the damaged parts.
pub(super) async fn repaired(folder: &Path) -> (Vec<String>, PathBuf) {
    let broker = build(folder, true).unwrap();
    let aside = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut aside = aside.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("damaged-"));
    let aside = aside.next().expect("what was damaged is set aside");
    assert!(!fs::read_to_string(aside.join("report")).unwrap().is_empty());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let left = peer.bodies("q").await;
    publish(&mut peer, "", "q", "after").await;
    // The folder is tested as a kill leaves it, copied while only the journal is being written, and
    // as an orderly end does.
    let before = all_files(&folder.join("keyspaces"));
    let killed = copy(folder);
    let is_still = before == all_files(&folder.join("keyspaces"))
        && before.keys().all(|file| {
            !file.to_string_lossy().contains("/tables/") || file.starts_with(folder.join("keyspaces/0"))
        });
    shut_down(broker, peer).await;
    for folder in [killed.path(), folder].into_iter().skip(usize::from(!is_still)) {
        let broker = build(folder, false).unwrap();
        let mut peer = Peer::open(&broker).await;
        assert_eq!(peer.bodies("q").await.last().map(String::as_str), Some("after"));
        shut_down(broker, peer).await;
    }
    (left, aside)
}

pub(super) fn numbers(bodies: &[String]) -> Vec<usize> {
    bodies.iter().map(|body| body.split(' ').next().unwrap().parse().unwrap()).collect()
}

pub(super) fn overwrite(file: &Path, at: usize, octets: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(octets, at as u64).unwrap();
}

#[tokio::test]
async fn sixty_kilobytes_that_were_zeroed_are_a_hole_and_what_is_behind_it_is_kept() {
    let folder = killed(200).await;
    let journal = journal_of(folder.path());
    let middle = written_to(&journal) / 2;
    overwrite(&journal, middle, &[0; 60_000]);
    let damaged = fs::read(&journal).unwrap();
    refused(folder.path(), "cannot be read");
    let (left, aside) = repaired(folder.path()).await;
    assert!(fs::read(aside.join(journal.file_name().unwrap())).unwrap() == damaged, "it is there as it was");
    let numbers = numbers(&left);
    assert!((130..150).contains(&numbers.len()), "{}", numbers.len());
    assert!(numbers.contains(&0) && numbers.contains(&199) && numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn what_survives_a_power_loss_in_parts_behind_the_mark_is_dropped_and_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    let mut copies = Vec::new();
    for numbers in [0..5, 5..10] {
        for number in numbers {
            publish(&mut peer, "", "q", &format!("{number} {}", "x".repeat(1000))).await;
        }
        copies.push(copy(folder.path()));
    }
    let [early, late] = &copies[..] else { panic!("two copies") };
    let marked = written_to(&journal_of(early.path()));
    fs::copy(early.path().join("synced"), late.path().join("synced")).unwrap();
    for (at, is_refused) in [(marked - 200, true), (marked + 100, false)] {
        let folder = copy(late.path());
        overwrite(&journal_of(folder.path()), at, b"?");
        if is_refused {
            refused(folder.path(), "intact ones follow");
            continue;
        }
        let broker = build(folder.path(), false).unwrap();
        let mut peer = Peer::open(&broker).await;
        assert_eq!(numbers(&peer.bodies("q").await), [0, 1, 2, 3, 4]);
    }
}

#[tokio::test]
async fn a_journal_that_ends_before_what_was_confirmed_is_refused_wherever_it_was_cut() {
    let whole = killed(20).await;
    let end = written_to(&journal_of(whole.path()));
    for left in [0, 1, end / 2, end - 3000, end - 1] {
        let folder = copy(whole.path());
        let journal = OpenOptions::new().write(true).open(journal_of(folder.path())).unwrap();
        journal.set_len(left as u64).unwrap();
        refused(folder.path(), "was confirmed");
        let (bodies, _) = repaired(folder.path()).await;
        let numbers = numbers(&bodies);
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
        assert!(numbers.len() < 20 && (left < end / 2 || numbers.len() >= 8), "{left} octets: {numbers:?}");
    }
}

#[tokio::test]
async fn whatever_octet_of_a_journal_is_another_it_is_damage() {
    let whole = killed(10).await;
    let end = written_to(&journal_of(whole.path()));
    for at in (0..end).step_by(end / 20) {
        let folder = copy(whole.path());
        let journal = journal_of(folder.path());
        let octet = fs::read(&journal).unwrap()[at];
        overwrite(&journal, at, &[octet ^ 0x40]);
        refused(folder.path(), "");
    }
}

#[tokio::test]
async fn a_flipped_octet_costs_one_message() {
    let folder = killed(10).await;
    let journal = journal_of(folder.path());
    let octets = fs::read(&journal).unwrap();
    let at = octets.windows(3).position(|octets| octets == b"5 x").unwrap() + 100;
    overwrite(&journal, at, b"y");
    refused(folder.path(), "intact ones follow");
    let (bodies, _) = repaired(folder.path()).await;
    assert_eq!(numbers(&bodies), [0, 1, 2, 3, 4, 6, 7, 8, 9]);
}

#[tokio::test]
async fn an_unfinished_batch_at_the_end_is_dropped() {
    let whole = killed(10).await;
    let journal = journal_of(whole.path());
    let octets = fs::read(&journal).unwrap();
    let end = written_to(&journal);
    let begins = octets[..end].windows(4).rposition(|octets| octets == b"FJL\x03").unwrap();
    let begins = octets[..begins].windows(4).rposition(|octets| octets == b"FJL\x03").unwrap() + 4;
    for length in [1, 5, 50, 100, end - begins - 1] {
        let folder = copy(whole.path());
        // The last batch was being written when the power failed, and its last part is missing.
        overwrite(&journal_of(folder.path()), end, &octets[begins..begins + length]);
        let broker = build(folder.path(), false).unwrap();
        assert_eq!(broker.queue("/", "q").unwrap().ready, 10);
    }
}

#[tokio::test]
async fn whatever_is_missing_of_the_keyspaces_is_damage_and_the_journals_bring_back_what_they_have() {
    let whole = killed(10).await;
    let keyspaces = fs::read_dir(whole.path().join("keyspaces")).unwrap();
    let names: Vec<_> = keyspaces.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names.iter().filter(|name| ["0", "2", "3"].contains(&&*name.to_string_lossy())) {
        let folder = copy(whole.path());
        fs::remove_dir_all(folder.path().join("keyspaces").join(name)).unwrap();
        refused(folder.path(), "is missing");
        let (bodies, _) = repaired(folder.path()).await;
        assert_eq!(numbers(&bodies), (0..10).collect::<Vec<_>>(), "without {name:?}");
    }
    let folder = copy(whole.path());
    fs::remove_dir_all(folder.path().join("keyspaces")).unwrap();
    refused(folder.path(), "is missing");
    assert_eq!(repaired(folder.path()).await.0.len(), 10);
}

#[tokio::test]
async fn whatever_file_is_missing_it_is_damage() {
    let folder = killed(10).await;
    let files = all_files(folder.path()).into_keys();
    let files: Vec<_> = files
        .map(|file| file.strip_prefix(folder.path()).unwrap().to_owned())
        .filter(|file| !file.ends_with("lock"))
        .collect();
    assert!(files.len() > 10, "{files:?}");
    let mut damaged = 0;
    for file in files {
        let copy = copy(folder.path());
        fs::remove_file(copy.path().join(&file)).unwrap();
        match build(copy.path(), false) {
            // The store was about to remove this file.
            Ok(broker) => {
                assert!(file.starts_with("keyspaces"), "without {}", file.display());
                assert_eq!(broker.queue("/", "q").unwrap().ready, 10, "without {}", file.display());
            }
            Err(error) => {
                damaged += 1;
                assert!(matches!(error, DataError::Damaged { .. }), "without {}: {error}", file.display());
                // A repair reads everything, which takes time, so only some are repaired.
                if file.starts_with("keyspaces") && damaged % 5 > 0 {
                    continue;
                }
                let (bodies, _) = repaired(copy.path()).await;
                let is_journal = file.extension().is_some_and(|extension| extension == "jnl");
                assert_eq!(bodies.len(), if is_journal { 0 } else { 10 }, "without {}", file.display());
            }
        }
    }
    assert!(damaged > 10, "{damaged}");
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_not_repaired() {
    let whole = killed(1).await;
    for (file, old, new, words) in [
        ("contents", "format 1", "format 2", "format 2 (known: 1)"),
        ("version", "\u{3}", "\u{4}", "format 4"),
    ] {
        let folder = copy(whole.path());
        let path = folder.path().join(file);
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        fs::write(&path, text.replace(old, new)).unwrap();
        let before = all_files(folder.path());
        for repairs in [false, true] {
            let error = build(folder.path(), repairs).err().unwrap();
            assert!(matches!(error, DataError::Newer { .. }), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
        assert!(before == all_files(folder.path()));
    }
}

#[tokio::test]
async fn after_a_clean_end_the_journal_ends_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    publish(&mut peer, "", "q", "0").await;
    shut_down(broker, peer).await;
    let more = copy(folder.path());
    overwrite(&journal_of(more.path()), written_to(&journal_of(folder.path())), b"more");
    refused(more.path(), "the end was a clean one");
    assert_eq!(repaired(more.path()).await.0, ["0"]);
    let broker = build(folder.path(), false).unwrap();
    assert_eq!(broker.queue("/", "q").unwrap().ready, 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_not_deleted_but_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(folder.path());
    let mut peer = confirming(&broker).await;
    let large = "y".repeat(50_000);
    for name in ["q", "other"] {
        declare(&mut peer, name).await;
        publish(&mut peer, "", name, &large).await;
    }
    shut_down(broker, peer).await;
    // One body is missing, as may happen to the rest of a damaged journal.
    let database = fjall::Database::builder(folder.path()).open().unwrap();
    let bodies = database.keyspace("_2f.bodies", Default::default).unwrap();
    let first = bodies.first_key_value().unwrap().key().unwrap();
    bodies.remove(first).unwrap();
    database.persist(fjall::PersistMode::SyncAll).unwrap();
    drop((bodies, database));
    for _ in 0..2 {
        let error = build(folder.path(), false).err().unwrap().to_string();
        assert!(error.contains("1 records of the virtual host '/' cannot be read"), "{error}");
    }
    let (_, aside) = repaired(folder.path()).await;
    assert!(fs::read(aside.join("_2f.messages")).unwrap().len() > 16);
    let broker = build(folder.path(), false).unwrap();
    assert_eq!(broker.queue("/", "other").unwrap().ready, 1);
}

#[tokio::test]
async fn a_repair_where_nothing_is_damaged_leaves_nothing_behind() {
    let folder = killed(5).await;
    let broker = build(folder.path(), true).unwrap();
    assert_eq!(broker.queue("/", "q").unwrap().ready, 5);
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with("damaged-")));
}

#[tokio::test]
async fn a_first_start_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let whole = copy(folder.path());
    for files in [&["version"][..], &["keyspaces/0/current"], &[]] {
        let folder = copy(whole.path());
        for file in ["contents", "synced"].iter().chain(files) {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        let journal = OpenOptions::new().write(true).open(journal_of(folder.path())).unwrap();
        journal.set_len(0).unwrap();
        journal.set_len(1 << 20).unwrap();
        let broker = build(folder.path(), false).unwrap_or_else(|error| panic!("without {files:?}: {error}"));
        let mut peer = confirming(&broker).await;
        declare(&mut peer, "q").await;
        publish(&mut peer, "", "q", "0").await;
    }
}

#[tokio::test]
async fn a_first_start_whose_version_was_written_in_part_is_begun_again() {
    for written in ["", "F", "FJ", "FJL"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version"), written).unwrap();
        let broker = build(folder.path(), false).unwrap_or_else(|error| panic!("{written:?}: {error}"));
        publish(&mut confirming(&broker).await, "", "nowhere", "0").await;
    }
    // Where messages are, it is damage.
    let folder = killed(5).await;
    fs::write(folder.path().join("version"), "FJL").unwrap();
    refused(folder.path(), "the file `version` is missing");
}

#[tokio::test]
async fn a_folder_from_before_is_taken_over() {
    let folder = killed(5).await;
    for file in ["contents", "synced"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    let broker = build(folder.path(), false).unwrap();
    let mut peer = confirming(&broker).await;
    publish(&mut peer, "", "q", "5 ").await;
    let copied = copy(folder.path());
    let broker = build(copied.path(), false).unwrap();
    let mut peer = Peer::open(&broker).await;
    assert_eq!(numbers(&peer.bodies("q").await), [0, 1, 2, 3, 4, 5]);
    overwrite(&journal_of(folder.path()), 2000, &[0; 50]);
    drop(broker);
    let torn = copy(folder.path());
    refused(torn.path(), "cannot be read");
}

/// A folder with most of its records in the store's tables.
pub(super) async fn long_lived() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::builder().memory_limit(32 << 20).data_dir(folder.path()).build().unwrap();
    let mut peer = confirming(&broker).await;
    declare(&mut peer, "q").await;
    for number in 0..150 {
        publish(
            &mut peer,
            "",
            "q",
            &format!("{number} {}", "x".repeat(if number % 2 == 0 { 4000 } else { 40_000 })),
        )
        .await;
    }
    shut_down(broker, peer).await;
    folder
}

#[tokio::test]
async fn what_is_damaged_in_the_tables_is_refused_or_nobody_needs_it() {
    let whole = long_lived().await;
    let files = all_files(&whole.path().join("keyspaces"));
    let (mut damaged, mut kept) = (0, 0);
    for (file, (length, _)) in files.iter().filter(|(file, (length, _))| *length > 100_000 && file.is_file())
    {
        for part in 0..8 {
            let folder = copy(whole.path());
            let file = folder.path().join(file.strip_prefix(whole.path()).unwrap());
            let at = length / 8 * part + part;
            let octet = fs::read(&file).unwrap()[at];
            overwrite(&file, at, &[octet ^ 0x10]);
            match Broker::builder().data_dir(folder.path()).build() {
                Ok(broker) => {
                    let mut peer = Peer::open(&broker).await;
                    assert_eq!(numbers(&peer.bodies("q").await), (0..150).collect::<Vec<_>>());
                }
                Err(error) => {
                    assert!(matches!(error, DataError::Damaged { .. }), "{error}");
                    damaged += 1;
                    if part % 4 == 1 {
                        let (bodies, _) = repaired(folder.path()).await;
                        kept += bodies.len();
                    }
                }
            }
        }
    }
    assert!(damaged > 0 && kept > 0, "{damaged} {kept}");
}
