//! Slots with typed ids that detect when their value is gone: each reuse of a slot increases its
//! generation.

use std::{fmt, hash, marker::PhantomData};

/// Names a slot of an [`Arena<T, K>`]; `K` tells the kinds of ids apart.
pub(crate) struct Id<K> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// The slot's index, which is unique among the living.
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}

impl<K> Eq for Id<K> {}

impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.index.hash(state);
        self.generation.hash(state);
    }
}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.index, self.generation).cmp(&(other.index, other.generation))
    }
}

impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Values in slots that are reused.
pub(crate) struct Arena<T, K> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    ids: PhantomData<fn() -> K>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T, K> Default for Arena<T, K> {
    fn default() -> Self {
        Arena { slots: Vec::new(), free: Vec::new(), ids: PhantomData }
    }
}

impl<T, K> Arena<T, K> {
    pub(crate) fn insert(&mut self, value: T) -> Id<K> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.value = Some(value);
            return Id { index, generation: slot.generation, of: PhantomData };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Id { index, generation: 0, of: PhantomData }
    }

    #[inline]
    pub(crate) fn get(&self, id: Id<K>) -> Option<&T> {
        let slot = self.slots.get(id.index())?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id<K>) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: Id<K>) -> Option<T> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        Some(value)
    }

    /// The values from an index on, with their ids.
    pub(crate) fn iter_from(&self, place: usize) -> impl Iterator<Item = (Id<K>, &T)> {
        self.slots.iter().enumerate().skip(place).filter_map(|(index, slot)| {
            let id = Id { index: index as u32, generation: slot.generation, of: PhantomData };
            slot.value.as_ref().map(|value| (id, value))
        })
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// Returns the number of values.
    #[cfg(any(test, feature = "management"))]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_does_not_name_what_took_its_slot_later() {
        let mut arena = Arena::<_, ()>::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(first.index(), second.index());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }
}
