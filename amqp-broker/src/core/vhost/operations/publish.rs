//! Publish: a message is checked, its queues are found, and it is put into them.

use amqp_codec::{Entries, Error, HeaderTable, ShortString};

use crate::core::{
    content::{
        keys::Keys,
        message::Draft,
        properties::{Changes, Relevant, is_persistent},
    },
    effects::sink::Sink,
    entities::{
        ids::{ChannelId, ConnectionId, ExchangeId},
        queue::MessageTerms,
    },
    rabbitmq::{
        access::Act,
        arguments::MOST_MILLISECONDS,
        copies::{Copies, remove_blind_copies},
        refusal::Refusal,
    },
    vhost::{Vhost, reply_to::set_reply_to},
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
    routes_version: u64,
    /// Exchange and key, each with its length octet.
    names: Vec<u8>,
    source: Option<ExchangeId>,
    found: Found,
}

impl Route {
    fn remember(&mut self, routes_version: u64, names: &[u8]) {
        self.routes_version = routes_version;
        self.names.clear();
        self.names.extend_from_slice(names);
    }

    fn forget(&mut self) {
        self.routes_version = 0;
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
        self.count_publish(publisher.channel);
        // A remembered route without relevant properties needs no checks: this is the usual case.
        let is_remembered = route.routes_version == self.routes_version && route.names == draft.route();
        let mut terms = MessageTerms::default();
        if is_remembered && Relevant::are_none(draft.parts().properties()) {
            self.spend_publish(draft);
        } else {
            match self.look_up(publisher, route, draft, is_remembered)? {
                Step::Done(own) => terms = own,
                Step::Paused(publishing) => return Ok(Step::Paused(publishing)),
            }
        }
        self.count_routed(route.source, route.found.queues.len());
        if self.is_traced() {
            self.trace_publish(publisher.channel, draft.parts(), &route.found.queues);
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
        self.find(publisher.channel, checked, route, draft)
    }

    /// Finds the queues of a message.
    fn find(
        &mut self,
        by: ChannelId,
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
            let rest = Publishing {
                source,
                terms,
                keys: more,
                is_persistent,
                by: Some(by),
                ..Publishing::default()
            };
            return Ok(Step::Paused(Box::new(Publishing { draft, routing, ..rest })));
        }
        // A route by headers or further keys holds for this message only, so it is not remembered.
        let is_lasting = routing.headers.is_none() && more.is_empty();
        route.remember(if is_lasting { self.routes_version } else { 0 }, draft.route());
        (route.source, route.found) = (source, routing.found);
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
        let (mut reply_to, mut sorted) = (None, None);
        let copies;
        {
            // All checks come first: a refused message is left unchanged.
            let parts = draft.parts();
            let names = parts.names();
            if !is_remembered {
                checked.source = self.publishable(names, by)?;
            }
            let relevant = Relevant::find(parts.properties()).map_err(Refusal::Syntax)?;
            if relevant != Relevant::default() {
                reply_to = self.reply_name(publisher.channel, relevant.reply_to)?;
                relevant.user_id.map_or(Ok(()), |claimed| self.permit_user_id(by, claimed))?;
                checked.terms = check_properties(&relevant)?;
                if self.profile.sorts_headers {
                    sorted = sorted_headers(parts.header, &relevant).map_err(Refusal::Syntax)?;
                }
            }
            copies = Copies::read(&relevant)?;
            // With further keys the remembered route does not suffice, so the exchange is looked
            // up.
            if is_remembered && copies.is_some() {
                checked.source = self.publishable(names, by)?;
            }
            if self.profile.copies_need_topic_permission
                && let Some(source) = checked.source
                && let Some(copies) = &copies
            {
                let mut keys = copies.keys.iter();
                keys.try_for_each(|key| self.permit_topic(by, Act::Write, source, key.as_bytes()))?;
            }
        }
        // The draft passed; what receivers must not see is now replaced or removed.
        self.spend_publish(draft);
        if let Some(header) = sorted {
            draft.replace_header(&header);
        }
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
        if self.dead_letters.is_crowded() {
            self.publish_dead_letters(now, sink);
        }
        if !self.proceed_routing(publishing)? {
            return Ok(false);
        }
        self.trace_routed(publishing);
        Ok(self.put_rest(now, publishing, sink))
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
        self.count_publish(publisher.channel);
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
            by: Some(publisher.channel),
            ..Publishing::default()
        }))
    }

    /// Continues to route a message of a transaction; returns whether its queues are found. As in
    /// RabbitMQ, it is traced now and not at the commit.
    ///
    /// # Errors
    /// Headers that cannot be read.
    pub(super) fn proceed_preparing(&mut self, publishing: &mut Publishing) -> Result<bool, Refusal> {
        let is_done = self.proceed_routing(publishing)?;
        if is_done {
            self.trace_routed(publishing);
        }
        Ok(is_done)
    }

    /// The exchange, if the client may publish to it with this key; `None` is the default exchange.
    fn publishable(
        &self,
        (name, key): (&[u8], &[u8]),
        by: ConnectionId,
    ) -> Result<Option<ExchangeId>, Refusal> {
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
            _ => self.permit_topic(by, Act::Write, id, key).map(|()| Some(id)),
        }
    }
}

/// The content header with the headers sorted by name; `None` if they are sorted.
#[cold]
fn sorted_headers(header: &[u8], relevant: &Relevant<'_>) -> Result<Option<Vec<u8>>, Error> {
    let encoded = relevant.headers.unwrap_or_default();
    if Entries::from_encoded(encoded).map(|(name, _)| name).is_sorted() {
        return Ok(None);
    }
    let mut headers = HeaderTable::from_encoded(encoded)?;
    headers.sort();
    let changes = Changes { headers: Some(headers.as_encoded()), ..Changes::default() };
    changes.apply(header).map(Some)
}

/// Checks what RabbitMQ checks of every message.
#[cold]
fn check_properties(relevant: &Relevant<'_>) -> Result<MessageTerms, Refusal> {
    // With malformed headers the message could not become a dead letter later.
    Entries::from_encoded(relevant.headers.unwrap_or_default()).check().map_err(Refusal::Syntax)?;
    let ttl = relevant.expiration.map(expiration).transpose()?;
    Ok(MessageTerms { ttl, priority: relevant.priority.unwrap_or(0) })
}

/// Reads an expiration: milliseconds as decimal text.
///
/// # Errors
/// When it is no such number, or too large for RabbitMQ (406).
pub(crate) fn expiration(text: &[u8]) -> Result<u64, Refusal> {
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
