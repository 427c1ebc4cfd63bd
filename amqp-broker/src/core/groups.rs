//! What of a transaction survives the process is written together, after its last step: all of it or nothing.

use super::{
    journal::{Changes, Record},
    kept::Kept,
};

/// How many transactions may be under way.
const MOST: usize = 250;

/// What is to be written together: the changes of transactions that are under way, and those of their messages since.
///
/// What follows from a transaction in a later turn, a message of it that is acknowledged or a dead letter, belongs to it as long as
/// it is under way: neither may be on disk without the other.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: Vec<(Kept, Changes)>,
    /// The last that was opened: messages of one that is closed are not taken for those of another.
    last: Kept,
    /// The one to which the operation under way belongs, or [`Kept::NO`].
    current: Kept,
}

impl Groups {
    /// A transaction begins; `None` when too many are under way.
    pub(crate) fn open(&mut self) -> Option<Kept> {
        if self.open.len() >= MOST {
            return None;
        }
        self.last = self.last.next();
        while self.is_open(self.last) {
            self.last = self.last.next();
        }
        self.open.push((self.last, Changes::default()));
        Some(self.last)
    }

    /// What is done from now on belongs to this one if it is open, or to none; tells to which it did before.
    pub(crate) fn enter(&mut self, group: Kept) -> Kept {
        let entered = if self.is_open(group) { group } else { Kept::NO };
        std::mem::replace(&mut self.current, entered)
    }

    /// A transaction ends: what is to be written of it.
    pub(crate) fn close(&mut self, group: Kept) -> Changes {
        let place = self.open.iter().position(|(open, _)| *open == group);
        place.map(|place| self.open.swap_remove(place).1).unwrap_or_default()
    }

    /// How a message is kept that is kept now.
    #[inline]
    pub(crate) fn kept(&self) -> Kept {
        self.current.max(Kept::YES)
    }

    /// How is kept what follows now from a message: with it, where that is not written yet.
    #[inline]
    pub(crate) fn following(&self, kept: Kept) -> Kept {
        if self.is_open(kept) { kept } else { self.kept() }
    }

    /// Whether a message belongs to a transaction that is under way, and not to the one whose turn it is.
    pub(crate) fn is_of_another(&self, kept: Kept) -> bool {
        kept != self.current && self.is_open(kept)
    }

    /// Where what is done now is noted, if not at once.
    #[inline]
    pub(crate) fn current(&mut self) -> Option<&mut Changes> {
        self.records(self.current)
    }

    /// Where what becomes of a message is noted, if not at once.
    #[inline]
    pub(crate) fn of(&mut self, kept: Kept) -> Option<&mut Changes> {
        self.records(self.following(kept))
    }

    /// Notes in all what makes some of it void.
    pub(crate) fn note_in_all(&mut self, record: &Record) {
        self.open.iter_mut().for_each(|(_, records)| records.push(record.clone()));
    }

    #[inline]
    fn is_open(&self, group: Kept) -> bool {
        group.is_in_group() && self.open.iter().any(|(open, _)| *open == group)
    }

    #[inline]
    fn records(&mut self, group: Kept) -> Option<&mut Changes> {
        if !group.is_in_group() {
            return None;
        }
        self.open.iter_mut().find(|(open, _)| *open == group).map(|(_, records)| records)
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
        groups.enter(group);
        let kept = groups.kept();
        groups.current().unwrap().push(gone(1));
        groups.enter(Kept::NO);
        groups.of(kept).unwrap().push(gone(2));
        assert!(groups.of(Kept::YES).is_none() && groups.current().is_none());
        assert_eq!(groups.close(group).iter().count(), 2);
        assert!(groups.of(kept).is_none());
    }

    #[test]
    fn a_message_of_one_that_is_closed_belongs_to_no_later_one() {
        let mut groups = Groups::default();
        let (first, second) = (groups.open().unwrap(), groups.open().unwrap());
        groups.close(first);
        let third = groups.open().unwrap();
        assert!(groups.of(first).is_none() && groups.of(second).is_some());
        assert_eq!(groups.enter(third), Kept::NO);
        assert!(groups.is_of_another(second) && !groups.is_of_another(third));
        assert!(!groups.is_of_another(first) && !groups.is_of_another(Kept::YES));
        assert_eq!([second, first, Kept::YES].map(|kept| groups.following(kept)), [second, third, third]);
        assert_eq!(groups.enter(first), third);
        assert_eq!(groups.following(Kept::YES), Kept::YES);
    }

    #[test]
    fn only_so_many_are_under_way() {
        let mut groups = Groups::default();
        assert_eq!(std::iter::from_fn(|| groups.open()).count(), MOST);
        groups.close(Kept::FIRST);
        assert!(groups.open().is_some() && groups.open().is_none());
    }
}
