//! The screen, drawn from figures and a view.

use chrono::{DateTime, Local};
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style as Look, Stylize as _},
    text::{Line, Span},
    widgets::{Block, Cell as TableCell, Clear, Paragraph, Row, Table},
};

use super::{
    figures::{Figures, Overview},
    listed::{Listed, octets_text, rate_text, rows},
    view::{Mode, Tab, View},
};
use crate::output::{escape::escaped_line, style::Style};

/// The content of the screen.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) figures: &'a Figures,
    /// The time of the figures.
    pub(super) told: DateTime<Local>,
    /// Why they are stale, if they are.
    pub(super) staleness: Option<String>,
}

/// The looks of the screen: colours, if they are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) has_colours: bool,
}

/// The columns from which on there is room for the virtual host of each row.
const WIDE: u16 = 100;

const HELP: [(&str, &str); 9] = [
    ("q, Esc, Ctrl-C", "quit"),
    ("Tab", "queues or connections"),
    ("s", "sort by the next column"),
    ("r", "reverse the order"),
    ("/", "filter by a part of the name: Enter keeps it, Esc ends it"),
    ("Up, Down", "scroll by a row"),
    ("PageUp, PageDown", "scroll by a page"),
    ("Home, End", "the first row, the last row"),
    ("?", "this list"),
];

impl Theme {
    pub(super) fn new(style: Style) -> Self {
        Theme { has_colours: style.is_coloured() }
    }

    fn coloured(self, colour: Color) -> Look {
        if self.has_colours { Look::new().fg(colour) } else { Look::new() }
    }

    fn label(self) -> Look {
        self.coloured(Color::DarkGray)
    }

    fn name(self) -> Look {
        self.coloured(Color::Cyan)
    }

    fn warning(self) -> Look {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }
}

/// Draws everything. The view learns how many rows there is room for, and does not scroll behind
/// the last.
pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View, shown: &Shown<'_>, theme: Theme) {
    let [title, rates, totals, tabs, list, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_title(frame, title, shown, theme);
    let overview = &shown.figures.overview;
    frame.render_widget(rates_line(overview, theme), rates);
    frame.render_widget(totals_line(overview, theme), totals);
    view.page = usize::from(list.height.saturating_sub(1)).max(1);
    let listed = match view.tab {
        Tab::Queues => draw_list(frame, list, view, &shown.figures.queues, theme),
        Tab::Connections => draw_list(frame, list, view, &shown.figures.connections, theme),
    };
    frame.render_widget(tabs_line(view, shown.figures, &listed, theme), tabs);
    frame.render_widget(keys_line(view, theme), keys);
    if view.mode == Mode::Help {
        draw_help(frame, theme);
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, shown: &Shown<'_>, theme: Theme) {
    let overview = &shown.figures.overview;
    let vhost = overview.vhost.as_ref().map(|vhost| format!("  vhost {}", escaped_line(vhost)));
    let broker = format!("{}  {}", escaped_line(&overview.broker), escaped_line(&overview.cluster));
    let title = vec!["amqp top".bold(), "  ".into(), broker.into(), vhost.unwrap_or_default().into()];
    let told = shown.told.format("%H:%M:%S");
    let state = match &shown.staleness {
        Some(why) => Span::styled(format!("stale since {told}: {}", escaped_line(why)), theme.warning()),
        None => Span::styled(told.to_string(), theme.label()),
    };
    // A fault is more important than the broker's name.
    let width = u16::try_from(state.width()).unwrap_or(u16::MAX).saturating_add(1);
    let [left, right] = Layout::horizontal([Constraint::Min(9), Constraint::Max(width)]).areas(area);
    frame.render_widget(Line::from(title), left);
    frame.render_widget(Line::from(vec![" ".into(), state]), right);
}

/// Labels and values in turn.
fn labelled(pairs: &[(&str, String)], theme: Theme) -> Line<'static> {
    let spans = pairs.iter().flat_map(|(label, value)| {
        [Span::styled(format!("{label} "), theme.label()), value.clone().bold(), "   ".into()]
    });
    Line::from(spans.collect::<Vec<_>>())
}

