//! What of a transaction survives the process is written together, after its last step: all of it or nothing.

use super::{journal::Record, kept::Kept};

/// How many transactions may be under way.
const MOST: usize = 250;

/// What is to be written together: the changes of transactions that are under way, and those of their messages since.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: Vec<Option<Vec<Record>>>,
    /// The one to which the operation under way belongs.
    current: Option<u8>,
}

impl Groups {
    /// A transaction begins; `None` when too many are under way.
    pub(crate) fn open(&mut self) -> Option<u8> {
        let free = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if free == self.open.len() {
            self.open.push(None);
        }
        let slot = self.open.get_mut(free).filter(|_| free < MOST)?;
        *slot = Some(Vec::new());
        u8::try_from(free).ok()
    }

    /// What is done from now on belongs to this one, or to none.
    pub(crate) fn enter(&mut self, group: Option<u8>) {
        self.current = group;
    }

    /// A transaction ends: what is to be written of it.
    pub(crate) fn close(&mut self, group: u8) -> Vec<Record> {
        let slot = self.open.get_mut(usize::from(group));
        slot.and_then(Option::take).unwrap_or_default()
    }

    /// How a message is kept that is kept now.
    #[inline]
    pub(crate) fn kept(&self) -> Kept {
        self.current.map_or(Kept::YES, Kept::with)
    }

    /// Where what is done now is noted, if not at once.
    #[inline]
    pub(crate) fn current(&mut self) -> Option<&mut Vec<Record>> {
        let current = self.current?;
        self.open.get_mut(usize::from(current))?.as_mut()
    }

    /// Where what becomes of a message is noted, if not at once: with it, where that is not written yet.
    #[inline]
    pub(crate) fn of(&mut self, kept: Kept) -> Option<&mut Vec<Record>> {
        let group = kept.group().map(usize::from);
        match group.filter(|&group| self.open.get(group).is_some_and(Option::is_some)) {
            Some(group) => self.open.get_mut(group)?.as_mut(),
            None => self.current(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(position: u64) -> Record {
        Record::Gone { queue: 1, position }
    }

    #[test]
    fn what_becomes_of_a_message_is_written_with_it_and_not_before() {
        let mut groups = Groups::default();
        let group = groups.open().unwrap();
        groups.enter(Some(group));
        let kept = groups.kept();
        groups.current().unwrap().push(gone(1));
        groups.enter(None);
        groups.of(kept).unwrap().push(gone(2));
        assert!(groups.of(Kept::YES).is_none() && groups.current().is_none());
        assert_eq!(groups.close(group).len(), 2);
        assert!(groups.of(kept).is_none());
    }

    #[test]
    fn only_so_many_are_under_way() {
        let mut groups = Groups::default();
        assert_eq!(std::iter::from_fn(|| groups.open()).count(), MOST);
        groups.close(7);
        assert_eq!(groups.open(), Some(7));
    }
}
