//! Whose octets the lines of a transcript are.

use std::fmt;

use amqp_fuzz::Speaker;

/// One side of a connection. As a comment of a transcript it is the heading of the lines that
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Section {
    pub(super) connection: u64,
    pub(super) speaker: Speaker,
}

/// The name of a side.
pub(super) fn name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Client => "client",
        Speaker::Server => "server",
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "# connection {}, {}", self.connection, name(self.speaker))
    }
}

impl Section {
    /// Reads the heading in a comment; what follows a colon is for people.
    pub(super) fn read(line: &str) -> Option<Self> {
        let heading = line.strip_prefix("# connection ")?;
        let heading = heading.split_once(':').map_or(heading, |(heading, _)| heading);
        let (connection, speaker) = heading.split_once(", ")?;
        let speakers = [Speaker::Client, Speaker::Server];
        let speaker = speakers.into_iter().find(|known| name(*known) == speaker.trim_end())?;
        Some(Section { connection: connection.parse().ok()?, speaker })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_read_back_with_and_without_a_remark() {
        let section = Section { connection: 12, speaker: Speaker::Server };
        assert_eq!(Section::read(&section.to_string()), Some(section));
        assert_eq!(Section::read(&format!("{section}: 3 octets are missing")), Some(section));
        for line in ["# connection x, client", "# connection 1", "0 heartbeat", "# connection 1, peer"] {
            assert_eq!(Section::read(line), None, "{line}");
        }
    }
}
