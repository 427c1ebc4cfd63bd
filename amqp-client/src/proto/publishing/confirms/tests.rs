//! Confirms, against a model too.

use amqp_codec::{ContentHeader, EncodedProperties};

use super::*;
use crate::{
    message::Message,
    options::route::Route,
    proto::consuming::delivery::{RawDelivery, join_head},
};

struct Fixture {
    confirms: Confirms,
    progress: Arc<Progress>,
}

fn with_publishes(count: u64) -> Fixture {
    let progress = Arc::new(Progress::default());
    let mut confirms = Confirms::new(progress.clone());
    for tag in 1..=count {
        assert_eq!(confirms.published(10, false), tag);
    }
    Fixture { confirms, progress }
}

impl Fixture {
    fn outcomes(&mut self, tags: std::ops::RangeInclusive<u64>) -> String {
        tags.map(|tag| match self.confirms.poll(tag, Waker::noop()) {
            Poll::Pending => '.',
            Poll::Ready(Settled::Ack) => 'a',
            Poll::Ready(Settled::Nack) => 'n',
            Poll::Ready(Settled::Returned(_)) => 'r',
            Poll::Ready(Settled::Lost(_)) => 'l',
        })
        .collect()
    }

    fn settle(&mut self, tag: u64, multiple: bool, nack: bool) -> usize {
        let mut wakes = Vec::new();
        self.confirms.settle(tag, multiple, nack, &mut wakes);
        wakes.len()
    }
}

fn returned(key: &str, body: &'static str) -> RawReturn {
    let method = Bytes::from([&[1, b'e', key.len() as u8], key.as_bytes()].concat());
    let header =
        ContentHeader { class_id: 60, body_size: body.len() as u64, properties: EncodedProperties::NONE };
    let (head, at) = join_head(&method, &header);
    let content = RawDelivery::new(head, 0, at, Bytes::from_static(body.as_bytes()), 0, false, true);
    RawReturn { code: 312, text: "NO_ROUTE".into(), content }
}

#[test]
fn ack_multiple_settles_all_up_to_the_tag() {
    let mut fixture = with_publishes(5);
    fixture.settle(3, true, false);
    assert_eq!(fixture.outcomes(1..=5), "aaa..");
    assert!(fixture.progress.is_acked(3) && !fixture.progress.is_acked(4));
    assert_eq!(fixture.confirms.in_flight(), 2);
}

#[test]
fn nack_multiple_settles_all_up_to_the_tag_but_what_was_acked_before() {
    let mut fixture = with_publishes(4);
    fixture.settle(2, false, false);
    fixture.settle(3, true, true);
    assert!(!fixture.progress.is_acked(1));
    assert_eq!(fixture.outcomes(1..=4), "nan.");
}

#[test]
fn tag_zero_with_multiple_settles_everything_so_far() {
    let mut fixture = with_publishes(3);
    fixture.settle(0, true, false);
    assert_eq!(fixture.outcomes(1..=3), "aaa");
    assert_eq!(fixture.settle(0, true, false), 0);
}

#[test]
fn only_who_waits_for_a_settled_tag_is_woken() {
    let mut fixture = with_publishes(4);
    assert_eq!(fixture.outcomes(1..=4), "....");
    assert_eq!(fixture.settle(2, false, false), 1);
    assert_eq!(fixture.settle(3, true, false), 2);
    assert_eq!(fixture.confirms.wakers.len(), 1);
}

#[test]
fn tags_never_given_or_settled_before_are_ignored() {
    let mut fixture = with_publishes(2);
    fixture.settle(9, true, true);
    fixture.settle(9, false, true);
    fixture.settle(1, false, false);
    fixture.settle(1, false, true);
    assert_eq!(fixture.outcomes(1..=2), "a.");
}

