//! Messages in their folders: written, claimed, settled.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, ErrorKind},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use amqp_codec::PERSISTENT;

use crate::{
    backend::{BackendError, Message, Settlement},
    kombu::{
        envelope::{BodyEncoding, Envelope, EnvelopeEncoder, decode, mark_redelivered},
        priorities::PriorityOrder,
    },
    sync::Mutex,
};

use super::{
    claims::{self, Reader},
    clock::FileNames,
    folders::{self, Content},
    left_alone::LeftAlone,
    options::FilesystemOptions,
};

/// The time since the last write to a file whose writer will not finish it any more.
const UNFINISHED: Duration = Duration::from_secs(10);

/// A claimed message.
#[derive(Debug)]
pub struct Claim {
    pub(super) queue: String,
    /// The file's name in the queue, and its name while it is claimed.
    name: String,
    claimed: String,
}

/// The messages of all queues.
#[derive(Debug)]
pub(super) struct Messages {
    options: FilesystemOptions,
    names: Mutex<FileNames>,
    encoder: Mutex<EnvelopeEncoder>,
    left_alone: Arc<LeftAlone>,
}

impl Messages {
    pub(super) fn new(options: FilesystemOptions, left_alone: Arc<LeftAlone>) -> Self {
        let encoder = EnvelopeEncoder::new(BodyEncoding::Base64, PriorityOrder::default());
        Messages { options, names: Mutex::new(FileNames::new()), encoder: Mutex::new(encoder), left_alone }
    }

