//! Publish: it finds the queues for an exchange and key, and puts the message into them.

use amqp_codec::{Entries, ShortString};

use super::{Vhost, reply_to::set_reply_to};
use crate::core::{
    content::{
        keys::Keys,
        message::{Draft, Message},
        properties::{Relevant, is_persistent},
    },
    effects::sink::Sink,
    entities::{
        ids::{ChannelId, ConnectionId, ExchangeId, QueueId},
        queue::MessageTerms,
        ready::NEVER,
    },
    journal::{kept::Kept, records::Stored},
    rabbitmq::{
        access::Act,
        arguments::{MOST_MILLISECONDS, Overflow},
        copies::{Copies, remove_blind_copies},
        death::Reason,
        refusal::Refusal,
    },
    work::{
        publication::Publication,
        publishing::{PublishProgress, Published, Publishing},
        routing::Found,
        step::Step,
    },
};

/// A route to more queues than this is not remembered, which bounds the memory of channels.
const MOST_REMEMBERED: usize = 128;

/// The queues that a publisher's last message went to. If the next message has the same exchange
/// and key, and no binding or queue has changed since, it goes there too, without a search.
#[derive(Debug, Default)]
pub(crate) struct Route {
    topology: u64,
    /// Exchange and key, each with its length octet.
    names: Vec<u8>,
    found: Found,
}

impl Route {
    fn remember(&mut self, topology: u64, names: &[u8]) {
        self.topology = topology;
        self.names.clear();
        self.names.extend_from_slice(names);
    }

    fn forget(&mut self) {
        self.topology = 0;
        self.found = Found::default();
    }
}

/// The publishing connection and channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelId,
}

/// What is known of a message before it is routed.
struct Checked {
    source: Option<ExchangeId>,
    terms: MessageTerms,
    keys: Vec<ShortString>,
}

/// What happened to a message at a queue.
enum Enqueued {
    Taken,
    Refused,
    /// The queue has more to drop first than the turn allows.
    NotYet,
}

impl Vhost {
    /// Publishes for a connection: the draft goes to every queue that its exchange, keys and
    /// headers lead to. If that is too much for one turn, the draft is taken, and
    /// [`proceed_publishing`](Self::proceed_publishing) continues.
    ///
    /// # Errors
    /// The exchange does not exist or is internal, or properties are wrong or malformed.
    pub(crate) fn publish(
        &mut self,
        now: u64,
        publisher: Publisher,
        route: &mut Route,
        draft: &mut Draft,
        sink: &mut impl Sink,
    ) -> Result<Step<Published, Box<Publishing>>, Refusal> {
        // A remembered route without relevant properties needs no checks: this is the usual case.
        let is_remembered = route.topology == self.topology && route.names == draft.route();
        let mut terms = MessageTerms::default();
        if is_remembered && Relevant::are_none(draft.parts().properties()) {
            self.spend_publish(draft);
        } else {
            match self.look_up(publisher, route, draft, is_remembered)? {
                Step::Done(own) => terms = own,
                Step::Paused(publishing) => return Ok(Step::Paused(publishing)),
            }
        }
        // The message is put into its queues, and stored once for all of them.
        let is_persistent = self.messages.journal.is_kept() && is_persistent(draft.parts().properties());
        let (mut stored, mut progress) = (None, PublishProgress::default());
        let is_shared = route.found.queues.len() > 1;
        let mut publication = Publication {
            draft,
            stored: &mut stored,
            terms,
            is_persistent,
            is_shared,
            is_letter: false,
            origin: None,
        };
        let is_done = self.put(now, &mut publication, &route.found, &mut progress, sink);
        let origin = publication.origin;
        // The turn is over: the draft and the progress move into a value that continues later.
        if !is_done {
            let found = std::mem::take(&mut route.found);
            route.forget();
            let draft = std::mem::take(draft);
            let rest =
                Publishing { stored, terms, is_persistent, origin, found, progress, ..Publishing::default() };
            return Ok(Step::Paused(Box::new(Publishing { draft, ..rest })));
        }
        // The publish is done. Its dead letters follow at once, as far as the turn allows.
        if route.found.queues.len() > MOST_REMEMBERED {
            route.forget();
        }
        if !self.dead_letters.is_empty() {
            self.publish_dead_letters(now, sink);
        }
        Ok(Step::Done(progress.outcome))
    }

