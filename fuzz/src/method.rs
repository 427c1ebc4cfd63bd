use amqp_codec::{
    Error, Method,
    borrowed::{self, Deliver, Publish},
    method::basic,
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
    if data.starts_with(&borrowed::PUBLISH) {
        same_publish(bounded(0, || Publish::decode(data)), decoded);
    } else if data.starts_with(&borrowed::DELIVER) {
        same_deliver(bounded(0, || Deliver::decode(data)), decoded);
    } else {
        assert_eq!(Publish::decode(data), Ok(None));
        assert_eq!(Deliver::decode(data), Ok(None));
    }
}

/// Written and read again it is the same, and written again the same bytes.
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
