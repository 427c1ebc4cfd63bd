//! An exchange and its bindings, and which of them a message matches.

pub(crate) mod headers;
pub(crate) mod topic;

use std::collections::{BTreeMap, HashMap, HashSet};

use amqp_codec::{ShortString, Table};
use bytes::Bytes;

use super::ids::{ExchangeId, QueueId};
use crate::core::{
    budget::Budget,
    content::keys::Keys,
    counters::ExchangeCounters,
    entities::exchange::{
        headers::{HeadersMatch, SortedHeaders},
        topic::{Matcher, Trie},
    },
    rabbitmq::{
        exchange_declaration::{ExchangeDeclaration, Kind},
        profile::Profile,
        refusal::Refusal,
    },
};

/// The destination of a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// The memory of a binding besides its key and arguments, and of a word of a topic pattern, in
/// bytes. Estimates.
const BINDING_OVERHEAD: u64 = 400;
const WORD_OVERHEAD: u64 = 200;

/// A binding.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) destination: Destination,
    pub(crate) key: ShortString,
    pub(crate) arguments: Table,
    /// The parsed arguments, for a headers exchange.
    wanted: Option<HeadersMatch>,
}

/// The bindings with one destination: the exchange, and the binding's number there.
pub(crate) type Sources = HashSet<(ExchangeId, u64)>;

/// An exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) declared: ExchangeDeclaration,
    /// Its serial number in the store; 0 when it is transient.
    pub(crate) serial: u64,
    pub(crate) alternate: Option<ShortString>,
    pub(crate) sources: Sources,
    /// The number of the search that last passed this exchange.
    pub(crate) visited: u64,
    pub(crate) counters: ExchangeCounters,
    /// The bindings by their numbers, which are never reused and ascend in the order of creation. A
    /// search in several turns therefore misses none that exists all the while.
    bindings: BTreeMap<u64, Bound>,
    /// The number of the binding with this destination, key and arguments.
    numbers: HashMap<(Destination, ShortString, Bytes), u64>,
    last_number: u64,
    router: Router,
}

/// How the bindings that a message matches are found.
#[derive(Debug)]
enum Router {
    Direct(HashMap<ShortString, BTreeMap<u64, Destination>>),
    /// All of them match.
    Fanout,
    Topic(Trie<Destination>),
    /// Each one is compared with the headers.
    Headers,
}

/// How far the search through an exchange's bindings is.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// The next routing key.
    key: usize,
    /// The number of the next binding.
    binding: u64,
    matcher: Option<Box<Matcher>>,
}

impl Exchange {
    pub(crate) fn new(declared: ExchangeDeclaration, serial: u64) -> Self {
        let router = match declared.kind {
            Kind::Direct => Router::Direct(HashMap::new()),
            Kind::Fanout => Router::Fanout,
            Kind::Topic => Router::Topic(Trie::default()),
            Kind::Headers => Router::Headers,
        };
        Exchange {
            alternate: declared.alternate(),
            declared,
            serial,
            sources: Sources::new(),
            visited: 0,
            counters: ExchangeCounters::default(),
            bindings: BTreeMap::new(),
            numbers: HashMap::new(),
            last_number: 0,
            router,
        }
    }

    /// Tells whether this exchange is the source of no binding.
    pub(crate) fn is_unbound(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Tells whether routing depends on the headers as well as on the routing key.
    pub(crate) fn routes_by_headers(&self) -> bool {
        matches!(self.router, Router::Headers)
    }

    /// The bindings in the order of their creation.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &Bound> {
        self.bindings.values()
    }

    /// The bindings from a number on, with their numbers.
    pub(crate) fn bindings_from(&self, number: u64) -> impl Iterator<Item = (u64, &Bound)> {
        self.bindings.range(number..).map(|(number, bound)| (*number, bound))
    }

    /// How many bindings there are.
    pub(crate) fn binding_count(&self) -> usize {
        self.bindings.len()
    }