    /// Checks a message and finds its queues, unless they are remembered.
    fn look_up(
        &mut self,
        publisher: Publisher,
        route: &mut Route,
        draft: &mut Draft,
        is_remembered: bool,
    ) -> Result<Step<MessageTerms, Box<Publishing>>, Refusal> {
        let checked = self.check_publish(publisher, draft, is_remembered)?;
        if is_remembered && checked.keys.is_empty() {
            return Ok(Step::Done(checked.terms));
        }
        self.find(checked, route, draft)
    }

    /// Finds the queues of a message.
    fn find(
        &mut self,
        Checked { source, terms, keys: more }: Checked,
        route: &mut Route,
        draft: &mut Draft,
    ) -> Result<Step<MessageTerms, Box<Publishing>>, Refusal> {
        // The last search's lists are reused for their memory.
        let mut found = std::mem::take(&mut route.found);
        found.queues.clear();
        found.replies.clear();
        let mut routing = self.begin_routing(source, found);
        let keys = Keys { first: draft.parts().names().1, more: &more };
        if !self.route(&mut routing, source.is_none(), &keys, draft.parts())? {
            route.forget();
            let is_persistent = self.messages.journal.is_kept() && is_persistent(draft.parts().properties());
            let (draft, routing) = (std::mem::take(draft), Some(Box::new(routing)));
            let rest = Publishing { source, terms, keys: more, is_persistent, ..Publishing::default() };
            return Ok(Step::Paused(Box::new(Publishing { draft, routing, ..rest })));
        }
        // A route by headers or further keys holds for this message only, so it is not remembered.
        let is_lasting = routing.headers.is_none() && more.is_empty();
        route.remember(if is_lasting { self.topology } else { 0 }, draft.route());
        route.found = routing.found;
        Ok(Step::Done(terms))
    }

    #[inline]
    fn spend_publish(&mut self, draft: &Draft) {
        self.budget.spend(1);
        self.budget.spend_octets(8 * draft.parts().header.len());
    }

    /// Checks a message, and removes what receivers must not see.
    fn check_publish(
        &mut self,
        publisher: Publisher,
        draft: &mut Draft,
        is_remembered: bool,
    ) -> Result<Checked, Refusal> {
        let by = publisher.connection;
        let mut checked = Checked { source: None, terms: MessageTerms::default(), keys: Vec::new() };
        let mut reply_to = None;
        let copies;
        {
            // All checks come first: a refused message is left unchanged.
            let parts = draft.parts();
            let exchange = parts.names().0;
            if !is_remembered {
                checked.source = self.publishable(exchange, by)?;
            }
            let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
            if relevant != Relevant::default() {
                reply_to = self.reply_name(publisher.channel, relevant.reply_to)?;
                checked.terms = check_properties(&relevant, self.user(by))?;
            }
            copies = Copies::read(&relevant)?;
            // With further keys the remembered route does not suffice, so the exchange is looked
            // up.
            if is_remembered && copies.is_some() {
                checked.source = self.publishable(exchange, by)?;
            }
        }
        // The draft passed; what receivers must not see is now replaced or removed.
        self.spend_publish(draft);
        if let Some(name) = reply_to {
            set_reply_to(draft, &name)?;
        }
        if let Some(copies) = copies {
            if copies.blind {
                remove_blind_copies(draft)?;
                let blind = copies.keys.get(copies.blind_from..).unwrap_or_default();
                blind.iter().for_each(|key| draft.blind_key(key.as_bytes()));
            }
            checked.keys = copies.keys;
        }
        Ok(checked)
    }

    /// Continues an interrupted publish; returns whether it is done.
    ///
    /// # Errors
    /// Headers that cannot be read.
    pub(crate) fn proceed_publishing(
        &mut self,
        now: u64,
        publishing: &mut Publishing,
        sink: &mut impl Sink,
    ) -> Result<bool, Refusal> {
        if self.dead_letters.is_crowded() && !publishing.is_letter {
            self.publish_dead_letters(now, sink);
        }
        if !self.proceed_routing(publishing)? {
            return Ok(false);
        }
        let Publishing { draft, stored, terms, is_persistent, found, progress, .. } = publishing;
        let mut publication = Publication {
            draft,
            stored,
            terms: *terms,
            is_persistent: *is_persistent,
            is_shared: found.queues.len() > 1,
            is_letter: publishing.is_letter,
            origin: publishing.origin.take(),
        };
        let is_done = self.put(now, &mut publication, found, progress, sink);
        publishing.origin = publication.origin;
        Ok(is_done)
    }

