//! Logins: which mechanism is chosen, what it sends, and new secrets while the connection is open.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use amqp_client::{
    ConnectOptions, Connection, Credentials, CredentialsError, Error, Mechanism, ReplyCode, Report, Result,
    SaslMechanism, Secret, Uri,
};
use amqp_codec::{
    Table, Tune,
    method::{channel, connection},
    sasl,
};
use tests::Peer;
use tokio::{
    join,
    time::{Instant, sleep},
};

use super::{QUIET, all_idle, ends, error, opened, quiet, short};

/// What the broker receives when it offers these mechanisms.
async fn start_ok(options: &ConnectOptions, uri: &str, offered: &str) -> Result<connection::StartOk> {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::parse(uri).unwrap();
    let (result, start_ok) = join!(ends(options.connect_stream(stream, &uri)), async move {
        start(&mut peer, offered).await;
        match peer.receive_unless_ended().await? {
            amqp_codec::Frame::Method(0, method) => connection::StartOk::try_from(method).ok(),
            other => panic!("{other:?}"),
        }
    });
    // The peer hangs up, so there is no login.
    start_ok.ok_or_else(|| error(result))
}

async fn start(peer: &mut Peer, offered: &str) {
    peer.expect_protocol_header().await;
    let mechanisms = offered.into();
    peer.send(0, connection::Start { version_minor: 9, mechanisms, ..Default::default() }).await;
}

