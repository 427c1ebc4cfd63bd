//! Matches many keys against all patterns together, in steps that can be continued in a later turn.
//!
//! It works like an automaton with a set of states, but each state has a set of keys. Work that
//! keys have in common is done once, and the total is bounded by words times nodes for each
//! [`TOGETHER`] keys.

use std::collections::{BTreeSet, HashMap};

use super::node::{Node, ROOT, words};
use crate::core::{budget::Budget, content::keys::Keys};

/// How many keys are matched together.
const TOGETHER: usize = 512;

/// A set of the keys that are matched together.
type KeySet = [u64; TOGETHER / 64];

const NONE: KeySet = [0; TOGETHER / 64];

fn add(to: &mut KeySet, more: &KeySet) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to |= more);
}

fn common(one: &KeySet, other: &KeySet) -> Option<KeySet> {
    let mut both = *one;
    both.iter_mut().zip(other).for_each(|(both, other)| *both &= other);
    (both != NONE).then_some(both)
}

/// The words of the keys at one position.
#[derive(Debug, Default)]
struct Position {
    /// For each word, the keys that have it there.
    by_word: HashMap<Box<[u8]>, KeySet>,
    /// The keys that have any word there.
    going_on: KeySet,
    /// The keys that end before it.
    ended: KeySet,
}

/// States, each with its set of keys.
#[derive(Debug, Default)]
struct States {
    all: Vec<(usize, KeySet)>,
    /// The index of each node among them, plus one.
    place: Vec<u32>,
}

impl States {
    fn add(&mut self, node: usize, keys: &KeySet) {
        if self.place.len() <= node {
            self.place.resize(node + 1, 0);
        }
        let Some(place) = self.place.get_mut(node) else { return };
        match self.all.get_mut((*place as usize).wrapping_sub(1)) {
            Some((_, present)) => add(present, keys),
            None => {
                self.all.push((node, *keys));
                *place = self.all.len() as u32;
            }
        }
    }

    fn clear(&mut self) {
        for (node, _) in self.all.drain(..) {
            if let Some(place) = self.place.get_mut(node) {
                *place = 0;
            }
        }
    }
}

/// How far the matching of many keys is.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    /// The first key whose matching has not begun.
    next_key: usize,
    places: Vec<Position>,
    /// The position of the next words.
    at: usize,
    current: States,
    next: States,
    /// How many of the current states are done.
    done: usize,
    /// The nodes whose patterns match.
    matched: BTreeSet<usize>,
    /// The node whose values are being reported, and the number of the next value.
    telling: (usize, u64),
}

impl Matcher {
    /// Continues; calls `found` with the values whose patterns match any of the keys, perhaps
    /// repeatedly. Returns whether the search is complete, or the turn is over.
    pub(crate) fn proceed<V: Copy>(
        &mut self,
        nodes: &[Node<V>],
        keys: &Keys<'_>,
        budget: &mut Budget,
        found: &mut impl FnMut(V),
    ) -> bool {
        loop {
            let is_done = if self.at < self.places.len() {
                self.step(nodes, budget);
                false
            } else if self.next_key < keys.len() {
                self.begin(nodes, keys, budget);
                false
            } else {
                self.tell(nodes, budget, found)
            };
            if is_done || budget.is_over() {
                return is_done;
            }
        }
    }

    /// Begins with the next keys.
    fn begin<V>(&mut self, nodes: &[Node<V>], keys: &Keys<'_>, budget: &mut Budget) {
        self.places.clear();
        self.at = 0;
        self.done = 0;
        self.current.clear();
        let mut all = NONE;
        for index in 0..TOGETHER {
            let Some(key) = keys.get(self.next_key) else { break };
            self.next_key += 1;
            let (word, bit) = (index / 64, 1_u64 << (index % 64));
            let mark = |set: &mut KeySet| set.iter_mut().skip(word).take(1).for_each(|word| *word |= bit);
            mark(&mut all);
            let mut at = 0;
            for word in words(key) {
                let place = self.place(at);
                mark(&mut place.going_on);
                mark(place.by_word.entry(word.into()).or_default());
                at += 1;
            }
            mark(&mut self.place(at).ended);
            budget.spend(1 + at as u64);
        }
        enter(nodes, ROOT, &all, &mut self.current);
    }

    fn place(&mut self, at: usize) -> &mut Position {
        if self.places.len() <= at {
            self.places.resize_with(at + 1, Position::default);
        }
        // The list is not empty now.
        let last = self.places.len() - 1;
        &mut self.places[at.min(last)]
    }

    /// Takes the current states one word further, as many as the turn allows.
    fn step<V>(&mut self, nodes: &[Node<V>], budget: &mut Budget) {
        let Some(place) = self.places.get(self.at) else { return };
        while let Some((state, keys)) = self.current.all.get(self.done) {
            self.done += 1;
            budget.spend(1);
            let Some(node) = nodes.get(*state) else { continue };
            if !node.values.is_empty() && common(keys, &place.ended).is_some() {
                self.matched.insert(*state);
            }
            if let Some(going_on) = common(keys, &place.going_on) {
                if node.is_many {
                    enter(nodes, *state, &going_on, &mut self.next);
                }
                if let Some(one) = node.one {
                    enter(nodes, one, &going_on, &mut self.next);
                }
                budget.spend(by_word(node, place, &going_on, |child, keys| {
                    enter(nodes, child, keys, &mut self.next);
                }));
            }
            if budget.is_over() {
                return;
            }
        }
        self.at += 1;
        self.done = 0;
        std::mem::swap(&mut self.current, &mut self.next);
        self.next.clear();
    }

    /// Reports the values of the nodes that match, as many as the turn allows; returns whether that
    /// is all.
    fn tell<V: Copy>(&mut self, nodes: &[Node<V>], budget: &mut Budget, found: &mut impl FnMut(V)) -> bool {
        let (first, mut next) = self.telling;
        for &node in self.matched.range(first..) {
            budget.spend(1);
            if node != first {
                next = 0;
            }
            let values = nodes.get(node).map(|node| node.values.range(next..));
            for (&number, &value) in values.into_iter().flatten() {
                budget.spend(1);
                found(value);
                if budget.is_over() {
                    self.telling = (node, number + 1);
                    return false;
                }
            }
        }
        true
    }
}

/// Adds a node to the states, and with it the `#` below, which may match no word at all.
fn enter<V>(nodes: &[Node<V>], at: usize, keys: &KeySet, states: &mut States) {
    states.add(at, keys);
    if let Some(many) = nodes.get(at).and_then(|node| node.many) {
        states.add(many, keys);
    }
}

/// Calls `found` with the nodes that the words of these keys lead to. It iterates over the node's
/// words or over the keys' words, whichever are fewer, and returns how many those are.
fn by_word<V>(node: &Node<V>, place: &Position, keys: &KeySet, mut found: impl FnMut(usize, &KeySet)) -> u64 {
    let mut meet = |child: usize, having: &KeySet| {
        if let Some(keys) = common(keys, having) {
            found(child, &keys);
        }
    };
    if node.words.len() <= place.by_word.len() {
        for (word, &child) in &node.words {
            if let Some(having) = place.by_word.get(word) {
                meet(child, having);
            }
        }
        node.words.len() as u64
    } else {
        for (word, having) in &place.by_word {
            if let Some(&child) = node.words.get(word) {
                meet(child, having);
            }
        }
        place.by_word.len() as u64
    }
}
