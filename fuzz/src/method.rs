use amqp_codec::{
    Arguments as _, Error, Method, MethodId,
    borrowed::{Ack, Deliver, Nack, Publish, Reject},
    method::basic,
    parse::complete,
};
use bytes::{Bytes, BytesMut};

use crate::allocation::bounded;

/// A method frame's payload.
pub fn method(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    let decoded = bounded(data.len(), || Method::decode(&payload));
    match &decoded {
        Ok(method) => same_again(method),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    same_parsed(data, &decoded);
    let id = MethodId::peek(data).unwrap_or_default();
    if id == basic::Publish::ID {
        return same_publish(bounded(0, || Publish::decode(data)), decoded);
    }
    assert_eq!(Publish::decode(data), Ok(None));
    if id == basic::Deliver::ID {
        return same_deliver(bounded(0, || Deliver::decode(data)), decoded);
    }
    assert_eq!(Deliver::decode(data), Ok(None));
    same_settlement(data, id, decoded);
}

/// Checks that the parser accepts what the table's reader accepts, and reports the same errors.
fn same_parsed(data: &[u8], decoded: &Result<Method, Error>) {
    match (bounded(0, || complete::method(data)), decoded) {
        (Ok((rest, method)), Ok(decoded)) => {
            assert_eq!((rest, method.decode().as_ref()), (&[][..], Ok(decoded)));
        }
        (Ok((rest, _)), Err(error)) => {
            assert!(matches!(error, Error::TrailingBytes { count, .. } if *count == rest.len()), "{error}");
        }
        (Err(_), Ok(decoded)) => panic!("{decoded:?} is not parsed"),
        (Err(parsed), Err(error)) if data.len() >= 4 => assert_eq!(parsed, nom::Err::Error(error.clone())),
        (Err(_), Err(_)) => {}
    }
}

fn same_settlement(data: &[u8], id: MethodId, owned: Result<Method, Error>) {
    let read = |wanted, read: Result<Option<Method>, Error>| {
        let expected = if id == wanted { owned.clone().map(Some) } else { Ok(None) };
        assert_eq!(read, expected);
    };
    let ack = bounded(0, || Ack::decode(data));
    let nack = bounded(0, || Nack::decode(data));
    let reject = bounded(0, || Reject::decode(data));
    read(
        basic::Ack::ID,
        ack.map(|it| it.map(|Ack { delivery_tag, multiple }| basic::Ack { delivery_tag, multiple }.into())),
    );
    let nacked =
        |Nack { delivery_tag, multiple, requeue }| basic::Nack { delivery_tag, multiple, requeue }.into();
    read(basic::Nack::ID, nack.map(|it| it.map(nacked)));
    let rejected = |Reject { delivery_tag, requeue }| basic::Reject { delivery_tag, requeue }.into();
    read(basic::Reject::ID, reject.map(|it| it.map(rejected)));
}

/// Checks that a method that is written and read again is the same, and has the same bytes.
pub(crate) fn same_again(method: &Method) {
    let payload = encoded(method);
    let read = Method::decode(&payload);
    assert_eq!(read.as_ref(), Ok(method));
    assert_eq!(format!("{read:?}"), format!("Ok({method:?})"));
    assert_eq!(read.map(|read| encoded(&read)), Ok(payload));
}

fn encoded(method: &Method) -> Bytes {
    let mut out = BytesMut::new();
    method.encode(&mut out).expect("it was not too long to be read");
    out.freeze()
}

fn same_publish(borrowed: Result<Option<Publish<'_>>, Error>, owned: Result<Method, Error>) {
    let owned = owned.map(|method| basic::Publish::try_from(method).expect("its number says so"));
    assert_eq!(
        borrowed.map(|method| method.map(|it| (it.exchange, it.routing_key, it.mandatory, it.immediate))),
        owned
            .as_ref()
            .map(|it| Some((it.exchange.as_bytes(), it.routing_key.as_bytes(), it.mandatory, it.immediate)))
            .map_err(Clone::clone)
    );
}

fn same_deliver(borrowed: Result<Option<Deliver<'_>>, Error>, owned: Result<Method, Error>) {
    let owned = owned.map(|method| basic::Deliver::try_from(method).expect("its number says so"));
    assert_eq!(
        borrowed.map(|method| {
            method.map(|it| (it.consumer_tag, it.delivery_tag, it.redelivered, it.exchange, it.routing_key))
        }),
        owned
            .as_ref()
            .map(|it| {
                let tag = it.consumer_tag.as_bytes();
                let names = (it.exchange.as_bytes(), it.routing_key.as_bytes());
                Some((tag, it.delivery_tag, it.redelivered, names.0, names.1))
            })
            .map_err(Clone::clone)
    );
}