async fn tune_and_open(peer: &mut Peer) {
    let Tune { channel_max, frame_max, heartbeat } = QUIET;
    peer.send(0, connection::Tune { channel_max, frame_max, heartbeat }).await;
    peer.expect_any::<connection::TuneOk>(0).await;
    peer.expect_any::<connection::Open>(0).await;
    peer.send(0, connection::OpenOk::default()).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_mechanism_of_ours_that_the_broker_offers_is_taken() {
    let all = [Mechanism::External, Mechanism::AmqPlain, Mechanism::Plain];
    let preferring = quiet().mechanisms(all);
    for (options, query, offered, taken) in [
        (quiet(), "", "AMQPLAIN PLAIN", "PLAIN"),
        (quiet(), "", "EXTERNAL AMQPLAIN", "AMQPLAIN"),
        (preferring.clone(), "", "PLAIN AMQPLAIN", "AMQPLAIN"),
        (preferring.clone(), "", "PLAIN EXTERNAL", "EXTERNAL"),
        (preferring, "?auth_mechanism=plain", "PLAIN EXTERNAL", "PLAIN"),
        (quiet(), "?auth_mechanism=external&auth_mechanism=amqplain", "PLAIN AMQPLAIN", "AMQPLAIN"),
    ] {
        let start_ok = start_ok(&options, &format!("amqp://ada:pw@h/{query}"), offered).await.unwrap();
        assert_eq!(start_ok.mechanism, taken, "{offered}");
        let response = start_ok.response;
        match taken {
            "PLAIN" => assert_eq!(sasl::parse_plain(&response).unwrap(), ("ada", "pw")),
            "AMQPLAIN" => assert_eq!(sasl::parse_amqplain(&response).unwrap().0, "ada"),
            _ => assert_eq!(response.expose(), b""),
        }
    }
}

/// Each capability changes what the broker does, and the client handles each of these changes.
#[tokio::test(start_paused = true)]
async fn the_client_tells_its_properties_and_no_other_capabilities_than_it_has() {
    let options = quiet().name("billing").client_property("product", "ledger").unwrap();
    let options = options.client_property("capabilities", true).unwrap().client_property("site", 7).unwrap();
    let properties = start_ok(&options, "amqp://h", "PLAIN").await.unwrap().client_properties;
    for (key, text) in [("product", "ledger"), ("platform", "Rust"), ("connection_name", "billing")] {
        assert_eq!(properties.get(key).unwrap().as_str(), Some(text));
    }
    assert!(properties.get("site").is_some());
    let capabilities = properties.get("capabilities").unwrap();
    let capabilities = capabilities.as_table().unwrap();
    let all = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ];
    assert!(all.iter().all(|name| capabilities.get(name).and_then(|value| value.as_bool()) == Some(true)));
    assert_eq!(capabilities.iter().count(), all.len());
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_nobody_knows_is_refused_by_name() {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::parse("amqp://h?auth_mechanism=kerberos").unwrap();
    let refused = error(ends(quiet().connect_stream(stream, &uri)).await);
    peer.expect_end().await;
    assert!(matches!(&refused, Error::InvalidUri(why) if why.contains("kerberos")), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_password_that_plain_cannot_carry_is_told_and_not_sent() {
    let refused = start_ok(&quiet(), "amqp://ada:hunter%002@h", "PLAIN").await.unwrap_err();
    assert!(matches!(refused, Error::Credentials(_)), "{refused}");
    let said = Report(&refused).to_string();
    assert!(said.contains("NUL") && !said.contains("hunter"), "{said}");
}

/// RabbitMQ's demonstration of a second round of challenge and response, RABBIT-CR-DEMO.
#[derive(Default)]
struct Demo {
    rounds: u32,
}

impl SaslMechanism for Demo {
    fn name(&self) -> &str {
        "RABBIT-CR-DEMO"
    }

    fn response(&mut self, credentials: &Credentials) -> Result<Secret, CredentialsError> {
        Ok(Secret::from(credentials.user()))
    }

    fn challenge(&mut self, credentials: &Credentials, challenge: &[u8]) -> Result<Secret, CredentialsError> {
        self.rounds += 1;
        match (challenge, self.rounds) {
            (b"Please tell me your password", 1) => {
                Ok(Secret::from(format!("My password is {}", credentials.password().expose())))
            }
            _ => Err("that was not agreed on".into()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_of_ones_own_answers_challenges_and_begins_anew_with_each_connection() {
    let options = quiet().mechanisms([Mechanism::custom(Demo::default), Mechanism::Plain]);
    let uri = Uri::parse("amqp://ada:pw@h").unwrap();
    for _ in 0..2 {
        let (mut peer, stream) = Peer::new();
        let (connection, ()) = join!(ends(options.connect_stream(stream, &uri)), async {
            start(&mut peer, "PLAIN RABBIT-CR-DEMO").await;
            let start_ok: connection::StartOk = peer.expect_any(0).await;
            assert_eq!(
                (start_ok.mechanism, start_ok.response.expose()),
                (short("RABBIT-CR-DEMO"), &b"ada"[..])
            );
            peer.send(0, connection::Secure { challenge: "Please tell me your password".into() }).await;
            let secure_ok: connection::SecureOk = peer.expect_any(0).await;
            assert_eq!(secure_ok.response.expose(), b"My password is pw");
            tune_and_open(&mut peer).await;
        });
        connection.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_without_an_answer_is_a_refused_login() {
    let options = quiet().mechanisms([Mechanism::custom(Demo::default)]);
    let uri = Uri::default();
    let (mut peer, stream) = Peer::new();
    let (result, ()) = join!(ends(options.connect_stream(stream, &uri)), async {
        start(&mut peer, "RABBIT-CR-DEMO").await;
        peer.expect_any::<connection::StartOk>(0).await;
        peer.send(0, connection::Secure { challenge: "And your mother's maiden name?".into() }).await;
        peer.expect_end().await;
    });
    let error = error(result);
    assert!(
        matches!(&error, Error::LoginRefused { reason, .. } if reason == "that was not agreed on"),
        "{error}"
    );
}

/// A broker that normally reports a refused login, but hangs up without a report, has gone down.
#[tokio::test(start_paused = true)]
async fn a_broker_that_tells_refusals_and_hangs_up_is_a_lost_connection() {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::default();
    let options = quiet();
    let (result, ()) = join!(ends(options.connect_stream(stream, &uri)), async {
        peer.expect_protocol_header().await;
        let (mut capabilities, mut server_properties) = (Table::new(), Table::new());
        capabilities.push("authentication_failure_close", true).unwrap();
        server_properties.push("capabilities", capabilities).unwrap();
        let mechanisms = "PLAIN".into();
        peer.send(0, connection::Start { server_properties, mechanisms, ..Default::default() }).await;
        peer.expect_any::<connection::StartOk>(0).await;
        drop(peer);
    });
    assert!(matches!(error(result), Error::ConnectionLost(_)));
}

#[tokio::test(start_paused = true)]
async fn secrets_are_updated_by_hand_and_answers_go_to_their_calls_in_order() {
    let (mut peer, connection) = super::connected().await;
    let (one, other, ()) = join!(
        ends(connection.update_secret("one", "rotation")),
        ends(connection.update_secret("other", "rotation")),
        async {
            for secret in ["one", "other"] {
                let update: connection::UpdateSecret = peer.expect_any(0).await;
                assert_eq!(
                    (update.new_secret.expose(), update.reason),
                    (secret.as_bytes(), short("rotation"))
                );
            }
            peer.send(0, connection::UpdateSecretOk {}).await;
            let reply_text = short("NOT_ALLOWED - New secret was refused by one of the backends");
            peer.send(0, connection::Close { reply_code: 530, reply_text, ..Default::default() }).await;
            peer.expect(0, connection::CloseOk {}).await;
        }
    );
    one.unwrap();
    assert_eq!(error(other).reply_code(), Some(ReplyCode::NOT_ALLOWED));
    assert!(error(connection.update_secret("late", "").await).is_connection_error());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_update_leaves_the_later_answers_in_step() {
    let (mut peer, connection) = super::connected().await;
    tokio::select! {
        biased;
        _ = connection.update_secret("dropped", "") => panic!("nobody answered"),
        update = peer.expect_any::<connection::UpdateSecret>(0) => {
            assert_eq!(update.new_secret.expose(), b"dropped");
        }
    }
    let (updated, ()) = join!(ends(connection.update_secret("kept", "")), async {
        peer.expect_any::<connection::UpdateSecret>(0).await;
        peer.send(0, connection::UpdateSecretOk {}).await;
        peer.send(0, connection::UpdateSecretOk {}).await;
    });
    updated.unwrap();
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_update_without_an_answer_ends_at_the_call_timeout_and_one_unasked_for_is_a_breach() {
    let (mut peer, connection) = super::connected().await;
    let begun = Instant::now();
    let late = error(ends(connection.update_secret("x", "")).await);
    assert!(matches!(late, Error::CallTimeout { method: "connection.update-secret", .. }), "{late}");
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
    peer.expect_any::<connection::UpdateSecret>(0).await;
    peer.send(0, connection::UpdateSecretOk {}).await;
    peer.send(0, connection::UpdateSecretOk {}).await;
    let close: connection::Close = peer.expect_any(0).await;
    assert_eq!(close.reply_code, 503);
}

/// A provider of numbered tokens that are valid for a hundred seconds.
fn tokens(asked: &Arc<AtomicU32>) -> ConnectOptions {
    let asked = asked.clone();
    quiet().credentials_from(move || {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                // The second token is late, and the third does not come at all.
                1 => sleep(Duration::from_secs(5)).await,
                2 => return Err("the server of tokens is away".into()),
                _ => {}
            }
            Ok(Credentials::new("", format!("token {number}")).valid_for(Duration::from_secs(100)))
        }
    })
}

async fn connected_by(options: &ConnectOptions) -> (Peer, Connection, connection::StartOk) {
    let (mut peer, stream) = Peer::new();
    let uri = Uri::default();
    let (connection, accepted) = join!(options.connect_stream(stream, &uri), peer.accept_with(QUIET));
    (peer, connection.unwrap(), accepted.start_ok)
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_asked_at_the_connect_and_again_before_its_credentials_expire() {
    let asked = Arc::new(AtomicU32::new(0));
    let (mut peer, connection, start_ok) = connected_by(&tokens(&asked)).await;
    assert_eq!(sasl::parse_plain(&start_ok.response).unwrap(), ("", "token 0"));
    let begun = Instant::now();
    // The second token comes after 80 s and 5 more; the third fails 80 s later, and is requested
    // again for 5 s after that.
    for (token, after) in [("token 1", 85), ("token 3", 170)] {
        peer.expect_silence(Duration::from_secs(after) - begun.elapsed() - Duration::from_millis(1)).await;
        let update: connection::UpdateSecret = peer.expect_any(0).await;
        assert_eq!(update.new_secret.expose(), token.as_bytes());
        assert_eq!(begun.elapsed().as_secs(), after);
        peer.send(0, connection::UpdateSecretOk {}).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    // Nothing keeps the connection open, and nothing asks for tokens once it has ended.
    drop(connection);
    peer.expect_any::<connection::Close>(0).await;
    peer.send(0, connection::CloseOk {}).await;
    peer.expect_end().await;
    sleep(Duration::from_secs(1000)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_at_the_connect_is_told_with_its_words() {
    let options = quiet().credentials_from(|| async { Err("no token today".into()) });
    let (_peer, stream) = Peer::new();
    let refused = error(ends(options.connect_stream(stream, &Uri::default())).await);
    assert!(matches!(refused, Error::Credentials(_)), "{refused}");
    assert!(Report(&refused).to_string().contains("no token today"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_do_not_expire_are_asked_for_once() {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = asked.clone();
    let options = quiet().credentials_from(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(Credentials::new("ada", "pw")) }
    });
    let (mut peer, connection, start_ok) = connected_by(&options).await;
    assert_eq!(sasl::parse_plain(&start_ok.response).unwrap(), ("ada", "pw"));
    peer.expect_silence(Duration::from_secs(100_000)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let opening = connection.open_channel();
    let (channel, ()) = join!(opening, async {
        peer.expect(1, channel::Open::default()).await;
        peer.send(1, channel::OpenOk::default()).await;
    });
    channel.unwrap();
    all_idle().await;
}
