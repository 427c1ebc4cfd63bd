//! Groups of changes that are written to disk together: all persistent changes of a transaction,
//! after its last step, or none.

use super::{
    kept::Kept,
    records::{Changes, Record},
};

/// The most transactions that may be unfinished.
const MOST: usize = 250;

/// Changes that must be written together: those of unfinished transactions, and later changes to
/// their messages.
///
/// While a transaction is unfinished, its consequences in later turns, such as the acknowledgement
/// or dead letter of one of its messages, belong to its group: neither may be on disk without the
/// other. A consequence of two transactions merges their groups. So that merged groups come to an
/// end, no transaction begins while a finished one waits for others.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: Vec<Open>,
    /// The changes to be written, by group.
    changes: Vec<(Kept, Changes)>,
    /// The last key that was given out: keys are not reused soon, so that messages of a closed
    /// group are not taken for those of a new one.
    last: Kept,
    /// The group of the current operation, or [`Kept::NO`].
    current: Kept,
}

/// A transaction that is not written yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// The key of its messages.
    kept: Kept,
    /// The group with which it is written: its own, or one that it was merged with.
    group: Kept,
    is_done: bool,
}

impl Groups {
    /// Begins a transaction; `None` when no more may begin.
    pub(crate) fn open(&mut self) -> Option<Kept> {
        if self.room() == 0 {
            return None;
        }
        self.last = self.last.next();
        while self.is_open(self.last) {
            self.last = self.last.next();
        }
        let kept = self.last;
        self.open.push(Open { kept, group: kept, is_done: false });
        self.changes.push((kept, Changes::default()));
        Some(kept)
    }

    /// How many more transactions may begin.
    pub(crate) fn room(&self) -> usize {
        if self.open.iter().any(|open| open.is_done) { 0 } else { MOST - self.open.len() }
    }

    /// Makes this the group of all following changes, if it is open; returns the previous group.
    pub(crate) fn enter(&mut self, group: Kept) -> Kept {
        let entered = if self.is_open(group) { group } else { Kept::NO };
        std::mem::replace(&mut self.current, entered)
    }

    /// Tells whether the current operation belongs to a group.
    #[inline]
    pub(crate) fn is_any_entered(&self) -> bool {
        self.current != Kept::NO
    }

    /// Adds the group of the current operation. The list stays short, though closed groups stay in
    /// it for a while.
    pub(crate) fn add_to(&self, groups: &mut Vec<Kept>) {
        if groups.last() != Some(&self.current) && !groups.contains(&self.current) {
            if groups.len() >= 2 * MOST {
                groups.retain(|group| self.is_open(*group));
            }
            groups.push(self.current);
        }
    }

    /// Replaces the list by the groups of all unfinished transactions.
    pub(crate) fn list_open(&self, groups: &mut Vec<Kept>) {
        groups.clear();
        groups.extend(self.open.iter().map(|open| open.kept));
    }

    /// Merges all of these groups that are open into one, which following changes belong to. Leaves
    /// one key in the list, if any is open, because they close together; returns the previous
    /// group.
    pub(crate) fn enter_all(&mut self, groups: &mut Vec<Kept>) -> Kept {
        let around = std::mem::replace(&mut self.current, Kept::NO);
        for group in groups.drain(..) {
            if self.is_open(group) {
                self.entangle(group);
                self.current = group;
            }
        }
        if self.current != Kept::NO {
            groups.push(self.current);
        }
        around
    }

    /// Ends a transaction; returns the changes to be written, unless its group waits for others.
    pub(crate) fn end(&mut self, kept: Kept) -> Option<Changes> {
        let Some(group) = self.group_of(kept) else { return Some(Changes::default()) };
        self.open.iter_mut().filter(|open| open.kept == kept).for_each(|open| open.is_done = true);
        if self.open.iter().any(|open| open.group == group && !open.is_done) {
            return None;
        }
        self.open.retain(|open| open.group != group);
        Some(self.take_changes(group))
    }

    /// The key of a message that is stored now.
    #[inline]
    pub(crate) fn kept(&self) -> Kept {
        self.current.max(Kept::YES)
    }

    /// The key of a change that follows from a message: the message's group, if that is not written
    /// yet.
    #[inline]
    pub(crate) fn following(&self, kept: Kept) -> Kept {
        if self.is_open(kept) { kept } else { self.kept() }
    }

    /// The changes of the current group; `None` when there is none and changes are written at once.
    #[inline]
    pub(crate) fn current(&mut self) -> Option<&mut Changes> {
        self.records(self.current)
    }

    /// The changes of the group that a message belongs to; `None` when those are written at once.
    #[inline]
    pub(crate) fn of(&mut self, kept: Kept) -> Option<&mut Changes> {
        self.entangle(kept);
        self.records(self.following(kept))
    }

    /// Records a change in all groups, because it invalidates parts of them.
    pub(crate) fn note_in_all(&mut self, record: &Record) {
        self.changes.iter_mut().for_each(|(_, records)| records.push(record.clone()));
    }