    /// Creates the folders.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let FilesystemOptions { data_in, data_out, processed, .. } = &self.options;
        [data_in, data_out].into_iter().chain(processed).try_for_each(fs::create_dir_all)
    }

    pub(super) fn list(&self, queue: &str) -> io::Result<Vec<String>> {
        folders::list(&self.options.data_in, queue)
    }

    pub(super) fn queues(&self) -> io::Result<BTreeSet<String>> {
        folders::queues(&self.options.data_in)
    }

    /// Removes a queue's messages; returns their number.
    pub(super) fn purge(&self, queue: &str) -> io::Result<u32> {
        let mut removed = 0;
        for name in self.list(queue)? {
            removed += match folders::remove(&self.options.data_in.join(&name)) {
                Err(error) if error.kind() == ErrorKind::IsADirectory => 0,
                is_removed => u32::from(is_removed?),
            };
        }
        Ok(removed)
    }

    /// Writes a message into queues. The inner error is a verdict on the message.
    pub(super) fn put(&self, message: &Message, queues: &[String]) -> io::Result<Result<(), BackendError>> {
        let envelope = match self.encoder.lock().encode(message, now()) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(BackendError::PreconditionFailed(error.to_string()))),
        };
        let is_durable = message.properties.delivery_mode == Some(PERSISTENT);
        for queue in queues {
            let name = self.names.lock().next(queue);
            folders::put(&self.options.data_out, &name, &envelope.json, is_durable)?;
        }
        Ok(Ok(()))
    }

    /// Takes messages of a queue: for a reader, or for good.
    pub(super) fn claim(
        &self,
        queue: &str,
        most: usize,
        reader: Option<&Arc<Reader>>,
    ) -> io::Result<Vec<(Envelope, Option<Claim>)>> {
        let mut taken = Vec::new();
        for name in self.list(queue)? {
            if taken.len() == most {
                break;
            }
            let Some(envelope) = self.message(&name)? else { continue };
            let is_expired = envelope.is_expired(now());
            // Nobody settles a message whose time is over: it is taken for good.
            let reader = reader.filter(|_| !is_expired);
            if let Some(claim) = self.take(queue, name, reader)?
                && !is_expired
            {
                taken.push((envelope, claim));
            }
        }
        Ok(taken)
    }

    /// Reads a message file. One that is no message stays where it is, and is logged once, as is
    /// one that its writer does not finish.
    fn message(&self, name: &str) -> io::Result<Option<Envelope>> {
        let content = match folders::read(&self.options.data_in, name) {
            Ok(Content::Whole(content)) => content,
            Ok(Content::Unfinished(written)) => {
                if written.elapsed().is_ok_and(|since| since > UNFINISHED) {
                    self.left_alone.log(name, "it is empty or locked, and its writer does not finish it");
                }
                return Ok(None);
            }
            Ok(Content::Missing) => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::PermissionDenied) => {
                self.left_alone.log(name, error);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let envelope = decode(&content, PriorityOrder::default());
        Ok(envelope.inspect_err(|error| self.left_alone.log(name, error)).ok())
    }

    /// Claims or removes a file; `None` when another was faster.
    fn take(
        &self,
        queue: &str,
        name: String,
        reader: Option<&Arc<Reader>>,
    ) -> io::Result<Option<Option<Claim>>> {
        let folder = &self.options.data_in;
        let Some(reader) = reader else {
            return Ok(self.finish(&name, &name)?.then_some(None));
        };
        let claimed = reader.claimed(&name);
        let is_ours = folders::rename(&folder.join(&name), &folder.join(&claimed))?;
        Ok(is_ours.then(|| Some(Claim { queue: queue.to_owned(), name, claimed })))
    }

    /// Removes a message that is done, or moves it to the folder of those; tells whether it was
    /// there.
    fn finish(&self, name: &str, now: &str) -> io::Result<bool> {
        let path = self.options.data_in.join(now);
        match &self.options.processed {
            Some(processed) => folders::rename(&path, &processed.join(name)),
            None => folders::remove(&path),
        }
    }

    /// Settles claims; returns how many were returned meanwhile.
    pub(super) fn settle(&self, claims: Vec<(Claim, Settlement)>) -> io::Result<usize> {
        let mut lost = 0;
        for (claim, settlement) in claims {
            let is_ours = match settlement {
                Settlement::Requeue => self.give_back(&claim.name, &claim.claimed)?,
                Settlement::Ack | Settlement::Reject => self.finish(&claim.name, &claim.claimed)?,
            };
            lost += usize::from(!is_ours);
        }
        Ok(lost)
    }

    /// Returns the claims of readers that are gone.
    pub(super) fn return_orphans(&self) -> io::Result<()> {
        for (name, claimed) in claims::orphans(&self.options.data_in, &self.options.control)? {
            self.give_back(&name, &claimed)?;
        }
        Ok(())
    }

    /// Logs files that are neither messages nor claims, once nobody writes them any more: foreign
    /// ones, and what a writer that was killed has left.
    pub(super) fn log_others(&self) -> io::Result<()> {
        for name in folders::names(&self.options.data_in)? {
            if folders::queue_of(&name).is_some() || claims::is_claim(&name) || self.left_alone.has(&name) {
                continue;
            }
            let Ok(metadata) = fs::metadata(self.options.data_in.join(&name)) else { continue };
            let is_old = metadata.modified()?.elapsed().is_ok_and(|since| since > UNFINISHED);
            if metadata.is_file() && is_old {
                self.left_alone.log(&name, "it is no message, or its writer has not finished it");
            }
        }
        Ok(())
    }

    /// Returns a claimed message to its place, marked as redelivered; tells whether it was there.
    fn give_back(&self, name: &str, claimed: &str) -> io::Result<bool> {
        let folder = &self.options.data_in;
        let Content::Whole(content) = folders::read(folder, claimed)? else { return Ok(false) };
        let content = mark_redelivered(&content).unwrap_or(content);
        folders::put(folder, name, &content, true)?;
        folders::remove(&folder.join(claimed))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::tests::log::logged;

    #[test]
    fn what_is_no_message_or_never_finished_is_left_alone_and_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let options = FilesystemOptions::new().data_folder_in(folder.path());
        let messages = Messages::new(options, Arc::default());
        let path = |name: &str| folder.path().join(name);
        fs::write(path("1_foreign.q.msg"), "no JSON").unwrap();
        fs::create_dir(path("2_folder.q.msg")).unwrap();
        let long_ago = SystemTime::now() - 6 * UNFINISHED;
        let [_empty, locked, young] = ["3_empty.q.msg", "4_locked.q.msg", "5_young.q.msg"].map(|name| {
            let file = File::create(path(name)).unwrap();
            file.set_modified(long_ago).unwrap();
            file
        });
        locked.lock().unwrap();
        young.set_modified(SystemTime::now()).unwrap();
        let claim = || assert!(messages.claim("q", 9, None).unwrap().is_empty());
        let lines = logged(|| (0..3).for_each(|_| claim()));
        let names = ["1_foreign", "2_folder", "3_empty", "4_locked"];
        assert_eq!(lines.len(), names.len(), "{lines:?}");
        for (line, name) in lines.iter().zip(names) {
            assert!(line.contains(&format!("left alone file=\"{name}.q.msg\"")), "{line}");
        }
        young.set_modified(long_ago).unwrap();
        assert_eq!(logged(claim).len(), 1);
        assert_eq!(messages.list("q").unwrap().len(), 5);
        assert_eq!(messages.purge("q").unwrap(), 4, "a folder stays");
    }

    #[test]
    fn files_that_are_neither_messages_nor_claims_are_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let messages = Messages::new(FilesystemOptions::new().data_folder_in(folder.path()), Arc::default());
        let long_ago = SystemTime::now() - 6 * UNFINISHED;
        let claimed = format!("1_a.q.msg.claimed-{}", uuid::Uuid::new_v4());
        for name in ["1_a.q.msg", &claimed, "2_b.q.msg.unfinished", "notes.txt", "young.txt"] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(if name == "young.txt" { SystemTime::now() } else { long_ago }).unwrap();
        }
        fs::create_dir(folder.path().join("processed")).unwrap();
        let mut lines = logged(|| (0..3).for_each(|_| messages.log_others().unwrap()));
        lines.sort();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for name in ["2_b.q.msg.unfinished", "notes.txt"] {
            let file = format!("file=\"{name}\"");
            assert!(lines.iter().any(|line| line.contains(&file)), "{lines:?}");
        }
        assert_eq!(folders::names(folder.path()).unwrap().len(), 6, "all stay");
    }

    #[test]
    fn what_others_have_taken_away_is_told_when_it_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let (data, control) = (folder.path().join("data"), folder.path().join("control"));
        let options = FilesystemOptions::new().data_folder_in(&data).data_folder_out(&data);
        let (messages, reader) = (Messages::new(options, Arc::default()), Reader::begin(&control).unwrap());
        let reader = Arc::new(reader);
        messages.prepare().unwrap();
        let message = Message {
            exchange: Default::default(),
            routing_key: "q".try_into().unwrap(),
            properties: Default::default(),
            body: "m".into(),
        };
        for settlement in [Settlement::Ack, Settlement::Reject, Settlement::Requeue] {
            messages.put(&message, &["q".to_owned(), "q".to_owned()]).unwrap().unwrap();
            let claimed = messages.claim("q", 2, Some(&reader)).unwrap();
            let claims: Vec<_> = claimed.into_iter().map(|(_, claim)| (claim.unwrap(), settlement)).collect();
            fs::remove_file(data.join(&claims[0].0.claimed)).unwrap();
            assert_eq!(messages.settle(claims).unwrap(), 1, "{settlement:?}");
            let requeued = u32::from(settlement == Settlement::Requeue);
            assert_eq!(messages.purge("q").unwrap(), requeued, "{settlement:?}");
        }
    }
}