#[test]
fn a_return_belongs_to_the_oldest_equal_mandatory_publish() {
    let mut fixture = with_publishes(4);
    for (tag, key, body) in [(1, "k", "x"), (2, "k", "y"), (3, "k", "x"), (4, "l", "x")] {
        fixture.confirms.mandatory(tag, b"e", key.as_bytes(), Bytes::from_static(str::as_bytes(body)));
    }
    assert!(fixture.confirms.returned(returned("k", "x")).is_none());
    assert!(fixture.confirms.returned(returned("l", "x")).is_none());
    assert!(fixture.confirms.returned(returned("m", "x")).is_some(), "nobody has published it");
    fixture.settle(4, true, false);
    assert_eq!(fixture.outcomes(1..=4), "raar");
}

#[test]
fn what_was_not_returned_before_a_later_answer_is_not_taken_for_what_is() {
    for is_given_up in [true, false] {
        let mut fixture = with_publishes(3);
        fixture.confirms.mandatory(1, b"e", b"k", Bytes::from_static(b"x"));
        if is_given_up {
            fixture.confirms.give_up(1, &mut Vec::new());
        }
        fixture.settle(2, false, false);
        fixture.confirms.mandatory(3, b"e", b"k", Bytes::from_static(b"x"));
        assert_eq!(fixture.confirms.mandatory.len(), if is_given_up { 1 } else { 2 });
        let _ = fixture.confirms.returned(returned("k", "x"));
        fixture.settle(3, false, false);
        assert_eq!(fixture.outcomes(2..=3), "ar");
        fixture.settle(1, false, false);
        assert_eq!(fixture.outcomes(1..=1), "a");
    }
}

#[test]
fn what_is_published_again_is_not_taken_for_what_was_returned_before() {
    let mut fixture = with_publishes(1);
    let route = Route { exchange: "e", routing_key: "k", mandatory: true };
    fixture.confirms.mandatory(1, b"e", b"k", Bytes::from_static(b"x"));
    fixture.confirms.keep(1, Kept::new(route, &Message::new("x")));
    let _ = fixture.confirms.returned(returned("k", "x"));
    let mut wakes = Vec::new();
    assert_eq!(fixture.confirms.lose(true, &Error::ConnectionEnded, &mut wakes), 0);
    assert_eq!(fixture.confirms.republish(|_| Ok(()), &mut wakes), 1);
    fixture.settle(1, false, false);
    assert!(fixture.progress.is_acked(1));
    assert_eq!(fixture.outcomes(1..=1), "a");
}

#[test]
fn the_window_opens_with_each_answer_whatever_older_ones_are_owed() {
    let mut fixture = with_publishes(5);
    fixture.settle(2, false, false);
    fixture.settle(5, false, true);
    assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (3, 30));
    fixture.settle(4, true, false);
    assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (0, 0));
}

#[test]
fn what_is_given_up_takes_no_room_and_its_late_return_and_answer_are_nobodys() {
    let mut fixture = with_publishes(3);
    for tag in 1..=3 {
        fixture.confirms.mandatory(tag, b"e", b"k", Bytes::from_static(b"x"));
    }
    fixture.confirms.give_up(1, &mut Vec::new());
    assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (2, 20));
    let _ = fixture.confirms.returned(returned("k", "x"));
    fixture.settle(1, false, true);
    fixture.settle(3, true, false);
    assert_eq!(fixture.outcomes(2..=3), "aa");
    assert!(fixture.confirms.outcomes.is_empty() && fixture.confirms.mandatory.is_empty());
    assert!(fixture.progress.is_acked(3));
}

#[test]
fn what_lies_behind_the_last_answer_is_unanswered_whatever_became_of_its_confirm() {
    let mut fixture = with_publishes(6);
    assert_eq!(fixture.confirms.unanswered(), 1..7);
    fixture.settle(4, false, true);
    fixture.settle(2, true, false);
    fixture.confirms.give_up(6, &mut Vec::new());
    assert_eq!(fixture.confirms.unanswered(), 5..7);
    fixture.settle(0, true, false);
    assert!(fixture.confirms.unanswered().is_empty());
}

