//! The encoding of persistent state: keys and values.

use amqp_codec::{ShortString, Table};
use bytes::{Buf, BufMut, Bytes};

use crate::core::{
    content::message::{Message, Packed},
    journal::records::{DurableBinding, Record, Stored},
    rabbitmq::{
        exchange_declaration::{ExchangeDeclaration, Kind},
        policies::{
            invalid_policy::InvalidPolicy,
            policy::{Policy, PolicyTarget},
        },
    },
};

/// The first octet of a key is the kind of its record.
pub(crate) const EXCHANGE: u8 = b'e';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const BINDING: u8 = b'b';
/// The next offset of an empty stream.
pub(crate) const EMPTIED: u8 = b's';
pub(crate) const POLICY: u8 = b'p';

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

const REDELIVERED: u8 = 1;
const BODY_APART: u8 = 2;
const RETURNED: u8 = 4;

/// The key of an exchange or a queue.
pub(crate) fn entity_key(kind: u8, serial: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    if let Some(place) = key.last_chunk_mut() {
        *place = serial.to_be_bytes();
    }
    key
}

pub(crate) fn exchange(declared: &ExchangeDeclaration) -> Vec<u8> {
    let flags = AUTO_DELETE * u8::from(declared.auto_delete) + INTERNAL * u8::from(declared.internal);
    let kind = ShortString::from_static(declared.kind.name());
    entity(flags, &[&kind, &declared.name], &declared.arguments)
}

pub(crate) fn queue(name: &ShortString, auto_delete: bool, arguments: &Table) -> Vec<u8> {
    entity(AUTO_DELETE * u8::from(auto_delete), &[name], arguments)
}

fn entity(flags: u8, names: &[&ShortString], arguments: &Table) -> Vec<u8> {
    let mut value = vec![flags];
    for name in names {
        value.put_u8(name.len() as u8);
        value.put_slice(name.as_bytes());
    }
    value.put_slice(arguments.as_encoded());
    value
}

/// Reads an exchange or a queue; `None` when the record is neither.
pub(crate) fn read_entity(key: &[u8], value: &[u8]) -> Option<Record> {
    let (&kind, serial) = key.split_first()?;
    let serial = u64::from_be_bytes(serial.try_into().ok()?);
    let (&flags, mut rest) = value.split_first()?;
    let auto_delete = flags & AUTO_DELETE != 0;
    match kind {
        EXCHANGE => {
            let kind = Kind::parse(&read_name(&mut rest)?)?;
            let name = read_name(&mut rest)?;
            let arguments = Table::from_encoded(Bytes::copy_from_slice(rest)).ok()?;
            let internal = flags & INTERNAL != 0;
            let declared =
                ExchangeDeclaration { name, kind, durable: true, auto_delete, internal, arguments };
            Some(Record::ExchangeDeclared { serial, declared })
        }
        QUEUE => {
            let name = read_name(&mut rest)?;
            let arguments = Table::from_encoded(Bytes::copy_from_slice(rest)).ok()?;
            Some(Record::QueueDeclared { serial, name, auto_delete, arguments })
        }
        _ => None,
    }
}

fn read_name(from: &mut &[u8]) -> Option<ShortString> {
    let length = from.try_get_u8().ok()?;
    let (name, rest) = from.split_at_checked(length.into())?;
    *from = rest;
    ShortString::from_bytes("name", Bytes::copy_from_slice(name)).ok()
}

/// Reads the next offset of an empty stream.
pub(crate) fn read_emptied(key: &[u8], value: &[u8]) -> Option<Record> {
    let (_, queue) = key.split_first()?;
    let (queue, end) =
        (u64::from_be_bytes(queue.try_into().ok()?), u64::from_be_bytes(value.try_into().ok()?));
    Some(Record::Emptied { queue, end })
}