    /// Continues to search for the queues; returns whether all are found.
    pub(super) fn proceed_routing(&mut self, publishing: &mut Publishing) -> Result<bool, Refusal> {
        let Some(routing) = &mut publishing.routing else { return Ok(true) };
        let parts = publishing.draft.parts();
        let keys = Keys { first: parts.names().1, more: &publishing.keys };
        if !self.route(routing, publishing.source.is_none(), &keys, parts)? {
            return Ok(false);
        }
        if let Some(routing) = publishing.routing.take() {
            publishing.found = routing.found;
        }
        if !publishing.not_to.is_empty() {
            let (queues, not_to) = (&self.queues, &publishing.not_to);
            let returns =
                |id: &QueueId| queues.get(*id).is_some_and(|queue| not_to.contains(queue.name.as_bytes()));
            publishing.found.queues.retain(|id| !returns(id));
        }
        Ok(true)
    }

    /// Checks and routes a message that is published when its transaction is committed. As in
    /// RabbitMQ, its queues are determined now and not at the commit.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub(crate) fn prepare(
        &mut self,
        publisher: Publisher,
        draft: &mut Draft,
    ) -> Result<Box<Publishing>, Refusal> {
        let Checked { source, terms, keys } = self.check_publish(publisher, draft, false)?;
        let routing = Some(Box::new(self.begin_routing(source, Found::default())));
        let is_persistent = self.messages.journal.is_kept() && is_persistent(draft.parts().properties());
        let draft = std::mem::take(draft);
        Ok(Box::new(Publishing {
            draft,
            source,
            terms,
            keys,
            routing,
            is_persistent,
            ..Publishing::default()
        }))
    }

    /// The exchange, if clients may publish to it; `None` is the default exchange.
    fn publishable(&self, name: &[u8], by: ConnectionId) -> Result<Option<ExchangeId>, Refusal> {
        self.permit_exchange(by, Act::Write, name)?;
        if name.is_empty() {
            return Ok(None);
        }
        let id = *self.exchange_names.get(name).ok_or_else(|| self.no_exchange(name))?;
        match self.exchanges.get(id) {
            Some(exchange) if exchange.declared.internal => Err(Refusal::InternalExchange {
                name: String::from_utf8_lossy(name).into_owned(),
                vhost: self.name.clone(),
            }),
            _ => Ok(Some(id)),
        }
    }

    /// Puts a message into its queues, as far as the turn allows; returns whether all have it.
    fn put(
        &mut self,
        now: u64,
        publication: &mut Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) -> bool {
        self.reply_all(publication, found, progress, sink);
        if found.queues.is_empty() {
            // Direct replies do not count as routed: with `mandatory` they are returned as well.
            progress.outcome = Published::Unroutable;
            return true;
        }
        self.dead_letters.publish_begins(publication.origin.clone());
        let is_done = self.put_in_queues(now, publication, found, progress, sink);
        publication.origin = self.dead_letters.publish_ends();
        is_done
    }

    fn put_in_queues(
        &mut self,
        now: u64,
        publication: &mut Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) -> bool {
        while let Some(&id) = found.queues.get(progress.queue) {
            match self.enqueue(now, id, publication, sink) {
                Enqueued::Taken => {}
                Enqueued::Refused => progress.outcome = Published::Rejected,
                Enqueued::NotYet => return false,
            }
            progress.queue += 1;
            // Publishing a dead letter cannot wait for other dead letters.
            let waits = self.budget.is_over() || self.dead_letters.is_crowded() && !publication.is_letter;
            if waits && progress.queue < found.queues.len() {
                return false;
            }
        }
        true
    }

    /// Delivers a direct reply to its channels: at most one for each routing key.
    fn reply_all(
        &mut self,
        publication: &Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) {
        while let Some(&channel) = found.replies.get(progress.reply) {
            progress.reply += 1;
            self.deliver_reply(channel, publication.parts(), sink);
        }
    }

    /// Delivers the message to a consumer with room, or else appends it to the queue.
    #[inline]
    fn enqueue(
        &mut self,
        now: u64,
        id: QueueId,
        publication: &mut Publication<'_>,
        sink: &mut impl Sink,
    ) -> Enqueued {
        self.budget.spend(1);
        // The queue first drops what is expired or in excess, and may then refuse the message.
        let (waiting, is_stream) = match self.queues.get_mut(id) {
            None => return Enqueued::Taken,
            Some(queue) => {
                let is_pruned =
                    queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
                // Messages that die to make room for a dead letter get their own dead letters only
                // after this one.
                if !is_pruned && !publication.is_letter {
                    return Enqueued::NotYet;
                }
                if queue.refuses(publication.body_len()) {
                    if queue.arguments.overflow == Overflow::RejectPublishDeadLetter {
                        queue.dead_letter(
                            publication.message(),
                            Kept::NO,
                            Reason::MaxLength,
                            &self.messages,
                            &mut self.dead_letters,
                        );
                    }
                    return Enqueued::Refused;
                }
                (!queue.ready.is_empty(), queue.stream.is_some())
            }
        };
        // A stream appends every message; its consumers read it from there.
        if is_stream {
            let message = publication.message();
            self.append(now, id, &message, sink);
            return Enqueued::Taken;
        }
        // If nothing waits before it, the message goes straight to a consumer with room.
        if !waiting && let Some(consumer) = self.ready_consumer(id) {
            self.deliver_new(now, id, consumer, publication, sink);
            return Enqueued::Taken;
        }
        // Otherwise it waits in the queue, from which it may push out the oldest.
        let Some(queue) = self.queues.get_mut(id) else { return Enqueued::Taken };
        let mut entry = queue.entry(publication.message(), publication.terms, now);
        self.messages.entered(&entry.message);
        let stored = queue.keeps(publication.is_persistent).then(|| {
            entry.kept = self.messages.journal.groups.kept();
            entry.stored(queue.serial)
        });
        let (expires, length) = (entry.expires_at != NEVER, queue.ready.len());
        queue.ready.push(entry);
        queue.lengthens(&self.messages.journal.groups);
        let is_pruned = queue.drop_overflow(&mut self.messages, &mut self.dead_letters, &mut self.budget);
        let has_new_head = queue.ready.len() <= length;
        // The journal, the line of queues and the timer learn of it last.
        if let Some(stored) = stored {
            self.keep(stored);
        }
        if !is_pruned {
            self.wake(id);
        }
        if expires || has_new_head {
            self.arm(id);
        }
        Enqueued::Taken
    }

    /// Appends a message to a stream.
    fn append(&mut self, now: u64, id: QueueId, message: &Message, sink: &mut impl Sink) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(log) = &mut queue.stream else { return };
        self.messages.entered(message);
        let kept = if queue.serial == 0 { Kept::NO } else { self.messages.journal.groups.kept() };
        let offset = log.append(message.clone(), kept, now);
        queue.lengthens(&self.messages.journal.groups);
        let stored = (queue.serial != 0).then(|| Stored::in_stream(queue.serial, offset, now, message));
        let is_pruned = queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        if let Some(stored) = stored {
            self.keep(stored);
        }
        if !is_pruned {
            self.wake(id);
        }
        self.arm(id);
        self.dispatch_stream(now, id, sink);
    }
}

