//! Tells how deep `session_model` gets: the frames of a connection, the methods that clients send,
//! and the reply codes that the broker answers with.

use std::collections::BTreeSet;

use amqp_codec::MethodId;

/// The sessions of each kind.
const SESSIONS: u64 = 200;

fn main() {
    for (kind, first) in
        [("valid", 0), ("1 of 32 changed", 1), ("8 of 32 changed", 8), ("narrow, 2 of 32", 0x42)]
    {
        let (mut connections, mut frames) = (0, 0);
        let (mut methods, mut codes) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..SESSIONS {
            let depth = fuzz::session_model(&[&[first], &seed.to_be_bytes()[..]].concat());
            connections += depth.connections;
            frames += depth.frames;
            methods.extend(depth.methods);
            codes.extend(depth.codes);
        }
        let all: Vec<_> = amqp_fuzz::client_methods().filter_map(MethodId::name).collect();
        let missing: Vec<_> = all.iter().filter(|name| !methods.contains(*name)).collect();
        println!("{kind}: {} frames a connection", frames / connections.max(1));
        println!("  methods: {} of {}, without {missing:?}", all.len() - missing.len(), all.len());
        println!("  codes: {codes:?}");
    }
}
