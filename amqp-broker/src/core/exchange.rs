//! An exchange: its bindings, and which of them a message takes.

use std::collections::HashMap;

use amqp_codec::{ShortString, Table, Value};

use super::{
    headers::HeadersMatch,
    ids::{ExchangeId, QueueId},
    refusal::Refusal,
    topic::Trie,
};

/// What a binding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Queue(QueueId),
    Exchange(ExchangeId),
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl Kind {
    /// The kind of this name.
    pub(crate) fn parse(name: &ShortString) -> Result<Self, Refusal> {
        match name.as_bytes() {
            b"direct" => Ok(Kind::Direct),
            b"fanout" => Ok(Kind::Fanout),
            b"topic" => Ok(Kind::Topic),
            b"headers" => Ok(Kind::Headers),
            _ => Err(Refusal::UnknownExchangeType(name.to_string())),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Fanout => "fanout",
            Kind::Topic => "topic",
            Kind::Headers => "headers",
        }
    }
}

/// What an exchange is declared with.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    pub(crate) name: ShortString,
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
}

/// An exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) declared: Declaration,
    /// Its number among what survives the process; 0 when it does not.
    pub(crate) serial: u64,
    pub(crate) alternate: Option<ShortString>,
    /// Bindings in which this is the destination: their source and key.
    pub(crate) sources: Vec<(ExchangeId, ShortString)>,
    /// The walk in which this exchange was last passed.
    pub(crate) visited: u64,
    /// The arguments of each binding. One destination may be bound by one key several times, with other arguments.
    bindings: HashMap<(Destination, ShortString), Vec<Table>>,
    /// How many there are.
    binding_count: usize,
    router: Router,
}

#[derive(Debug)]
enum Router {
    Direct(HashMap<ShortString, Vec<Destination>>),
    Fanout(Vec<Destination>),
    Topic(Trie<Destination>),
    Headers(Vec<(Destination, ShortString, Table, HeadersMatch)>),
}

impl Exchange {
    pub(crate) fn new(declared: Declaration, serial: u64) -> Self {
        let router = match declared.kind {
            Kind::Direct => Router::Direct(HashMap::new()),
            Kind::Fanout => Router::Fanout(Vec::new()),
            Kind::Topic => Router::Topic(Trie::default()),
            Kind::Headers => Router::Headers(Vec::new()),
        };
        let alternate = match declared.arguments.get("alternate-exchange") {
            Some(Value::LongString(name)) => {
                ShortString::from_bytes("alternate-exchange", name.into_bytes()).ok()
            }
            _ => None,
        };
        Exchange {
            declared,
            serial,
            alternate,
            sources: Vec::new(),
            visited: 0,
            bindings: HashMap::new(),
            binding_count: 0,
            router,
        }
    }

    /// Whether nothing is bound to this exchange as source.
    pub(crate) fn is_unbound(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Whether routing depends on more than the routing key.
    pub(crate) fn routes_by_headers(&self) -> bool {
        matches!(self.router, Router::Headers(_))
    }

    /// The bindings: destination and key.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = &(Destination, ShortString)> {
        self.bindings.keys()
    }

    /// The bindings: destination and key, and all arguments they were bound with.
    pub(crate) fn all_bindings(&self) -> impl Iterator<Item = (&(Destination, ShortString), &Vec<Table>)> {
        self.bindings.iter()
    }

    /// How many bindings there are.
    pub(crate) fn binding_count(&self) -> usize {
        self.binding_count
    }

    /// Whether there is this binding.
    pub(crate) fn is_bound(&self, destination: Destination, key: &ShortString, arguments: &Table) -> bool {
        self.bindings.get(&(destination, key.clone())).is_some_and(|same| same.contains(arguments))
    }

    /// Adds a binding; tells whether it is the first of this destination and key. One that exists is left as it is.
    ///
    /// # Errors
    /// Arguments that this kind of exchange cannot use.
    pub(crate) fn bind(
        &mut self,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Result<bool, Refusal> {
        let wanted = match self.router {
            Router::Headers(_) => Some(HeadersMatch::parse(arguments)?),
            _ => None,
        };
        let same = self.bindings.entry((destination, key.clone())).or_default();
        if same.contains(arguments) {
            return Ok(false);
        }
        same.push(arguments.clone());
        self.binding_count += 1;
        let first = same.len() == 1;
        match &mut self.router {
            Router::Direct(keys) if first => keys.entry(key.clone()).or_default().push(destination),
            Router::Fanout(all) if first => all.push(destination),
            Router::Topic(trie) if first => trie.insert(key.as_bytes(), destination),
            Router::Headers(all) => {
                all.extend(wanted.map(|wanted| (destination, key.clone(), arguments.clone(), wanted)));
            }
            _ => {}
        }
        Ok(first)
    }

    /// Removes a binding; tells whether it was the last of this destination and key, `None` when there was none.
    pub(crate) fn unbind(
        &mut self,
        destination: Destination,
        key: &ShortString,
        arguments: &Table,
    ) -> Option<bool> {
        let binding = (destination, key.clone());
        let same = self.bindings.get_mut(&binding)?;
        let index = same.iter().position(|held| held == arguments)?;
        same.swap_remove(index);
        self.binding_count -= 1;
        let last = same.is_empty();
        if last {
            self.bindings.remove(&binding);
        }
        match &mut self.router {
            Router::Headers(all) => {
                all.retain(|(to, bound, held, _)| (*to, bound, held) != (destination, key, arguments));
            }
            router if last => router.remove(destination, key),
            _ => {}
        }
        Some(last)
    }

    /// Removes all bindings of this destination and key.
    pub(crate) fn unbind_all(&mut self, destination: Destination, key: &ShortString) {
        if let Some(same) = self.bindings.remove(&(destination, key.clone())) {
            self.binding_count -= same.len();
            self.router.remove(destination, key);
        }
    }

    /// Calls `found` with what a message of this key and these headers goes to; with one destination maybe several times.
    pub(crate) fn route(
        &mut self,
        key: &[u8],
        headers: &[(ShortString, Value)],
        mut found: impl FnMut(Destination),
    ) {
        match &mut self.router {
            Router::Direct(keys) => keys.get(key).into_iter().flatten().copied().for_each(found),
            Router::Fanout(all) => all.iter().copied().for_each(found),
            Router::Topic(trie) => trie.matches(key, found),
            Router::Headers(all) => {
                for (destination, _, _, wanted) in all {
                    if wanted.matches(headers) {
                        found(*destination);
                    }
                }
            }
        }
    }
}

impl Router {
    fn remove(&mut self, destination: Destination, key: &ShortString) {
        match self {
            Router::Direct(keys) => {
                if let Some(bound) = keys.get_mut(key) {
                    bound.retain(|held| *held != destination);
                    if bound.is_empty() {
                        keys.remove(key);
                    }
                }
            }
            Router::Fanout(all) => {
                if let Some(index) = all.iter().position(|held| *held == destination) {
                    all.swap_remove(index);
                }
            }
            Router::Topic(trie) => trie.remove(key.as_bytes(), destination),
            Router::Headers(all) => all.retain(|(to, bound, ..)| (*to, bound) != (destination, key)),
        }
    }
}
