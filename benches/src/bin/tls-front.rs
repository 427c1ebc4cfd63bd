//! A TLS terminator in front of a broker on loopback, so that the broker's share of TLS is not
//! measured with the client's.
//!
//! `tls-front LISTEN_PORT BROKER_PORT CA.PEM` creates an authority that signs for `localhost`,
//! writes its certificate to CA.PEM, and serves until it is killed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const BUFFER: usize = 256 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [listen, broker, authority] = &arguments[..] else {
        return Err("usage: tls-front LISTEN_PORT BROKER_PORT CA.PEM".into());
    };
    let (listen, broker): (u16, u16) = (listen.parse()?, broker.parse()?);
    let listener = TcpListener::bind(("127.0.0.1", listen)).await?;
    let acceptor = TlsAcceptor::from(Arc::new(config(authority)?));
    loop {
        let (client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let mut client = acceptor.accept(client).await?;
            let mut broker = TcpStream::connect(("127.0.0.1", broker)).await?;
            broker.set_nodelay(true)?;
            copy_bidirectional_with_sizes(&mut client, &mut broker, BUFFER, BUFFER).await?;
            Ok::<_, Failure>(())
        });
    }
}

fn config(authority: &str) -> Result<ServerConfig, Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write(authority, issuer.pem())?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    Ok(ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?)
}
