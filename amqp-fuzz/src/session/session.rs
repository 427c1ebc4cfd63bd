//! The model of a client.

use amqp_codec::{
    Frame, Method, ReplyCode, ShortString,
    method::{channel, connection},
};
use bytes::Bytes;

use super::{handshake, receiving};
use crate::acts::{
    binding, channels, consuming, declaring, publishing, refusals, settling,
    violations::{Violation, violate},
};
use crate::client::{
    channel::{Channel, Effect, Pending},
    fault::Fault,
    options::SessionOptions,
    state::State,
    step::{Refused, Step},
};
use crate::{choices::Choices, pools::text, wire_frame::WireFrame};

/// How many steps are taken without an answer, before one is asked for.
const MOST_AHEAD: usize = 12;

/// How often another act is tried when one is not possible.
const TRIES: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Open,
    /// The broker must close the connection for this.
    Doomed(Violation),
    Closing,
    Ended,
}

type Act = fn(&mut State, u16, &mut Choices<'_>) -> Option<Step>;

/// What a channel does, each with its weight. Others may be busy meanwhile.
const ACTS: &[(usize, Act)] = &[
    (6, declaring::new_queue),
    (2, declaring::known_queue),
    (4, declaring::new_exchange),
    (1, declaring::known_exchange),
    (1, declaring::purge),
    (5, binding::bind_queue),
    (3, binding::bind_exchange),
    (16, publishing::publish),
    (5, consuming::consume),
    (1, consuming::consume_replies),
    (6, consuming::get),
    (8, settling::settle),
    (2, settling::recover),
    (3, channels::qos),
    (1, channels::flow),
    (1, channels::ticket),
    (2, channels::confirms),
    (2, channels::transactions),
    (3, channels::complete),
];

/// What a channel does only while all others have nothing under way, because they might be using
/// what goes.
const QUIET_ACTS: &[(usize, Act)] = &[
    (2, declaring::delete_queue),
    (1, declaring::delete_exchange),
    (1, declaring::short_life),
    (2, binding::unbind),
    (2, consuming::cancel),
    (1, channels::close),
];

/// A client that behaves: it decides what to do by [`Choices`], and knows what it may do.
///
/// It has no socket. Its [`opening`](Session::opening) is sent first; each frame of the broker is
/// given to [`received`](Session::received), whose frames are sent at once; and
/// [`next`](Session::next) has the frames of the next act. An act is a request, a message with its
/// content, or the like. [`Link`](crate::Link) does all this over a stream that blocks.
///
/// What the broker does wrong is in [`faults`](Session::faults).
#[derive(Clone, Debug)]
pub struct Session {
    state: State,
    stage: Stage,
    ahead: usize,
    faults: Vec<Fault>,
}

impl Session {
    /// A session that has not begun.
    pub fn new(options: SessionOptions) -> Self {
        let stage = if options.is_told { Stage::Opening } else { Stage::Open };
        Session { state: State::new(options), stage, ahead: 0, faults: Vec::new() }
    }

    /// The first octets to send: the protocol header, and all of the handshake if the session is
    /// not told what the broker sends.
    pub fn opening(&self) -> Bytes {
        match self.state.options.is_told {
            true => handshake::header(),
            false => handshake::ahead(&self.state.options),
        }
    }

    /// Takes a frame of the broker. Returns what to send at once: the answers that the protocol
    /// demands.
    pub fn received(&mut self, frame: &Frame) -> Vec<Frame> {
        if self.stage == Stage::Ended {
            return Vec::new();
        }
        match frame {
            Frame::Method(0, Method::Connection(method)) => self.connection(method),
            Frame::Heartbeat(_) => Vec::new(),
            // A doomed connection is closed without regard to what is under way.
            _ if matches!(self.stage, Stage::Closing | Stage::Doomed(_)) => Vec::new(),
            frame => {
                self.ahead = 0;
                receiving::receive(&mut self.state, frame, &mut self.faults).into_iter().collect()
            }
        }
    }

    /// Returns whether the connection is open and the session may act.
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Returns whether the session can do nothing before the broker sends something.
    pub fn is_waiting(&self) -> bool {
        match self.stage {
            Stage::Open => {
                self.state.awaits_connection.is_some()
                    || (!self.state.channels.is_empty() && self.free_channels().is_empty())
                    || (self.ahead > MOST_AHEAD && !self.is_quiet())
            }
            Stage::Opening | Stage::Doomed(_) | Stage::Closing => true,
            Stage::Ended => false,
        }
    }

    /// Returns whether no answer is to come.
    pub fn is_quiet(&self) -> bool {
        let channels = &self.state.channels;
        self.state.awaits_connection.is_none() && channels.values().all(Channel::is_free)
    }

    /// Returns whether the connection has been closed by either side.
    pub fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// What the broker has done wrong so far.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Stops waiting for the answers that are to come, after what was sent for them was changed.
    pub fn give_up(&mut self) {
        self.state.awaits_connection = None;
        self.ahead = 0;
        for channel in self.state.channels.values_mut() {
            channel.pending = None;
        }
        self.state.channels.retain(|_, channel| channel.doomed.is_none());
    }

    /// The largest frame that both sides have agreed on, in bytes.
    pub fn frame_max(&self) -> usize {
        self.state.frame_max
    }

    /// The next act. It has no frames while the session is waiting, and when it has ended.
    pub fn next(&mut self, choices: &mut Choices<'_>) -> Step {
        if self.stage != Stage::Open || self.is_waiting() {
            return Step::default();
        }
        self.ahead += 1;
        let step = self.act(choices);
        if !self.state.options.is_told {
            return self.presume(step);
        }
        step
    }

    /// The last act of a client that behaves: it closes the connection.
    pub fn close(&mut self) -> Step {
        if self.stage != Stage::Open {
            return Step::default();
        }
        self.stage = if self.state.options.is_told { Stage::Closing } else { Stage::Ended };
        let reply_text = text("done");
        let close = connection::Close { reply_code: ReplyCode::SUCCESS.0, reply_text, ..Default::default() };
        vec![Frame::Method(0, close.into())].into()
    }

    /// Deletes what the session has declared, for brokers that outlive it. It needs a session that
    /// is quiet, and an open channel.
    pub fn clean(&mut self) -> Step {
        let Some(number) = self.free_channels().first().copied() else { return Step::default() };
        let mut frames = Vec::new();
        let topology = std::mem::take(&mut self.state.topology);
        for queue in topology.queues {
            let delete = amqp_codec::method::queue::Delete {
                queue: queue.declared.queue,
                no_wait: true,
                ..Default::default()
            };
            frames.push(Frame::Method(number, delete.into()));
        }
        for exchange in topology.exchanges.into_iter().filter(|exchange| !exchange.is_system) {
            let delete = amqp_codec::method::exchange::Delete {
                exchange: exchange.declared.exchange,
                no_wait: true,
                ..Default::default()
            };
            frames.push(Frame::Method(number, delete.into()));
        }
        frames.into()
    }

    /// Breaks the protocol in one way, on a channel that is open. The broker must close the
    /// connection with the code that is returned. `None` while no channel is free, or a message is
    /// under way.
    pub fn violate(
        &mut self,
        violation: Violation,
        choices: &mut Choices<'_>,
    ) -> Option<(Vec<WireFrame>, Refused)> {
        if self.stage != Stage::Open {
            return None;
        }
        let free = self.free_channels();
        let number = *choices.pick(&free)?;
        let frames = violate(violation, &self.state, number, choices);
        let code = violation.code();
        self.stage = Stage::Doomed(violation);
        Some((frames, Refused { channel: 0, code }))
    }

    fn connection(&mut self, method: &connection::Method) -> Vec<Frame> {
        let on_connection = |method: Method| vec![Frame::Method(0, method)];
        match method {
            connection::Method::Close(close) => {
                let code = ReplyCode(close.reply_code);
                let expected = self.violation().map(Violation::code);
                if !self.violation().is_some_and(|violation| violation.allows(code)) {
                    let text = close.reply_text.clone();
                    self.faults.push(Fault::Closed { channel: 0, code, text, expected });
                }
                self.stage = Stage::Ended;
                on_connection(connection::CloseOk {}.into())
            }
            connection::Method::CloseOk(_) if self.stage == Stage::Closing => {
                self.stage = Stage::Ended;
                Vec::new()
            }
            connection::Method::OpenOk(_) if self.stage == Stage::Opening => {
                self.stage = Stage::Open;
                Vec::new()
            }
            connection::Method::Tune(_) => {
                let answer = handshake::answer(&mut self.state, method);
                let open = handshake::open(&self.state.options).into();
                answer.into_iter().chain([open]).map(|method| Frame::Method(0, method)).collect()
            }
            connection::Method::Blocked(_) | connection::Method::Unblocked(_) => Vec::new(),
            method => {
                let id = Method::Connection(method.clone()).id();
                if self.state.awaits_connection.take_if(|awaited| *awaited == id).is_some() {
                    return Vec::new();
                }
                match handshake::answer(&mut self.state, method) {
                    Some(answer) if self.stage == Stage::Opening => on_connection(answer),
                    _ => {
                        self.faults.push(Fault::Unasked { channel: 0, method: id });
                        Vec::new()
                    }
                }
            }
        }
    }

    fn violation(&self) -> Option<Violation> {
        match self.stage {
            Stage::Doomed(violation) => Some(violation),
            _ => None,
        }
    }

    fn free_channels(&self) -> Vec<u16> {
        let channels = self.state.channels.iter();
        channels.filter(|(_, channel)| channel.is_free()).map(|(number, _)| *number).collect()
    }

    fn act(&mut self, choices: &mut Choices<'_>) -> Step {
        let state = &mut self.state;
        if (state.channels.is_empty() || choices.one_in(12))
            && let Some(step) = channels::open(state, choices)
        {
            return step;
        }
        if choices.one_in(64) && state.channels.values().all(Channel::is_free) {
            return channels::update_secret(state).unwrap_or_default();
        }
        if choices.one_in(64) {
            return vec![Frame::Heartbeat(0)].into();
        }
        let free: Vec<_> = state
            .channels
            .iter()
            .filter(|(_, channel)| channel.is_free())
            .map(|(number, _)| *number)
            .collect();
        let Some(&number) = choices.pick(&free) else { return Step::default() };
        // Who is far ahead asks something, so that both sides read.
        if self.ahead > MOST_AHEAD {
            return channels::flow(state, number, choices).unwrap_or_default();
        }
        for _ in 0..TRIES {
            let step = match choices.below(10) {
                0 if state.options.refusals && choices.one_in(3) => {
                    with_quiet(state, number, choices, refusals::refused)
                }
                1 => weighted(QUIET_ACTS, choices).and_then(|act| with_quiet(state, number, choices, act)),
                _ => weighted(ACTS, choices).and_then(|act| act(state, number, choices)),
            };
            if let Some(step) = step {
                return step;
            }
        }
        publishing::publish(state, number, choices).unwrap_or_default()
    }

    /// Takes for granted that the broker does what was asked for.
    fn presume(&mut self, mut step: Step) -> Step {
        self.state.awaits_connection = None;
        let numbers: Vec<_> = self.state.channels.keys().copied().collect();
        for number in numbers {
            let Some(channel) = self.state.channels.get_mut(&number) else { continue };
            if channel.doomed.is_some() {
                step.frames.push(Frame::Method(number, channel::CloseOk {}.into()));
                self.state.remove_channel(number);
                continue;
            }
            let Some(Pending { effect, .. }) = channel.pending.take() else { continue };
            if matches!(effect, Effect::Closed) {
                self.state.remove_channel(number);
                continue;
            }
            self.state.settle_names(number);
            let name = presumed_name(&effect, &step);
            self.state.apply(number, effect, name);
        }
        self.ahead = 0;
        step
    }
}

/// Acts while all other channels have nothing under way. If they have, the first of them that can
/// asks something, whose answer ends that.
fn with_quiet(state: &mut State, number: u16, choices: &mut Choices<'_>, act: Act) -> Option<Step> {
    if state.others_are_quiet(number) {
        return act(state, number, choices);
    }
    let busy = state.channels.iter().find(|(_, channel)| channel.is_free() && channel.is_ahead);
    let busy = *busy?.0;
    channels::flow(state, busy, choices)
}

fn weighted(acts: &[(usize, Act)], choices: &mut Choices<'_>) -> Option<Act> {
    let mut at = choices.below(acts.iter().map(|(weight, _)| weight).sum());
    acts.iter()
        .find(|(weight, _)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        })
        .map(|(_, act)| *act)
}