    /// How many bytes wait to be written.
    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        self.changes.iter().map(|(_, changes)| changes.weight()).sum()
    }

    #[inline]
    pub(crate) fn is_open(&self, kept: Kept) -> bool {
        self.group_of(kept).is_some()
    }

    /// The group of a message with this key, if it is not written yet.
    #[inline]
    fn group_of(&self, kept: Kept) -> Option<Kept> {
        if !kept.is_in_group() {
            return None;
        }
        self.open.iter().find(|open| open.kept == kept).map(|open| open.group)
    }

    /// Merges the current group with another, if that is open.
    #[inline]
    fn entangle(&mut self, other: Kept) {
        if other != self.current
            && let (Some(group), Some(other)) = (self.group_of(self.current), self.group_of(other))
            && group != other
        {
            self.unite(group, other);
        }
    }

    #[cold]
    fn unite(&mut self, group: Kept, other: Kept) {
        self.open.iter_mut().filter(|open| open.group == other).for_each(|open| open.group = group);
        let mut more = self.take_changes(other);
        if let Some(changes) = self.records(group) {
            changes.append(&mut more);
        }
    }

    fn take_changes(&mut self, group: Kept) -> Changes {
        let place = self.changes.iter().position(|(other, _)| *other == group);
        place.map(|place| self.changes.swap_remove(place).1).unwrap_or_default()
    }

    #[inline]
    fn records(&mut self, kept: Kept) -> Option<&mut Changes> {
        let group = self.group_of(kept)?;
        self.changes.iter_mut().find(|(other, _)| *other == group).map(|(_, records)| records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(position: u64) -> Record {
        Record::Gone { queue: 1, position }
    }

    fn count(changes: Option<Changes>) -> Option<usize> {
        changes.map(|changes| changes.iter().count())
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
        assert_eq!(count(groups.end(group)), Some(2));
        assert!(groups.of(kept).is_none());
    }

    #[test]
    fn a_message_of_one_that_is_closed_belongs_to_no_later_one() {
        let mut groups = Groups::default();
        let (first, second) = (groups.open().unwrap(), groups.open().unwrap());
        assert_eq!(count(groups.end(first)), Some(0));
        let third = groups.open().unwrap();
        assert!(groups.of(first).is_none() && groups.of(second).is_some());
        assert_eq!(groups.enter(third), Kept::NO);
        assert_eq!([second, first, Kept::YES].map(|kept| groups.following(kept)), [second, third, third]);
        assert_eq!(groups.enter(first), third);
        assert_eq!(groups.following(Kept::YES), Kept::YES);
    }

    #[test]
    fn those_of_which_something_follows_together_are_written_together_and_none_begins_before() {
        let mut groups = Groups::default();
        let [first, second, third, apart] = std::array::from_fn(|_| groups.open().unwrap());
        groups.enter(first);
        groups.current().unwrap().push(gone(1));
        groups.of(second).unwrap().push(gone(2));
        groups.enter(Kept::NO);
        let around = groups.enter_all(&mut vec![second, third]);
        groups.of(Kept::YES).unwrap().push(gone(3));
        groups.enter(around);
        assert!(groups.of(Kept::YES).is_none());
        assert!(groups.end(second).is_none() && groups.room() == 0 && groups.open().is_none());
        assert_eq!(count(groups.end(apart)), Some(0));
        groups.of(second).unwrap().push(gone(4));
        assert!(groups.end(first).is_none());
        assert_eq!(count(groups.end(third)), Some(4));
        assert!(groups.room() == MOST && groups.changes.is_empty());
        let mut closed = vec![second, third];
        groups.enter_all(&mut closed);
        assert!(closed.is_empty() && groups.current().is_none());
    }

    #[test]
    fn a_list_of_some_stays_short_however_many_come_and_go() {
        let mut groups = Groups::default();
        let stays = groups.open().unwrap();
        let mut list = Vec::new();
        groups.enter(stays);
        groups.add_to(&mut list);
        for _ in 0..10 * MOST {
            let passes = groups.open().unwrap();
            for group in [passes, stays] {
                groups.enter(group);
                groups.add_to(&mut list);
            }
            groups.end(passes);
        }
        assert!(list.len() <= 2 * MOST && list.contains(&stays));
        let [one, other] = std::array::from_fn(|_| groups.open().unwrap());
        for group in [one, other, one] {
            groups.enter(group);
            groups.add_to(&mut list);
        }
        groups.enter_all(&mut list);
        assert_eq!((list.len(), groups.changes.len()), (1, 1));
        assert!(groups.end(stays).is_none() && groups.end(one).is_none() && groups.end(other).is_some());
    }

    #[test]
    fn only_so_many_are_under_way() {
        let mut groups = Groups::default();
        assert_eq!(std::iter::from_fn(|| groups.open()).count(), MOST);
        groups.end(Kept::FIRST);
        assert!(groups.open().is_some() && groups.open().is_none());
    }
}
