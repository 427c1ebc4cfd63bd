//! What the user looks at, and what keys change about it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    figures::{ConnectionFigures, QueueFigures},
    listed::{Listed, Order},
};

/// The most characters of a filter.
const LONGEST_FILTER: usize = 255;

/// What the user looks at.
#[derive(Debug)]
pub(super) struct View {
    pub(super) tab: Tab,
    orders: [Order; 2],
    pub(super) filter: String,
    /// The first row on the screen.
    pub(super) offset: usize,
    /// The rows that the screen has room for.
    pub(super) page: usize,
    pub(super) mode: Mode,
}

/// One of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Queues,
    Connections,
}

/// What keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browsing,
    /// Keys are letters of the filter.
    Filtering,
    /// Any key closes the list of keys.
    Help,
}

/// How the user leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Quit,
    /// By Ctrl-C, which is no signal while the terminal is in raw mode.
    Interrupted,
}

impl View {
    /// The queues, sorted by this column.
    pub(super) fn new(queues_by: usize) -> Self {
        let by = |column| Order { column, is_reversed: false };
        View {
            tab: Tab::Queues,
            orders: [by(queues_by), by(0)],
            filter: String::new(),
            offset: 0,
            page: 1,
            mode: Mode::Browsing,
        }
    }

    /// The order of the list that is shown.
    pub(super) fn order(&self) -> Order {
        self.orders[self.tab as usize]
    }

    /// Does what a key means; tells if it means to leave.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Leave> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if has_control && key.code == KeyCode::Char('c') {
            return Some(Leave::Interrupted);
        }
        match self.mode {
            Mode::Help => self.mode = Mode::Browsing,
            Mode::Filtering => self.edit(key.code, has_control),
            Mode::Browsing => return self.browse(key.code),
        }
        None
    }

    fn browse(&mut self, code: KeyCode) -> Option<Leave> {
        match code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Leave::Quit),
            KeyCode::Tab | KeyCode::BackTab => self.turn(),
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => {
                let order = &mut self.orders[self.tab as usize];
                order.is_reversed = !order.is_reversed;
            }
            KeyCode::Char('/') => self.mode = Mode::Filtering,
            KeyCode::Char('?') => self.mode = Mode::Help,
            // The last row is known when it is drawn.
            KeyCode::Down => self.offset = self.offset.saturating_add(1),
            KeyCode::Up => self.offset = self.offset.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.offset = self.offset.saturating_add(self.page),
            KeyCode::PageUp => self.offset = self.offset.saturating_sub(self.page),
            KeyCode::Home => self.offset = 0,
            KeyCode::End => self.offset = usize::MAX,
            _ => {}
        }
        None
    }

    fn turn(&mut self) {
        self.tab = match self.tab {
            Tab::Queues => Tab::Connections,
            Tab::Connections => Tab::Queues,
        };
        self.offset = 0;
    }

    fn sort_by_next(&mut self) {
        // Virtual hosts, in the last column, are not shown everywhere.
        let columns = match self.tab {
            Tab::Queues => QueueFigures::HEADINGS.len() - 1,
            Tab::Connections => ConnectionFigures::HEADINGS.len() - 1,
        };
        let order = &mut self.orders[self.tab as usize];
        *order = Order { column: (order.column + 1) % columns, is_reversed: false };
    }

    fn edit(&mut self, code: KeyCode, has_control: bool) {
        match code {
            KeyCode::Enter => self.mode = Mode::Browsing,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Browsing;
            }
            KeyCode::Char('u') if has_control => self.filter.clear(),
            KeyCode::Char(letter) if !has_control && self.filter.chars().count() < LONGEST_FILTER => {
                self.filter.push(letter);
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            _ => {}
        }
        self.offset = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, codes: &[KeyCode]) -> Option<Leave> {
        codes.iter().fold(None, |left, code| left.or(view.press(KeyEvent::from(*code))))
    }

    fn typed(text: &str) -> Vec<KeyCode> {
        text.chars().map(KeyCode::Char).collect()
    }

    #[test]
    fn every_list_has_its_order_and_s_goes_round() {
        let mut view = View::new(1);
        press(&mut view, &typed("sr"));
        assert_eq!(view.order(), Order { column: 2, is_reversed: true });
        press(&mut view, &[KeyCode::Tab]);
        assert_eq!((view.tab, view.order().column), (Tab::Connections, 0));
        press(&mut view, &[KeyCode::Tab]);
        press(&mut view, &typed("ssss"));
        assert_eq!(view.order(), Order { column: 0, is_reversed: false });
    }

    #[test]
    fn letters_of_a_filter_are_no_keys_until_it_ends() {
        let mut view = View::new(0);
        assert_eq!(press(&mut view, &typed("/qs?")), None);
        assert_eq!((view.filter.as_str(), view.mode), ("qs?", Mode::Filtering));
        press(&mut view, &[KeyCode::Backspace, KeyCode::Enter]);
        assert_eq!((view.filter.as_str(), view.mode), ("qs", Mode::Browsing));
        press(&mut view, &[KeyCode::Char('/'), KeyCode::Esc]);
        assert_eq!((view.filter.as_str(), view.mode), ("", Mode::Browsing));
    }

    #[test]
    fn it_is_left_by_q_escape_and_control_c_and_help_by_any_key() {
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(press(&mut View::new(0), &[KeyCode::Char('?'), code]), None);
            assert_eq!(press(&mut View::new(0), &[code]), Some(Leave::Quit));
        }
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        for mode in [Mode::Browsing, Mode::Filtering, Mode::Help] {
            let mut view = View { mode, ..View::new(0) };
            assert_eq!(view.press(interrupt), Some(Leave::Interrupted), "{mode:?}");
        }
    }

    #[test]
    fn pages_are_as_long_as_the_screen() {
        let mut view = View { page: 10, ..View::new(0) };
        press(&mut view, &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::Up]);
        assert_eq!(view.offset, 19);
        press(&mut view, &[KeyCode::PageUp, KeyCode::PageUp]);
        assert_eq!(view.offset, 0);
    }
}