fn rates_line(overview: &Overview, theme: Theme) -> Line<'static> {
    let rate = |rate| format!("{}/s", rate_text(rate));
    let pairs = [
        ("publish", rate(overview.publish_rate)),
        ("deliver", rate(overview.deliver_rate)),
        ("ack", rate(overview.ack_rate)),
        ("ready", overview.ready.to_string()),
        ("unacked", overview.unacked.to_string()),
    ];
    labelled(&pairs, theme)
}

fn totals_line(overview: &Overview, theme: Theme) -> Line<'static> {
    let memory = overview.memory.map_or_else(|| "-".to_owned(), |bytes| octets_text(bytes as f64));
    let pairs = [
        ("connections", overview.connections.to_string()),
        ("channels", overview.channels.to_string()),
        ("consumers", overview.consumers.to_string()),
        ("memory", memory),
    ];
    labelled(&pairs, theme)
}

/// The rows on the screen, and how many there are.
#[derive(Clone, Copy, Debug)]
struct Extent {
    first: usize,
    last: usize,
    all: usize,
}

fn tabs_line(view: &View, figures: &Figures, extent: &Extent, theme: Theme) -> Line<'static> {
    let tab = |tab, text: String| match view.tab == tab {
        true => Span::styled(text, Modifier::REVERSED),
        false => Span::styled(text, theme.label()),
    };
    let mut line = Line::from(vec![
        tab(Tab::Queues, format!(" Queues {} ", figures.queues.len())),
        " ".into(),
        tab(Tab::Connections, format!(" Connections {} ", figures.connections.len())),
        format!("   {}-{} of {}", extent.first, extent.last, extent.all).into(),
    ]);
    if !view.filter.is_empty() {
        line.push_span(Span::styled(format!("   filter {}", escaped_line(&view.filter)), theme.warning()));
    }
    line
}

fn draw_list<T: Listed>(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &mut View,
    all: &[T],
    theme: Theme,
) -> Extent {
    let order = view.order();
    let rows = rows(all, order, &view.filter);
    view.offset = view.offset.min(rows.len().saturating_sub(view.page));
    let visible = rows.iter().skip(view.offset).take(view.page);
    let columns = T::HEADINGS.len() - usize::from(area.width < WIDE);
    let mark = if order.is_reversed { "▲" } else { "▼" };
    let is_number = |column| rows.first().is_some_and(|row: &&T| row.cell(column).is_number());
    let heading = |column: usize| {
        let text = match column == order.column {
            true => format!("{}{mark}", T::HEADINGS[column]),
            false => T::HEADINGS[column].to_owned(),
        };
        aligned(text, is_number(column))
    };
    let drawn = visible.clone().map(|row| {
        Row::new((0..columns).map(|column| {
            let cell = row.cell(column);
            let text = aligned(escaped_line(&cell.to_string()).into_owned(), cell.is_number());
            if column == 0 { text.style(theme.name()) } else { text }
        }))
    });
    let widths = [Constraint::Fill(1)].into_iter().chain(T::WIDTHS.iter().copied().map(Constraint::Length));
    let table = Table::new(drawn, widths.take(columns))
        .header(Row::new((0..columns).map(heading)).style(Modifier::BOLD));
    frame.render_widget(table, area);
    let last = view.offset + visible.count();
    Extent { first: (view.offset + 1).min(last), last, all: rows.len() }
}

fn aligned(text: String, is_number: bool) -> TableCell<'static> {
    let line = Line::from(text);
    TableCell::from(if is_number { line.alignment(Alignment::Right) } else { line })
}

