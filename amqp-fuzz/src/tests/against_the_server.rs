//! Sessions of the model of a client with the model of a broker.

use std::collections::BTreeSet;

use amqp_codec::{Frame, MethodId};

use crate::{
    Choices, Fault, Link, Loopback, Server, ServerOptions, Session, SessionOptions, client_methods,
    server_methods,
};

/// All that both have sent.
fn converse(seed: u64, options: ServerOptions) -> (Vec<Frame>, Vec<Frame>, Vec<Fault>) {
    let mut choices = Choices::from_seed(seed);
    let mut session = Session::new(SessionOptions::default());
    let mut server = Server::new(options);
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    let mut to_client = vec![server.start()];
    let mut acts = 0;
    while !session.is_ended() {
        let mut to_server = Vec::new();
        for frame in to_client.drain(..) {
            to_server.extend(session.received(&frame));
            from_server.push(frame);
        }
        if session.is_open() && !session.is_waiting() {
            acts += 1;
            let step = match acts {
                ..300 => session.next(&mut choices),
                _ if seed.is_multiple_of(2) && session.is_quiet() => session.close(),
                _ if session.is_quiet() => {
                    to_client.push(server.close());
                    continue;
                }
                _ => Default::default(),
            };
            to_server.extend(step.frames);
        }
        for frame in to_server {
            to_client.extend(server.received(&frame, &mut choices));
            from_client.push(frame);
        }
        to_client.extend(server.next(&mut choices));
    }
    (from_client, from_server, session.faults().to_vec())
}

fn missing(of: impl Iterator<Item = MethodId>, frames: &[Frame]) -> Vec<&'static str> {
    let sent: BTreeSet<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Method(_, method) => Some(method.id().octets()),
            _ => None,
        })
        .collect();
    of.filter(|id| !sent.contains(&id.octets())).filter_map(MethodId::name).collect()
}

#[test]
fn client_and_server_have_nothing_to_complain_of_and_every_method_occurs() {
    let (mut from_clients, mut from_servers) = (Vec::new(), Vec::new());
    for seed in 0..60 {
        let closes = seed % 3 == 0;
        let options = ServerOptions { challenges: seed % 2 == 0, closes, ..Default::default() };
        let (from_client, from_server, faults) = converse(seed, options);
        // What the server closes without a reason is all that the client can object to.
        let is_closed =
            |fault: &Fault| matches!(fault, Fault::Closed { channel, .. } if closes || *channel == 0);
        let others: Vec<_> = faults.iter().filter(|fault| !is_closed(fault)).collect();
        assert!(others.is_empty(), "seed {seed}: {others:?}");
        assert!(from_client.len() >= 200, "seed {seed}: {}", from_client.len());
        from_clients.extend(from_client);
        from_servers.extend(from_server);
    }
    assert_eq!(missing(client_methods(), &from_clients), Vec::<&str>::new());
    assert_eq!(missing(server_methods(), &from_servers), Vec::<&str>::new());
}

#[test]
fn a_link_opens_acts_and_closes_over_any_stream() {
    for seed in 0..10 {
        let server = Loopback::new(ServerOptions::default(), Choices::from_seed(seed));
        let mut link = Link::open(server, Session::new(SessionOptions::default())).unwrap();
        let mut choices = Choices::from_seed(seed);
        for _ in 0..200 {
            link.step(&mut choices).unwrap();
        }
        link.close().unwrap();
        assert_eq!(link.session().faults(), [], "seed {seed}");
    }
}

#[test]
fn a_link_to_a_peer_that_says_nothing_ends() {
    #[derive(Debug)]
    struct Mute;
    impl std::io::Read for Mute {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Ok(0)
        }
    }
    impl std::io::Write for Mute {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            Ok(octets.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = Link::open(Mute, Session::new(SessionOptions::default())).unwrap_err();
    assert!(matches!(error, crate::LinkError::Ended), "{error}");
}
