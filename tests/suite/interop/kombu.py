"""Talks to the broker at argv[1] with kombu, over queues whose names begin with argv[2]; the peer has declared them all and has
published to `to_python`. Checks what is there, then publishes to `to_rust`. Any failure is an exception, and so the exit code."""

import sys
import time as clock
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

from kombu import Connection, Consumer, Producer, Queue

EVERYTHING = {
    "naive": datetime(2024, 1, 2, 3, 4, 5, 678901),
    "utc": datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "fixed": datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=3, minutes=30))),
    "date": date(2024, 1, 2),
    "time": time(3, 4, 5, 6),
    "decimal": Decimal("1.50"),
    "small": Decimal("1E-7"),
    "uuid": uuid.UUID("12345678123456781234567812345678"),
    "text_bytes": b"abc",
    "other_bytes": b"\xff\x00",
    "some": date(2024, 1, 2),
    "none": None,
}
PLAIN = {"text": "\u00e9\U0001f600", "big": 1 << 80, "float": 1.5, "list": [1, None, True, {}]}
PACKED = {"name": "\u00e9", "size": 300, "data": b"\xff\x00"}
HEADERS = {
    "bool": True,
    "int": -7,
    "big": 1 << 40,
    "float": 1.5,
    "none": None,
    "text": "\u00e9",
    "bytes": b"\xff",
    "list": [1, "a"],
    "dict": {"at": datetime(2024, 1, 1)},
    # Without a zero at its end, which py-amqp loses.
    "decimal": Decimal("1.25"),
}
COMPRESSIONS = ["zlib", "bzip2", "lzma", "brotli", "zstd"]
LONG = "again and " * 1000

# What the peer has published, by message id.
EXPECTED = {
    "tagged": EVERYTHING,
    "plain": PLAIN,
    "text": "\u00e9",
    "raw": b"\xff\x00",
    "msgpack": PACKED,
    "headers": 1,
    "properties": 2,
    "requeue": 3,
    **{compression: LONG for compression in COMPRESSIONS},
}
ACCEPT = ["json", "msgpack", "text/plain", "application/data"]
SECONDS = 30


def main(url, prefix):
    options = {"confirm_publish": True}
    with Connection(url, transport_options=options) as connection:
        channel = connection.channel()
        receive(connection, channel, f"{prefix}.to_python")
        get_by_priority(channel, f"{prefix}.priority")
        assert channel.basic_get(f"{prefix}.expired") is None, "an expired message is there"
        publish(channel, prefix)


def receive(connection, channel, queue):
    missing = set(EXPECTED)
    seen = set()

    def on_message(body, message):
        name = message.properties["message_id"]
        same(name, body, EXPECTED[name])
        if name == "requeue" and name not in seen:
            assert not message.delivery_info["redelivered"]
            seen.add(name)
            message.requeue()
            return
        assert message.delivery_info["redelivered"] == (name == "requeue"), name
        if name == "headers":
            same(name, message.headers, HEADERS)
        if name == "properties":
            check_properties(message.properties)
        if name in COMPRESSIONS:
            assert len(message.headers) == 1 and "compression" in message.headers, message.headers
        message.ack()
        missing.remove(name)

    def on_decode_error(message, error):
        raise AssertionError(f"{message.properties['message_id']}: {error}")

    consumer = Consumer(channel, [Queue(queue, no_declare=True)], accept=ACCEPT, prefetch_count=1)
    consumer.register_callback(on_message)
    consumer.on_decode_error = on_decode_error
    deadline = clock.monotonic() + SECONDS
    with consumer:
        while missing:
            left = deadline - clock.monotonic()
            assert left > 0, f"did not come: {missing}"
            connection.drain_events(timeout=left)


def check_properties(properties):
    expected = {
        "delivery_mode": 1,
        "priority": 7,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "type": "k",
        "app_id": "a",
        "user_id": "guest",
        "timestamp": 1700000000,
    }
    got = {name: properties.get(name) for name in expected}
    # A time for some versions of the library.
    if isinstance(got["timestamp"], datetime):
        got["timestamp"] = int(got["timestamp"].replace(tzinfo=timezone.utc).timestamp())
    assert got == expected, got


def get_by_priority(channel, queue):
    messages = [channel.basic_get(queue, no_ack=True) for _ in range(3)]
    priorities = [message.properties["priority"] for message in messages]
    assert priorities == [9, 5, 1], priorities


def publish(channel, prefix):
    producer = Producer(channel, routing_key=f"{prefix}.to_rust")
    producer.publish(EVERYTHING, message_id="tagged")
    odd = {"nan": float("nan"), "infinity": float("-inf"), "big": 1 << 80, "lone": "\ud800"}
    producer.publish(odd, message_id="odd")
    producer.publish("\u00e9", message_id="text")
    producer.publish(b"\xff\x00", message_id="bytes")
    producer.publish("\u00e9", serializer="raw", message_id="raw")
    producer.publish(PACKED, serializer="msgpack", message_id="msgpack")
    producer.publish(EVERYTHING["uuid"], serializer="pickle", message_id="pickle")
    for compression in COMPRESSIONS:
        producer.publish(LONG, serializer="json", compression=compression, message_id=compression)
    producer.publish(1, headers=HEADERS, message_id="headers")
    producer.publish(
        2,
        message_id="properties",
        delivery_mode=1,
        priority=7,
        correlation_id="c",
        reply_to="r",
        expiration=60,
        type="k",
        app_id="a",
        user_id="guest",
        timestamp=1700000000,
    )
    producer.publish(3, message_id="requeue")
    for priority in [1, 9, 5]:
        producer.publish(priority, routing_key=f"{prefix}.priority", priority=priority)
    producer.publish("late", routing_key=f"{prefix}.expired", expiration=0)


def same(name, got, expected):
    """Equal, and of the same types: 1 is no True, and a date no datetime."""
    assert type(got) is type(expected), f"{name}: {got!r} is no {type(expected)}"
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), f"{name}: {got!r}"
        for key, value in expected.items():
            same(f"{name}.{key}", got[key], value)
    elif isinstance(expected, list):
        assert len(got) == len(expected), f"{name}: {got!r}"
        for at, value in enumerate(expected):
            same(f"{name}[{at}]", got[at], value)
    else:
        assert got == expected and str(got) == str(expected), f"{name}: {got!r} is not {expected!r}"


main(*sys.argv[1:])