/// The key of a binding. It holds a hash of the arguments, which may be long.
pub(crate) fn binding_key(binding: &DurableBinding) -> Vec<u8> {
    let mut key = vec![BINDING];
    key.put_u64(binding.source);
    key.put_u64(binding.destination);
    key.put_u8(binding.to_exchange.into());
    key.put_u64(fnv(binding.arguments.as_encoded()));
    key.put_slice(binding.key.as_bytes());
    key
}

/// The hash FNV-1a, which is the same in every version; the standard library's is not.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

pub(crate) fn read_binding(key: &[u8], arguments: &[u8]) -> Option<DurableBinding> {
    let (_, mut rest) = key.split_first()?;
    let (source, destination) = (rest.try_get_u64().ok()?, rest.try_get_u64().ok()?);
    let to_exchange = rest.try_get_u8().ok()? != 0;
    let _hash = rest.try_get_u64().ok()?;
    Some(DurableBinding {
        source,
        destination,
        to_exchange,
        key: ShortString::from_bytes("routing key", Bytes::copy_from_slice(rest)).ok()?,
        arguments: Table::from_encoded(Bytes::copy_from_slice(arguments)).ok()?,
    })
}

/// The key of a policy.
pub(crate) fn policy_key(name: &ShortString, is_of_operator: bool) -> Vec<u8> {
    [&[POLICY, is_of_operator.into()], name.as_bytes()].concat()
}

pub(crate) fn policy(policy: &Policy) -> Vec<u8> {
    let mut value = Vec::new();
    let target = policy.target.name();
    value.put_u8(target.len() as u8);
    value.put_slice(target.as_bytes());
    value.put_i64(policy.priority);
    value.put_u32(policy.pattern.len() as u32);
    value.put_slice(policy.pattern.as_bytes());
    value.put_slice(policy.definition.as_encoded());
    value
}

/// Reads a policy; `None` when the record is none.
///
/// # Errors
/// This version of the broker has no such policies.
pub(crate) fn read_policy(key: &[u8], value: &[u8]) -> Option<Result<Policy, InvalidPolicy>> {
    let [_, is_of_operator, name @ ..] = key else { return None };
    let (name, mut rest) = (str::from_utf8(name).ok()?, value);
    let target = read_name(&mut rest)?;
    let target = PolicyTarget::named(target.as_str().ok()?)?;
    let priority = rest.try_get_i64().ok()?;
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    let (pattern, definition) = rest.split_at_checked(length)?;
    let pattern = str::from_utf8(pattern).ok()?;
    let definition = Table::from_encoded(Bytes::copy_from_slice(definition)).ok()?;
    let policy = match is_of_operator {
        0 => Policy::new(name, pattern, definition),
        _ => Policy::for_operators(name, pattern, definition),
    };
    Some(policy.map(|policy| policy.apply_to(target).priority(priority)))
}

/// The key of a message: keys sort in the order of the queue.
pub(crate) fn message_key(queue: u64, position: u64) -> [u8; 16] {
    (u128::from(queue) << 64 | u128::from(position)).to_be_bytes()
}

/// The record of a message; a large body is stored separately under its number. The clock began
/// `began` milliseconds after 1970.
pub(crate) fn message(stored: &Stored, body: Option<u64>, began: u64) -> Vec<u8> {
    let packed = stored.message.pack();
    let mut value = Vec::with_capacity(32 + packed.bytes.len());
    value.put_u8(
        REDELIVERED * u8::from(stored.redelivered)
            + BODY_APART * u8::from(body.is_some())
            + RETURNED * u8::from(stored.returns > 0),
    );
    value.put_u8(stored.priority);
    value.put_u64(stored.expires_at.saturating_add(began));
    value.put_u16(packed.header_at);
    value.put_u32(packed.body_at);
    value.put_u16(packed.blind);
    value.extend(body.iter().flat_map(|number| number.to_be_bytes()));
    if stored.returns > 0 {
        value.put_u32(stored.returns);
    }
    value.put_slice(packed.bytes);
    value
}

/// A message as it was read.
pub(crate) struct Written {
    pub(crate) stored: Stored,
    /// The number of its body, when that is stored separately.
    pub(crate) body: Option<u64>,
}

