//! Partitions between the nodes of a cluster on one machine, by a packet filter in the program's
//! own network.
//!
//! All nodes have the same address, so a packet's addresses do not tell which two it is between.
//! But each node's processes have a group of their own: connections are marked with the group that
//! opens them, and their other end is the port where a node accepts others.

use std::{
    io::{self, Write as _},
    process::{Command, Stdio},
};

const TABLE: &str = "inet partitions";

/// The packets that do not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Anything from one node to another.
    From(usize, usize),
    /// Anything between clients and a node.
    Clients(usize),
}

/// A node, as a packet filter sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) group: u32,
    /// The port where it accepts other nodes, and that for clients.
    pub(super) nodes: u16,
    pub(super) clients: u16,
}

/// Has connections marked from now on with the group that opens them, which must be one of these.
/// Those that are open already are never cut.
///
/// # Errors
/// When `nft` fails.
pub(super) fn prepare(groups: &[u32]) -> io::Result<()> {
    // Before connection tracking confirms them, so that the mark is that of the whole connection.
    let mut rules =
        format!("table {TABLE} {{\n chain origin {{\n  type filter hook output priority mangle;\n");
    for group in groups {
        rules += &format!("  ct state new meta skgid {group} ct mark set {group}\n");
    }
    // A packet dropped on the way out is told to the sender; on the way in it is lost.
    rules += " }\n chain cut {\n  type filter hook input priority filter;\n }\n}\n";
    apply(&rules)
}

/// Cuts these, and nothing else from now on.
///
/// # Errors
/// When `nft` fails.
pub(super) fn cut(places: &[Place], cuts: &[Cut]) -> io::Result<()> {
    apply(&rules(places, cuts))
}

fn rules(places: &[Place], cuts: &[Cut]) -> String {
    let mut rules = format!("flush chain {TABLE} cut\n");
    let mut add = |rule: String| rules += &format!("add rule {TABLE} cut {rule} drop\n");
    for cut in cuts {
        match *cut {
            Cut::From(from, to) => {
                // In a connection that the one has opened to the other, and in the answers of one
                // that the other has opened to it.
                add(format!("ct mark {} tcp dport {}", places[from].group, places[to].nodes));
                add(format!("ct mark {} tcp sport {}", places[to].group, places[from].nodes));
            }
            Cut::Clients(node) => {
                add(format!("tcp dport {}", places[node].clients));
                add(format!("tcp sport {}", places[node].clients));
            }
        }
    }
    rules
}

fn apply(rules: &str) -> io::Result<()> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut nft = nft.spawn()?;
    if let Some(mut input) = nft.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let output = nft.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("nft: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_made_in_connections_that_either_has_opened() {
        let places = [1, 2, 3].map(|n| Place { group: u32::from(n), nodes: 100 + n, clients: 200 + n });
        let rules = rules(&places, &[Cut::From(0, 2), Cut::Clients(1)]);
        let expected = "flush chain inet partitions cut\n\
                        add rule inet partitions cut ct mark 1 tcp dport 103 drop\n\
                        add rule inet partitions cut ct mark 3 tcp sport 101 drop\n\
                        add rule inet partitions cut tcp dport 202 drop\n\
                        add rule inet partitions cut tcp sport 202 drop\n";
        assert_eq!(rules, expected);
    }
}