fn keys_line(view: &View, theme: Theme) -> Line<'static> {
    match view.mode {
        Mode::Filtering => {
            let typed = escaped_line(&view.filter).into_owned();
            Line::from(vec!["/".bold(), typed.into(), Span::styled(" ", Modifier::REVERSED)])
        }
        Mode::Browsing | Mode::Help => {
            let keys = "q quit   Tab list   s sort   r reverse   / filter   ? help";
            Line::styled(keys, theme.label())
        }
    }
}

fn draw_help(frame: &mut Frame<'_>, theme: Theme) {
    let lines: Vec<Line<'_>> = HELP
        .iter()
        .map(|(keys, meaning)| {
            Line::from(vec![Span::styled(format!(" {keys:<18}"), theme.name()), (*meaning).into()])
        })
        .collect();
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let area = frame.area().centered(Constraint::Max(80), Constraint::Max(height));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Keys ")), area);
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;
    use ratatui::{Terminal, backend::TestBackend, crossterm::event::KeyCode};

    use super::*;
    use crate::commands::top::figures::{ConnectionFigures, QueueFigures};

    fn figures() -> Figures {
        let queue = |name: &str, ready, in_rate| QueueFigures {
            queue: name.to_owned(),
            vhost: "/".to_owned(),
            ready,
            unacked: 3,
            in_rate,
            out_rate: 1234.56,
            consumers: 2,
        };
        let connection = ConnectionFigures {
            connection: "billing 127.0.0.1:5 -> 127.0.0.1:5672".to_owned(),
            vhost: "/".to_owned(),
            user: "app".to_owned(),
            state: "running".to_owned(),
            channels: 4,
            received_rate: 2048.0,
            sent_rate: 12.0,
        };
        Figures {
            overview: Overview {
                broker: "RabbitMQ 3.10.8".to_owned(),
                cluster: "rabbit@h".to_owned(),
                publish_rate: 12.5,
                ready: 42,
                memory: Some(3 << 20),
                ..Overview::default()
            },
            queues: vec![queue("jobs", 40, 7.0), queue("evil\u{1b}[2J\u{9b}\u{202e}", 2, 0.25)],
            connections: vec![connection],
        }
    }

    fn theme(has_colours: bool) -> Theme {
        Theme { has_colours }
    }

    fn drawn(view: &mut View, figures: &Figures, why: Option<&str>, theme: Theme) -> TestBackend {
        let told = Local.with_ymd_and_hms(2026, 1, 2, 3, 4, 5).unwrap();
        let shown = Shown { figures, told, staleness: why.map(str::to_owned) };
        let mut terminal = Terminal::new(TestBackend::new(80, 14)).unwrap();
        terminal.draw(|frame| draw(frame, view, &shown, theme)).unwrap();
        terminal.backend().clone()
    }

    fn lines(view: &mut View, figures: &Figures, why: Option<&str>) -> Vec<String> {
        let backend = drawn(view, figures, why, theme(true));
        let buffer = backend.buffer();
        let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..14).map(row).collect()
    }

    fn press(view: &mut View, codes: &[KeyCode]) {
        for code in codes {
            assert_eq!(view.press((*code).into()), None);
        }
    }

    #[test]
    fn sums_and_queues_are_on_the_screen_and_what_a_peer_wrote_is_escaped() {
        let lines = lines(&mut View::new(1), &figures(), None);
        assert_eq!(
            lines,
            [
                "amqp top  RabbitMQ 3.10.8  rabbit@h                                     03:04:05",
                "publish 12.5/s   deliver 0.0/s   ack 0.0/s   ready 42   unacked 0",
                "connections 0   channels 0   consumers 0   memory 3.0 MiB",
                " Queues 2   Connections 1    1-2 of 2",
                "QUEUE                            READY▼   UNACKED      IN/s     OUT/s  CONSUMERS",
                "jobs                                 40         3       7.0      1235          2",
                r"evil\u{1b}[2J\u{9b}\u{202e}           2         3       0.2      1235          2",
                "",
                "",
                "",
                "",
                "",
                "",
                "q quit   Tab list   s sort   r reverse   / filter   ? help",
            ]
        );
    }

    #[test]
    fn connections_are_the_second_list() {
        let mut view = View::new(1);
        press(&mut view, &[KeyCode::Tab]);
        let lines = lines(&mut view, &figures(), None);
        assert_eq!(lines[3], " Queues 2   Connections 1    1-1 of 1");
        assert_eq!(lines[4], "CONNECTION▼                    CHANNELS  RECEIVED/s     SENT/s STATE    USER");
        assert_eq!(lines[5], "billing 127.0.0.1:5 -> 127.0.         4     2.0 KiB       12 B running  app");
    }

    #[test]
    fn a_filter_is_shown_and_leaves_what_it_matches() {
        let mut view = View::new(1);
        press(&mut view, &[KeyCode::Char('/'), KeyCode::Char('J'), KeyCode::Char('O')]);
        let typing = lines(&mut view, &figures(), None);
        assert_eq!(typing[13], "/JO");
        press(&mut view, &[KeyCode::Enter]);
        let lines = lines(&mut view, &figures(), None);
        assert_eq!(lines[3], " Queues 2   Connections 1    1-1 of 1   filter JO");
        assert!(lines[5].starts_with("jobs ") && lines[6].is_empty(), "{lines:?}");
    }

    #[test]
    fn figures_that_are_stale_say_since_when_and_why_and_escape_it() {
        let lines = lines(&mut View::new(1), &figures(), Some("gone\u{1b}[31m"));
        assert!(lines[0].ends_with(r"stale since 03:04:05: gone\u{1b}[31m"), "{}", lines[0]);
        assert!(lines[5].starts_with("jobs "), "{lines:?}");
    }

    #[test]
    fn it_scrolls_to_the_last_row_and_no_further() {
        let queue = |number| QueueFigures { queue: format!("q{number:02}"), ..QueueFigures::default() };
        let figures = Figures { queues: (0..50).map(queue).collect(), ..Figures::default() };
        let mut view = View::new(0);
        lines(&mut view, &figures, None);
        press(&mut view, &[KeyCode::PageDown, KeyCode::Down]);
        let second = lines(&mut view, &figures, None);
        assert_eq!(second[3], " Queues 50   Connections 0    10-17 of 50");
        assert!(second[5].starts_with("q09 "), "{second:?}");
        press(&mut view, &[KeyCode::End, KeyCode::Down, KeyCode::Char('s'), KeyCode::Char('r')]);
        let last = lines(&mut view, &figures, None);
        assert!(last[3].ends_with("43-50 of 50") && last[4].contains("READY▲"), "{last:?}");
        let none = lines(&mut view, &Figures::default(), None);
        assert!(none[3].ends_with("0-0 of 0"), "{none:?}");
    }

    #[test]
    fn help_lists_the_keys_over_the_list() {
        let mut view = View::new(1);
        press(&mut view, &[KeyCode::Char('?')]);
        let help = lines(&mut view, &figures(), None).join("\n");
        for (keys, meaning) in HELP {
            assert!(help.contains(keys) && help.contains(meaning), "{keys}: {help}");
        }
    }

    #[test]
    fn there_are_no_colours_where_none_are_wanted() {
        let coloured = |theme| {
            let backend = drawn(&mut View::new(1), &figures(), Some("gone"), theme);
            let cells = backend.buffer().content.clone();
            cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(coloured(theme(true)) && !coloured(theme(false)));
    }

    #[test]
    fn a_terminal_without_room_is_no_failure() {
        let figures = figures();
        for (width, height) in [(1, 1), (3, 2), (20, 5), (300, 3)] {
            let shown = Shown { figures: &figures, told: Local::now(), staleness: Some("x".to_owned()) };
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            for mode in [Mode::Browsing, Mode::Filtering, Mode::Help] {
                let mut view = View::new(0);
                view.mode = mode;
                terminal.draw(|frame| draw(frame, &mut view, &shown, theme(true))).unwrap();
            }
        }
    }
}