    /// The number of this binding, if there is one.
    pub(crate) fn number_of(
        &self,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Option<u64> {
        self.numbers.get(&(destination, key.clone(), arguments.as_encoded().clone())).copied()
    }

    /// About how much memory a binding takes.
    pub(crate) fn binding_weight(&self, key: &ShortString, arguments: &Table) -> u64 {
        let encoded = arguments.as_encoded().len() as u64;
        let read = match self.router {
            // An encoded entry has at least two octets; the parsed one is a name and a value.
            Router::Headers => 24 * encoded,
            Router::Topic(_) => WORD_OVERHEAD * key.as_bytes().split(|octet| *octet == b'.').count() as u64,
            Router::Direct(_) | Router::Fanout => 0,
        };
        BINDING_OVERHEAD + key.len() as u64 + encoded + read
    }

    /// Adds a binding; returns its number, or `None` when the binding exists already.
    ///
    /// # Errors
    /// Arguments that this kind of exchange cannot use.
    pub(crate) fn bind(
        &mut self,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Result<Option<u64>, Refusal> {
        let wanted = match self.router {
            Router::Headers => Some(HeadersMatch::parse(arguments)?),
            _ => None,
        };
        if self.number_of(destination, key, arguments).is_some() {
            return Ok(None);
        }
        self.last_number += 1;
        let number = self.last_number;
        self.numbers.insert((destination, key.clone(), arguments.as_encoded().clone()), number);
        match &mut self.router {
            Router::Direct(keys) => drop(keys.entry(key.clone()).or_default().insert(number, destination)),
            Router::Topic(trie) => trie.insert(key.as_bytes(), number, destination),
            Router::Fanout | Router::Headers => {}
        }
        let bound = Bound { destination, key: key.clone(), arguments: arguments.clone(), wanted };
        self.bindings.insert(number, bound);
        Ok(Some(number))
    }

    /// Removes the binding of this number.
    pub(crate) fn unbind(&mut self, number: u64) -> Option<Bound> {
        let bound = self.bindings.remove(&number)?;
        self.numbers.remove(&(bound.destination, bound.key.clone(), bound.arguments.as_encoded().clone()));
        match &mut self.router {
            Router::Direct(keys) => {
                if let Some(same) = keys.get_mut(&bound.key) {
                    same.remove(&number);
                    if same.is_empty() {
                        keys.remove(&bound.key);
                    }
                }
            }
            Router::Topic(trie) => trie.remove(bound.key.as_bytes(), number),
            Router::Fanout | Router::Headers => {}
        }
        Some(bound)
    }

    /// Removes the oldest binding, with its number.
    pub(crate) fn unbind_first(&mut self) -> Option<(u64, Bound)> {
        let number = *self.bindings.first_key_value()?.0;
        self.unbind(number).map(|bound| (number, bound))
    }

    /// Calls `found` with each destination of a message with these keys and headers, perhaps
    /// repeatedly with the same. Returns whether the search is complete; otherwise the turn is
    /// over, and the cursor says where to go on.
    pub(crate) fn route(
        &mut self,
        keys: &Keys<'_>,
        headers: &SortedHeaders,
        profile: &Profile,
        cursor: &mut Cursor,
        budget: &mut Budget,
        mut found: impl FnMut(Destination),
    ) -> bool {
        match &mut self.router {
            Router::Direct(bound) => {
                while let Some(key) = keys.get(cursor.key) {
                    budget.spend(1);
                    let same = bound.get(key).map(|same| same.range(cursor.binding..));
                    for (&number, &destination) in same.into_iter().flatten() {
                        budget.spend(1);
                        found(destination);
                        if budget.is_over() {
                            cursor.binding = number + 1;
                            return false;
                        }
                    }
                    *cursor = Cursor { key: cursor.key + 1, ..Cursor::default() };
                    if budget.is_over() {
                        return cursor.key >= keys.len();
                    }
                }
                true
            }
            Router::Topic(trie) => trie.matches(keys, &mut cursor.matcher, budget, found),
            Router::Fanout | Router::Headers => {
                for (&number, bound) in self.bindings.range(cursor.binding..) {
                    let wanted = bound.wanted.as_ref();
                    budget.spend(1 + wanted.map_or(0, HeadersMatch::len) as u64 / 8);
                    if wanted.is_none_or(|wanted| wanted.matches(headers, profile)) {
                        found(bound.destination);
                    }
                    if budget.is_over() {
                        cursor.binding = number + 1;
                        return false;
                    }
                }
                true
            }
        }
    }
}
