//! The answers to requests.

use amqp_codec::{Method, MethodId, ShortString, method::basic};
use bytes::BytesMut;

use crate::{
    arguments::argument::{self, Argument},
    choices::Choices,
    pools::text,
};

/// The answer to a request, which most of the answers of a broker follow from; `None` when none is
/// due.
pub(super) fn answer(request: &Method, choices: &mut Choices<'_>) -> Option<Method> {
    let reply = request.id().reply()?;
    let mut payload = BytesMut::new();
    request.encode(&mut payload).ok()?;
    let (_, given) = argument::read(&payload.freeze())?;
    let of =
        |name: &str| given.iter().find(|found| found.field.name == name).map(|found| found.value.clone());
    if of("no_wait") == Some(Argument::Bit(true)) {
        return None;
    }
    let mut arguments = Vec::new();
    for field in reply.fields()? {
        let value = match field.name {
            "queue" => named(of("queue"), "amq.gen-fuzz", choices),
            "consumer_tag" => named(of("consumer_tag"), "amq.ctag-fuzz", choices),
            "active" => of("active"),
            "message_count" | "consumer_count" => Some(Argument::Number(choices.below(5) as u64)),
            "ticket" => Some(Argument::Number(1)),
            _ => None,
        };
        arguments.extend(value.map(|value| (field.name, value)));
    }
    argument::method(reply, &arguments)
}

/// The tag of a consumer: the client's, or one that the broker makes.
pub(super) fn consumer_tag(consume: &basic::Consume, answer: Option<&Method>) -> ShortString {
    match answer.cloned().map(basic::ConsumeOk::try_from) {
        Some(Ok(ok)) => ok.consumer_tag,
        _ => consume.consumer_tag.clone(),
    }
}

fn named(given: Option<Argument>, made: &str, choices: &mut Choices<'_>) -> Option<Argument> {
    match given {
        Some(Argument::ShortString(name)) if !name.is_empty() => Some(Argument::ShortString(name)),
        _ => Some(Argument::ShortString(text(&format!("{made}-{:016x}", choices.unique())))),
    }
}

/// The methods that a broker may send, by their ids.
pub fn server_methods() -> impl Iterator<Item = MethodId> {
    let all = MethodId::ALL.iter().copied();
    all.filter(|id| id.sender().is_some_and(amqp_codec::Sender::may_be_server))
}
