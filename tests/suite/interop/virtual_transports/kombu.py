"""Publishes to and consumes from a virtual transport of kombu, and does what comes on standard input.

The URL is argv[1], and argv[2] the transport options as JSON. A command is a JSON object on one line, and so is its
answer: {"result": ...} or {"error": {"class", "text"}}. "queue" names a queue, or says how it is declared: {"name",
"exchange", "type", "key", ...}.
"""

import json
import sys
import time
import warnings

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.common import Broadcast

# What is not this far in time does not come at all.
PATIENCE = 20
warnings.simplefilter("ignore")

connection = Connection(sys.argv[1], transport_options=json.loads(sys.argv[2]))


def queue(wanted):
    if isinstance(wanted, str):
        wanted = {"name": wanted}
    exchange = Exchange(wanted.get("exchange", ""), wanted.get("type", "direct"))
    options = {"expires": wanted["expires"]} if "expires" in wanted else {}
    return Queue(wanted["name"], exchange, routing_key=wanted.get("key", wanted["name"]), **options)


def declare(command):
    queue(command["queue"])(connection.default_channel).declare()


def publish(command):
    exchange = Exchange(command.get("exchange", ""), command.get("type", "direct"))
    producer = Producer(connection.channel(), exchange=exchange)
    for body in command["bodies"]:
        producer.publish(
            body,
            routing_key=command["key"],
            headers=command.get("headers"),
            priority=command.get("priority", 0),
            correlation_id=command.get("correlation_id"),
        )
    producer.channel.close()


def consume(command):
    """Acknowledges what it gets, or with "hold" leaves it as it is and keeps the channel."""
    got = []
    channel = connection.channel()

    def on_message(body, message):
        got.append(
            {
                "body": body,
                "headers": message.headers,
                "priority": message.properties.get("priority"),
                "expiration": message.properties.get("expiration"),
                "correlation_id": message.properties.get("correlation_id"),
                "exchange": message.delivery_info.get("exchange"),
                "key": message.delivery_info.get("routing_key"),
            }
        )
        if not command.get("hold"):
            message.ack()

    consumer = Consumer(channel, [queue(command["queue"])], callbacks=[on_message], accept=["application/json", "text/plain"])
    consumer.qos(prefetch_count=command.get("prefetch", 1))
    with consumer:
        until = time.monotonic() + PATIENCE
        while len(got) < command["count"] and time.monotonic() < until:
            try:
                connection.drain_events(timeout=0.2)
            except TimeoutError:
                pass
    if not command.get("hold"):
        channel.close()
    return got


LISTENING = []


def listen(command):
    """Consumes from a Broadcast queue from now on."""

    def on_message(body, message):
        LISTENING.append(body)
        message.ack()

    queue = Broadcast(command["exchange"])
    Consumer(connection.channel(), [queue], callbacks=[on_message], accept=["application/json", "text/plain"]).consume()
    hear({"count": 1, "patience": 0.2})


def hear(command):
    """Waits until the Broadcast queue has had so many messages; returns their bodies."""
    until = time.monotonic() + command.get("patience", PATIENCE)
    while len(LISTENING) < command["count"] and time.monotonic() < until:
        try:
            connection.drain_events(timeout=0.2)
        except TimeoutError:
            pass
    return LISTENING


def restore(command):
    """Lets the transport return what others hold for too long."""
    channel = connection.channel()
    channel.qos.restore_visible(interval=1)
    channel.close()


def sweep(command):
    """Deletes the tables of bindings whose time is over, as every consumer of kombu does now and then."""
    channel = connection.channel()
    channel.sweep_bindings()
    channel.close()


def size(command):
    return queue(command["queue"])(connection.default_channel).queue_declare().message_count


def simple(command):
    """Puts the bodies into a SimpleQueue, or takes so many out of it."""
    with connection.SimpleQueue(command["name"]) as taken:
        for body in command.get("bodies", []):
            taken.put(body)
        got = []
        for _ in range(command.get("count", 0)):
            message = taken.get(timeout=PATIENCE)
            got.append(message.payload)
            message.ack()
        return got


JOBS = {job.__name__: job for job in (declare, publish, consume, listen, hear, restore, simple, size, sweep)}

for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = {"result": JOBS[order["do"]](order)}
    except Exception as error:
        answer = {"error": {"class": type(error).__name__, "text": str(error)}}
    print(json.dumps(answer))
