//! Connections from accept to the last octet, one task each.

pub(crate) mod absence;
pub(crate) mod clients;
pub(crate) mod connection_log;
pub(crate) mod driver;
mod ending;
mod gateway;
pub(crate) mod hang_up;
pub(crate) mod heartbeat;
pub(crate) mod host;
pub(crate) mod instance;
pub(crate) mod origin;
#[cfg(feature = "tls")]
pub(crate) mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls_error;
pub(crate) mod wire;

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc::UnboundedReceiver, watch},
    time::{Instant, sleep, timeout},
};

use self::{
    clients::{ClientEntry, Clients},
    driver::Driver,
    ending::{CLOSE_TIMEOUT, LEAVE_TIMEOUT, ended, hear_out, take_leave, until},
    hang_up::HangUp,
    heartbeat::Heartbeat,
    host::Host,
    instance::Instance,
    origin::Origin,
    wire::Wire,
};
use crate::{
    faults::plan::Cut,
    session::{
        command::Command,
        handshake::{Agreed, Handshake, Refused},
    },
    sockets::{Socket, Sockets},
    sync::spawn,
    users::INTERNAL_USER,
};

/// Accepts TLS connections.
#[cfg(feature = "tls")]
pub(crate) type Acceptor = self::tls::Tls;
/// Accepts no TLS connections: the feature is off, so there is no value of this type.
#[cfg(not(feature = "tls"))]
pub(crate) type Acceptor = std::convert::Infallible;

/// The most clients that may be connected without having logged in.
const MOST_LOGINS: usize = 4096;