/// The name that the answer to the step would repeat.
fn presumed_name(effect: &Effect, step: &Step) -> Option<ShortString> {
    let Some(Frame::Method(_, method)) = step.frames.last() else { return None };
    match (effect, method.clone()) {
        (Effect::Declared(queue), _) => Some(queue.declared.queue.clone()),
        (Effect::Found, method) => {
            amqp_codec::method::queue::Declare::try_from(method).ok().map(|it| it.queue)
        }
        (Effect::Consumes(_), method) => {
            amqp_codec::method::basic::Consume::try_from(method).ok().map(|it| it.consumer_tag)
        }
        _ => None,
    }
}

/// The methods that a client may send, by their ids.
pub fn client_methods() -> impl Iterator<Item = amqp_codec::MethodId> {
    let all = amqp_codec::MethodId::ALL.iter().copied();
    all.filter(|id| id.sender().is_some_and(amqp_codec::Sender::may_be_client))
}

#[cfg(test)]
mod tests {
    use amqp_codec::Arguments as _;

    use super::*;

    #[test]
    fn a_session_that_is_told_nothing_never_waits() {
        let mut session =
            Session::new(SessionOptions { is_told: false, refusals: true, ..Default::default() });
        let mut choices = Choices::from_seed(1);
        for _ in 0..1000 {
            assert!(!session.next(&mut choices).frames.is_empty());
        }
        assert_eq!(session.close().frames.len(), 1);
        assert!(session.is_ended());
    }

    #[test]
    fn an_answer_to_what_had_to_be_refused_is_a_fault() {
        let mut session = Session::new(SessionOptions { is_told: false, ..Default::default() });
        session.next(&mut Choices::from_seed(1));
        let number = *session.state.channels.keys().next().unwrap();
        session.state.refused(number, ReplyCode::NOT_FOUND, Step::default());
        session.received(&Frame::Method(number, channel::FlowOk { active: true }.into()));
        let (method, expected) = (channel::FlowOk::ID, ReplyCode::NOT_FOUND);
        assert_eq!(session.faults(), [Fault::NotRefused { channel: number, method, expected }]);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_a_fault() {
        let mut session = Session::new(SessionOptions { is_told: false, ..Default::default() });
        session.next(&mut Choices::from_seed(1));
        let number = *session.state.channels.keys().next().unwrap();
        session.received(&Frame::Method(number, channel::CloseOk {}.into()));
        let method = channel::CloseOk::ID;
        assert_eq!(session.faults(), [Fault::Unasked { channel: number, method }]);
    }
}