/// Checks what RabbitMQ checks of every message.
#[cold]
fn check_properties(relevant: &Relevant<'_>, user: &str) -> Result<MessageTerms, Refusal> {
    if let Some(claimed) = relevant.user_id
        && claimed != user.as_bytes()
    {
        return Err(Refusal::WrongUserId {
            claimed: String::from_utf8_lossy(claimed).into_owned(),
            user: user.to_owned(),
        });
    }
    // With malformed headers the message could not become a dead letter later.
    Entries::from_encoded(relevant.headers.unwrap_or_default()).check().map_err(Refusal::Syntax)?;
    let ttl = relevant.expiration.map(expiration).transpose()?;
    Ok(MessageTerms { ttl, priority: relevant.priority.unwrap_or(0) })
}

/// Milliseconds as decimal text.
fn expiration(text: &[u8]) -> Result<u64, Refusal> {
    let text = String::from_utf8_lossy(text);
    let invalid = |why: String| Refusal::InvalidExpiration { value: text.to_string(), why };
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let rest = unsigned.trim_start_matches(|character: char| character.is_ascii_digit());
    let (number, rest) = text.split_at(text.len() - rest.len());
    if rest.len() == unsigned.len() {
        return Err(invalid("no_integer".to_owned()));
    }
    if !rest.is_empty() {
        return Err(invalid(format!("{{leftover_string,{rest:?}}}")));
    }
    match number.parse::<i64>() {
        Ok(number @ ..0) => Err(invalid(format!("{{value_negative,{number}}}"))),
        Ok(number) if number <= MOST_MILLISECONDS => Ok(number.unsigned_abs()),
        _ => Err(invalid(format!("{{value_too_large,{number}}}"))),
    }
}