/// The pause after accepting failed, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the broker ends, with TLS if that is configured.
pub(crate) async fn accept(listener: TcpListener, tls: Option<Acceptor>, broker: Arc<Instance>) {
    let mut ending = broker.ending();
    let (mut is_full, mut is_said) = (false, false);
    loop {
        match broker.sockets.is_full() {
            None => is_said = false,
            Some(most) => {
                // This is logged once, not for each connection that has to wait.
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!("{most} connections are open, as many as open files allow: new ones wait");
                }
                tokio::select! {
                    () = broker.sockets.room() => {}
                    () = ended(&mut ending) => return,
                }
            }
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ended(&mut ending) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_full = false;
                tracing::debug!(%peer, "accepted");
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
                }
                let origin = Origin::address(peer, stream.local_addr().ok());
                let socket = Sockets::enter(&broker.sockets);
                match &tls {
                    None => serve(stream, origin, Some(socket), &broker),
                    Some(tls) => serve_tls(stream, origin, socket, tls, &broker),
                }
            }
            Err(error) => {
                // This is logged once, not at every attempt.
                if !std::mem::replace(&mut is_full, true) {
                    tracing::warn!(%error, "connections cannot be accepted and wait");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end, in its own task.
pub(crate) fn serve<S>(stream: S, origin: Origin, socket: Option<Socket>, broker: &Arc<Instance>)
where
    S: AsyncRead + AsyncWrite + HangUp + Unpin + Send + 'static,
{
    if let Some(admitted) = admit(origin, socket, broker) {
        spawn(run(stream, None, admitted));
    }
}

/// Serves a connection inside the process whose user has logged in otherwise.
#[cfg(feature = "management")]
pub(crate) fn serve_as(
    stream: tokio::io::DuplexStream,
    origin: Origin,
    user: String,
    broker: &Arc<Instance>,
) {
    if let Some(admitted) = admit(origin, None, broker) {
        spawn(run(stream, Some(user), admitted));
    }
}

/// Serves one connection under TLS.
#[cfg(feature = "tls")]
fn serve_tls(stream: TcpStream, origin: Origin, socket: Socket, tls: &Acceptor, broker: &Arc<Instance>) {
    let tls = tls.clone();
    let Some(mut admitted) = admit(origin, Some(socket), broker) else { return };
    spawn(async move {
        let accepted = tokio::select! {
            accepted = timeout(admitted.broker.config.login_timeout, tls.accept(stream)) => accepted,
            _ = admitted.commands.recv() => return,
            () = ended(&mut admitted.ending) => return,
        };
        match accepted {
            Ok(Ok(stream)) => {
                let external = crate::server::tls::client_name(stream.get_ref().1);
                let external = external.filter(|user| user != crate::users::INTERNAL_USER);
                run(stream, external, admitted).await;
            }
            Ok(Err(error)) => connection_log::no_tls(&admitted.place.client.name, &error),
            Err(_) => {
                connection_log::no_tls(&admitted.place.client.name, &std::io::ErrorKind::TimedOut.into());
            }
        }
    });
}

#[cfg(not(feature = "tls"))]
fn serve_tls(_: TcpStream, _: Origin, _: Socket, tls: &Acceptor, _: &Arc<Instance>) {
    match *tls {}
}

/// An admitted client.
struct Admitted {
    place: ClientEntry,
    cut: Option<Cut>,
    /// The commands of others to the connection.
    commands: UnboundedReceiver<Command>,
    ending: watch::Receiver<bool>,
    /// The open file of its stream, if it has one.
    socket: Option<Socket>,
    broker: Arc<Instance>,
}

/// Admits a client, unless there are too many or a test refuses it.
fn admit(origin: Origin, socket: Option<Socket>, broker: &Arc<Instance>) -> Option<Admitted> {
    if broker.faults.refuses() || broker.clients.are_refused() || broker.clients.outside() >= MOST_LOGINS {
        tracing::debug!(connection = origin.name(), "connection refused as a test ordered");
        return None;
    }
    let (place, commands) = Clients::enter(&broker.clients, origin);
    let cut = broker.faults.next_cut();
    // From now on the broker's end waits for this connection.
    let ending = broker.ending();
    Some(Admitted { place, cut, commands, ending, socket, broker: Arc::clone(broker) })
}

/// Serves a client; `external` is the user that its certificate names.
async fn run<S>(stream: S, external: Option<String>, admitted: Admitted)
where
    S: AsyncRead + AsyncWrite + HangUp + Unpin,
{
    let Admitted { place, cut, mut commands, mut ending, socket: _socket, broker } = admitted;
    let mut stream = Wire::new(stream, cut);
    let mut input = BytesMut::new();
    let enter = |vhost: &str, user: &str| {
        let config = &broker.config;
        let most = match user {
            INTERNAL_USER => usize::MAX,
            _ => config.max_connections.min(config.vhosts.most_connections(vhost)),
        };
        place.enter(vhost, most, &config.users.tally(user))
    };
    let changes = broker.config.users.changes();
    let handshake = Handshake::new(&broker.config, &enter, external, place.client.is_near);
    let login = shake_hands(&mut stream, &mut input, handshake, &broker);
    let shaken = tokio::select! {
        shaken = timeout(broker.config.login_timeout, login) => shaken,
        // Before the login the only command is to end.
        _ = commands.recv() => return,
        () = ended(&mut ending) => return,
    };
    let agreed = match shaken {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(why)) => {
            // It is logged at once, because the stream may take a while to end.
            connection_log::refused(&place.client.name, &why);
            tokio::select! {
                () = take_leave(&mut stream) => {}
                () = ended(&mut ending) => {}
            }
            return;
        }
        Err(_) => {
            connection_log::too_late(&place.client.name);
            return;
        }
    };
    if let Some(backend) = broker.gateway(&agreed.vhost) {
        return gateway::run((stream, input), (agreed, place), backend, (commands, ending), &broker).await;
    }
    let Some(host) = broker.host(&agreed.vhost) else { return };
    start_clock(&host, &broker);
    let mut heartbeat = Heartbeat::new(agreed.tune.heartbeat);
    let (instance, client) = (Arc::clone(&broker), Arc::clone(&place.client));
    let mut driver = Driver::new(stream, input, (broker, Arc::clone(&host)), agreed, place);
    let opened = Instant::now();
    connection_log::opened(&client);
    // The user may have changed during the login.
    if instance.config.users.changes() != changes {
        instance.renew_access(&client);
    }
    let mut close_by: Option<Instant> = None;
    let (mut is_ending, mut is_shut_down) = (false, false);
    let lost = loop {
        if close_by.is_none() && driver.is_closing() {
            close_by = Some(Instant::now() + CLOSE_TIMEOUT);
        }
        tokio::select! {
            biased;
            Some(command) = commands.recv() => {
                if command == Command::Drop {
                    connection_log::closed(&client, opened, "a test dropped it");
                    return;
                }
                driver.apply(command);
            }
            end = poll_fn(|cx| driver.poll(cx)) => {
                break end.err().map(|error| format!("lost: {error}"));
            }
            () = heartbeat.beat() => {
                if !driver.beat(&mut heartbeat) {
                    break Some("lost: two heartbeats missed".to_owned());
                }
            }
            () = until(close_by) => break None,
            () = ended(&mut ending), if !is_ending => {
                is_ending = true;
                driver.pause();
            }
            // The client's publishes are confirmed before the close.
            () = host.flushed(), if is_ending && !is_shut_down => {
                is_shut_down = true;
                driver.apply(Command::ShutDown);
            }
        }
    };
    let why = driver.why().or(lost.as_deref()).unwrap_or("for no reason known");
    connection_log::closed(&client, opened, why);
    let unseen = driver.take_unseen();
    driver.leave();
    if driver.is_left() && !is_ending {
        // The client may have written more behind its close. Closing the stream with unread data
        // would send a reset, which could overtake our answer. RabbitMQ, too, waits for the client
        // to close.
        tokio::select! {
            _ = timeout(LEAVE_TIMEOUT, hear_out(&mut driver.stream, &unseen)) => {}
            () = ended(&mut ending) => {}
        }
    }
    // An orderly shutdown makes sure that the last frames arrive.
    let _ = timeout(CLOSE_TIMEOUT, driver.stream.shutdown()).await;
}

async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    input: &mut BytesMut,
    mut handshake: Handshake<'_>,
    broker: &Instance,
) -> Result<Agreed, Refused> {
    let mut output = BytesMut::new();
    loop {
        let outcome = handshake.receive(input, &mut output);
        let lost = |_| Refused::Left;
        if let Some(delay) = broker.faults.delay() {
            sleep(delay).await;
        }
        let written = stream.write_all_buf(&mut output).await;
        // A refusal counts as the reason even if the client has not waited for it.
        let agreed = outcome?;
        written.map_err(lost)?;
        if let Some(agreed) = agreed {
            return Ok(agreed);
        }
        if stream.read_buf(input).await.map_err(lost)? == 0 {
            return Err(if handshake.has_heard(input) { Refused::Left } else { Refused::Silent });
        }
    }
}

/// Starts the clock of a virtual host, unless it runs: one task for all connections. If it ends
/// with its runtime, the next connection starts another.
fn start_clock(host: &Arc<Host>, broker: &Instance) {
    let Some(clock) = Host::claim_clock(host) else { return };
    let mut ending = broker.ending();
    spawn(async move {
        tokio::select! {
            () = clock.run() => {}
            () = ended(&mut ending) => {}
        }
    });
}
