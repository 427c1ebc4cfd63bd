//! Publish: from exchange and key to queues, and into them.

use amqp_codec::{Entries, ShortString, Value};

use super::{
    access::Act,
    arguments::{MOST_MILLISECONDS, Overflow},
    copies::{Copies, remove_blind_copies},
    death::Reason,
    exchange::Destination,
    header_table::values,
    ids::{ChannelId, ConnectionId, ExchangeId, QueueId},
    journal::{Record, Stored},
    message::Draft,
    properties::{Relevant, is_persistent},
    publication::Publication,
    queue::Terms,
    ready::NEVER,
    refusal::Refusal,
    reply_to::set_reply_to,
    sink::Sink,
    vhost::Vhost,
};

/// What became of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// Every queue it was routed to has it.
    Queued,
    /// No queue wanted it.
    Unroutable,
    /// A queue that is full refused it.
    Rejected,
}

/// The queues the last message of a publisher went to. The next one, if it has the same exchange and key and nothing was
/// bound or deleted since, goes there too, and nobody searches.
#[derive(Debug, Default)]
pub(crate) struct Route {
    topology: u64,
    /// Exchange and key, each with its length octet.
    names: Vec<u8>,
    queues: Vec<QueueId>,
    /// Channels that it is a direct reply for.
    replies: Vec<ChannelId>,
}

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publisher {
    pub(crate) connection: ConnectionId,
    pub(crate) channel: ChannelId,
}

impl Vhost {
    /// Publishes for a connection: the draft goes to every queue its exchange, key and headers lead to.
    ///
    /// # Errors
    /// No such exchange, an internal one, properties that are wrong or malformed.
    pub(crate) fn publish(
        &mut self,
        now: u64,
        publisher: Publisher,
        route: &mut Route,
        draft: &mut Draft,
        sink: &mut impl Sink,
    ) -> Result<Published, Refusal> {
        let by = publisher.connection;
        let cached = route.topology == self.topology && route.names == draft.route();
        let mut terms = Terms::default();
        let copies;
        let mut reply_to = None;
        {
            let parts = draft.parts();
            let (exchange, key) = parts.names();
            let source = if cached { None } else { Some(self.publishable(exchange, by)?) };
            let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
            if relevant != Relevant::default() {
                reply_to = self.reply_name(publisher.channel, relevant.reply_to)?;
                terms = check(&relevant, self.user(by))?;
            }
            copies = Copies::read(&relevant)?;
            if !cached || copies.is_some() {
                let source = match source {
                    Some(source) => source,
                    None => self.publishable(exchange, by)?,
                };
                self.find_route(source, (exchange, key), &relevant, copies.as_ref(), route)?;
            }
        }
        if let Some(name) = reply_to {
            set_reply_to(draft, &name)?;
        }
        if let Some(copies) = copies.filter(|copies| copies.blind) {
            remove_blind_copies(draft)?;
            let blind = copies.keys.get(copies.blind_from..).unwrap_or_default();
            blind.iter().for_each(|key| draft.blind_key(key.as_bytes()));
        }
        for &channel in &route.replies {
            self.deliver_reply(channel, draft.parts(), sink);
        }
        if route.queues.is_empty() {
            // Replies do not count: who asks for the return of what is not routed gets them back too.
            return Ok(Published::Unroutable);
        }
        let is_persistent = self.journal.is_kept() && is_persistent(draft.parts().properties());
        let mut publication = Publication { draft, stored: None, terms, is_persistent };
        let mut outcome = Published::Queued;
        for &id in &route.queues {
            if !self.enqueue(now, id, &mut publication, sink) {
                outcome = Published::Rejected;
            }
        }
        if !self.dead.is_empty() {
            self.bury(now, sink);
        }
        Ok(outcome)
    }

    /// Checks a message that will be published when its transaction is committed.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub(crate) fn check_publish(&self, draft: &mut Draft, publisher: Publisher) -> Result<(), Refusal> {
        let parts = draft.parts();
        self.publishable(parts.names().0, publisher.connection)?;
        let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
        let reply_to = self.reply_name(publisher.channel, relevant.reply_to)?;
        check(&relevant, self.user(publisher.connection))?;
        Copies::read(&relevant)?;
        reply_to.map_or(Ok(()), |name| set_reply_to(draft, &name))
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

    fn find_route(
        &mut self,
        source: Option<ExchangeId>,
        (exchange, key): (&[u8], &[u8]),
        relevant: &Relevant<'_>,
        copies: Option<&Copies>,
        route: &mut Route,
    ) -> Result<(), Refusal> {
        route.queues.clear();
        route.replies.clear();
        self.routing += 1;
        let mut by_headers = self.route_key(source, key, relevant, &mut route.queues)?;
        for key in copies.into_iter().flat_map(|copies| &copies.keys) {
            // Each key is routed for itself, but a queue gets the message once.
            by_headers |= self.route_key(source, key.as_bytes(), relevant, &mut route.queues)?;
        }
        route.replies.append(&mut self.replying);
        route.names.clear();
        let lasting = !by_headers && copies.is_none();
        route.topology = if lasting { self.topology } else { 0 };
        if lasting {
            for name in [exchange, key] {
                route.names.push(name.len() as u8);
                route.names.extend_from_slice(name);
            }
        }
        Ok(())
    }