/// Reads a message; `body` finds a large body by its number.
pub(crate) fn read_message(
    key: &[u8],
    mut value: &[u8],
    began: u64,
    body: impl FnOnce(u64) -> Option<std::sync::Arc<Vec<Bytes>>>,
) -> Option<Written> {
    let key = u128::from_be_bytes(key.try_into().ok()?);
    let (flags, priority) = (value.try_get_u8().ok()?, value.try_get_u8().ok()?);
    let expires_at = value.try_get_u64().ok()?;
    let (header_at, body_at) = (value.try_get_u16().ok()?, value.try_get_u32().ok()?);
    let blind = value.try_get_u16().ok()?;
    let number = if flags & BODY_APART == 0 { None } else { Some(value.try_get_u64().ok()?) };
    let returns = if flags & RETURNED == 0 { 0 } else { value.try_get_u32().ok()? };
    let large = match number {
        Some(number) => Some(body(number)?),
        None => None,
    };
    let packed = Packed { bytes: value, header_at, body_at, blind, large: large.as_ref() };
    let stored = Stored {
        queue: (key >> 64) as u64,
        position: key as u64,
        expires_at: if expires_at == u64::MAX { u64::MAX } else { expires_at.saturating_sub(began) },
        priority,
        redelivered: flags & REDELIVERED != 0,
        returns,
        message: Message::unpack(packed),
    };
    Some(Written { stored, body: number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::content::message::Draft;

    fn arguments() -> Table {
        let mut table = Table::new();
        table.insert("x-max-length", 5).unwrap();
        table
    }

    #[test]
    fn what_is_written_is_read_again() {
        let name = ShortString::from_static("orders");
        let key = entity_key(QUEUE, 7);
        let read = read_entity(&key, &queue(&name, true, &arguments()));
        let Some(Record::QueueDeclared { serial: 7, name: read, auto_delete: true, arguments: table }) = read
        else {
            panic!("{read:?}")
        };
        assert_eq!((read, table), (name.clone(), arguments()));

        let declared = ExchangeDeclaration {
            name,
            kind: Kind::Topic,
            durable: true,
            auto_delete: false,
            internal: true,
            arguments: arguments(),
        };
        let read = read_entity(&entity_key(EXCHANGE, 8), &exchange(&declared));
        let Some(Record::ExchangeDeclared { serial: 8, declared: read }) = read else { panic!("{read:?}") };
        assert_eq!((read.kind, read.internal, read.auto_delete), (Kind::Topic, true, false));
        assert_eq!((read.name, read.arguments), (declared.name, declared.arguments));

        let key = ShortString::from_static("a.#");
        let binding =
            DurableBinding { source: 1, destination: 7, to_exchange: false, key, arguments: arguments() };
        let read = read_binding(&binding_key(&binding), binding.arguments.as_encoded());
        assert_eq!(read, Some(binding));
    }

    #[test]
    fn a_message_is_read_again_by_another_clock() {
        let mut draft = Draft::default();
        draft.start(b"e", b"k");
        draft.header(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x10, 0, 2]);
        draft.small(b"hi");
        let stored = Stored {
            queue: 7,
            position: 9,
            expires_at: 500,
            priority: 3,
            redelivered: true,
            returns: 4,
            message: draft.message(false, None),
        };
        let value = message(&stored, None, 10_000);
        let read = read_message(&message_key(7, 9), &value, 10_200, |_| None).unwrap().stored;
        assert_eq!((read.queue, read.position, read.expires_at, read.priority), (7, 9, 300, 3));
        assert_eq!((read.redelivered, read.returns), (true, 4));
        let (before, after) = (stored.message.parts(), read.message.parts());
        assert_eq!((before.route, before.header, before.small), (after.route, after.header, after.small));
        for cut in 0..value.len().min(22) {
            assert!(read_message(&message_key(7, 9), &value[..cut], 0, |_| None).is_none());
        }
    }
}