#[test]
fn a_broker_that_answers_nothing_leaves_little_of_what_is_given_up() {
    let mut fixture = with_publishes(0);
    for _ in 0..10_000 {
        let tag = fixture.confirms.published(10, false);
        fixture.confirms.mandatory(tag, b"e", b"k", Bytes::from_static(b"x"));
        fixture.confirms.give_up(tag, &mut Vec::new());
    }
    assert_eq!(fixture.confirms.in_flight(), 0);
    assert_eq!(fixture.confirms.mandatory.len(), GIVEN_UP_KEPT);
    assert!(fixture.confirms.is_settled_up_to(10_000));
}

#[test]
fn one_that_is_overtaken_for_long_is_open_until_it_is_answered() {
    let mut fixture = with_publishes(1);
    for _ in 0..5000 {
        let tag = fixture.confirms.published(10, false);
        fixture.settle(tag, false, false);
    }
    assert_eq!(fixture.outcomes(1..=2), ".a");
    assert!(!fixture.progress.is_acked(1) && !fixture.progress.is_acked(2));
    fixture.confirms.flush_waiters.wait(&mut None, Waker::noop());
    assert!(!fixture.confirms.is_settled_up_to(1));
    assert_eq!(fixture.settle(1, true, false), 2);
    assert_eq!(fixture.outcomes(1..=1), "a");
    assert!(fixture.progress.is_acked(5001));
}

#[test]
fn once_what_was_not_a_plain_ack_is_told_acks_need_no_lock_again() {
    let mut fixture = with_publishes(3);
    fixture.settle(1, false, true);
    fixture.settle(3, true, false);
    assert!(!fixture.progress.is_acked(3));
    assert_eq!(fixture.outcomes(1..=1), "n");
    assert!(fixture.progress.is_acked(3));
}

#[test]
fn what_cannot_be_published_again_is_lost_and_holds_up_no_flush() {
    let mut fixture = with_publishes(2);
    let kept = || Kept::new(Route { exchange: "", routing_key: "q", mandatory: false }, &Message::new("x"));
    fixture.confirms.keep(1, kept());
    fixture.confirms.keep(2, kept());
    let mut wakes = Vec::new();
    assert_eq!(fixture.confirms.lose(true, &Error::ConnectionEnded, &mut wakes), 0);
    fixture.confirms.flush_waiters.wait(&mut None, Waker::noop());
    assert!(!fixture.confirms.is_settled_up_to(2));
    let refused = |_: &Kept| Err(CodecError::ChannelNotOpen);
    assert_eq!(fixture.confirms.republish(refused, &mut wakes), 0);
    assert_eq!((wakes.len(), fixture.confirms.losses(), fixture.confirms.in_flight()), (1, 2, 0));
    assert!(fixture.confirms.is_settled_up_to(2));
    assert_eq!(fixture.outcomes(1..=2), "ll");
}

#[test]
fn a_flush_is_over_when_all_before_it_are_settled_whatever_comes_after() {
    let mut fixture = with_publishes(2);
    let confirms = &mut fixture.confirms;
    let upto = confirms.newest();
    confirms.published(10, false);
    confirms.flush_waiters.wait(&mut None, Waker::noop());
    assert!(!confirms.is_settled_up_to(upto));
    assert_eq!(fixture.settle(2, true, false), 1);
    assert!(fixture.confirms.is_settled_up_to(upto));
}

#[test]
fn a_forgotten_publish_leaves_nothing_behind() {
    let mut fixture = with_publishes(3);
    fixture.confirms.mandatory(2, b"e", b"k", Bytes::new());
    for tag in 1..=3 {
        fixture.confirms.forget(tag);
    }
    let _ = fixture.confirms.returned(returned("k", ""));
    fixture.settle(3, true, true);
    let confirms = fixture.confirms;
    assert!(confirms.outcomes.is_empty() && confirms.mandatory.is_empty() && confirms.in_flight() == 0);
}