    /// Follows the bindings from an exchange; tells whether headers had a say in it.
    pub(super) fn route_key(
        &mut self,
        source: Option<ExchangeId>,
        key: &[u8],
        relevant: &Relevant<'_>,
        queues: &mut Vec<QueueId>,
    ) -> Result<bool, Refusal> {
        let Some(source) = source else {
            if let Some(&id) = self.queue_names.get(key) {
                self.visit(id, queues);
            } else {
                self.replying.extend(self.reply_channel(key));
            }
            return Ok(false);
        };
        let mut headers: Option<Vec<(ShortString, Value)>> = None;
        self.walk += 1;
        let mut pending = vec![source];
        while let Some(id) = pending.pop() {
            // Exchanges bound in a circle are passed once.
            let Some(exchange) = self.exchanges.get_mut(id).filter(|exchange| exchange.visited != self.walk)
            else {
                continue;
            };
            exchange.visited = self.walk;
            if exchange.routes_by_headers() && headers.is_none() {
                headers = Some(decode_headers(relevant)?);
            }
            let mut found = Vec::new();
            exchange.route(key, headers.as_deref().unwrap_or_default(), |to| found.push(to));
            if found.is_empty() {
                let alternate = exchange.alternate.as_ref();
                pending.extend(alternate.and_then(|name| self.exchange_names.get(name)));
            }
            for destination in found {
                match destination {
                    Destination::Queue(id) => self.visit(id, queues),
                    Destination::Exchange(id) => pending.push(id),
                }
            }
        }
        Ok(headers.is_some())
    }

    /// Adds a queue to the route, once.
    fn visit(&mut self, id: QueueId, queues: &mut Vec<QueueId>) {
        if let Some(queue) = self.queues.get_mut(id)
            && queue.visited != self.routing
        {
            queue.visited = self.routing;
            queues.push(id);
        }
    }

    /// Hands the message to a consumer that waits, or lets it wait. Tells whether the queue took it.
    #[inline]
    pub(super) fn enqueue(
        &mut self,
        now: u64,
        id: QueueId,
        publication: &mut Publication<'_>,
        sink: &mut impl Sink,
    ) -> bool {
        let waiting = match self.queues.get_mut(id) {
            None => return true,
            Some(queue) => {
                queue.expire(now, &mut self.dead);
                if queue.refuses(publication.body_len()) {
                    if queue.arguments.overflow == Overflow::RejectPublishDeadLetter {
                        queue.mourn(publication.message(), Reason::MaxLength, &mut self.dead);
                    }
                    return false;
                }
                !queue.ready.is_empty()
            }
        };
        if let Some(queue) = self.queues.get_mut(id)
            && let Some(log) = &mut queue.stream
        {
            let message = publication.message();
            let (offset, gone) = log.append(message.clone(), now, &queue.arguments);
            if queue.serial != 0 {
                self.journal.record(Record::Stored(Stored::in_stream(queue.serial, offset, now, message)));
                self.dead.left_all(queue.serial, gone, log.len() == 0);
            }
            self.grown += publication.held();
            self.arm(id);
            self.dispatch_stream(now, id, sink);
            return true;
        }
        if !waiting && let Some(consumer) = self.ready_consumer(id) {
            self.grown += publication.held();
            self.deliver_new(now, id, consumer, publication, sink);
            return true;
        }
        self.grown += publication.held();
        let Some(queue) = self.queues.get_mut(id) else { return true };
        let mut entry = queue.entry(publication.message(), publication.terms, now);
        if queue.keeps(publication.is_persistent) {
            entry.stored = true;
            self.journal.record(Record::Stored(Stored::new(queue.serial, &entry)));
        }
        let expires = entry.expires_at != NEVER;
        queue.ready.push(entry);
        queue.drop_overflow(&mut self.dead);
        if expires {
            self.arm(id);
        }
        true
    }
}

/// Checks what RabbitMQ checks of every message.
#[cold]
fn check(relevant: &Relevant<'_>, user: &str) -> Result<Terms, Refusal> {
    if let Some(claimed) = relevant.user_id
        && claimed != user.as_bytes()
    {
        return Err(Refusal::WrongUserId {
            claimed: String::from_utf8_lossy(claimed).into_owned(),
            user: user.to_owned(),
        });
    }
    // A letter could not be written otherwise when it dies.
    Entries::from_encoded(relevant.headers.unwrap_or_default()).check().map_err(Refusal::Syntax)?;
    let ttl = relevant.expiration.map(expiration).transpose()?;
    Ok(Terms { ttl, priority: relevant.priority.unwrap_or(0) })
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

fn decode_headers(relevant: &Relevant<'_>) -> Result<Vec<(ShortString, Value)>, Refusal> {
    relevant.headers.map_or(Ok(Vec::new()), values).map_err(Refusal::Syntax)
}
