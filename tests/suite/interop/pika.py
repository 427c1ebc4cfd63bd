"""Talks to the broker at the URL in argv[2], with pika; argv[1] names the job. Any failure is an exception, and so the exit code."""

import sys

import pika


def main(job, url, *arguments):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    JOBS[job](channel, *arguments)
    connection.close()


def everything(channel):
    """Publishes with confirms, consumes with acks, gets, rejects, and is told of what cannot be routed."""
    channel.exchange_declare("py.topic", "topic", durable=True)
    channel.queue_declare("py.jobs", durable=True)
    channel.queue_bind("py.jobs", "py.topic", "job.#")
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        content_type="text/plain",
        delivery_mode=2,
        headers={"text": "\u00e9", "number": 7, "nested": {"list": [1, "a", None]}},
        correlation_id="c",
        message_id="m",
    )
    for number in range(200):
        channel.basic_publish("py.topic", f"job.{number}", f"body {number}", properties, mandatory=True)
    try:
        channel.basic_publish("py.topic", "nowhere", "x", mandatory=True)
    except pika.exceptions.UnroutableError as error:
        assert error.messages[0].method.reply_code == 312, error
    else:
        raise AssertionError("an unroutable message was not returned")

    channel.basic_qos(prefetch_count=10)
    numbers = []
    for method, got, body in channel.consume("py.jobs", inactivity_timeout=20):
        assert method is not None, f"nothing more after {len(numbers)} messages"
        number = len(numbers)
        assert body == f"body {number}".encode(), body
        assert method.routing_key == f"job.{number}" and not method.redelivered
        assert got.headers == properties.headers and got.delivery_mode == 2, got
        channel.basic_ack(method.delivery_tag)
        numbers.append(number)
        if len(numbers) == 199:
            break
    channel.cancel()

    method, _, body = channel.basic_get("py.jobs")
    assert body == b"body 199" and method.message_count == 0
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, body = channel.basic_get("py.jobs")
    assert body == b"body 199" and method.redelivered
    channel.basic_reject(method.delivery_tag, requeue=False)
    assert channel.basic_get("py.jobs") == (None, None, None)
    assert channel.queue_declare("py.jobs", passive=True).method.message_count == 0
    channel.queue_delete("py.jobs")
    channel.exchange_delete("py.topic")


def refusals(channel):
    """The broker's errors are pika's exceptions, with code and text."""
    connection = channel.connection
    for call, code, text in [
        (lambda c: c.queue_declare("nope", passive=True), 404, "NOT_FOUND - no queue 'nope' in vhost '/'"),
        (lambda c: c.basic_ack(99) or c.queue_declare(""), 406, "PRECONDITION_FAILED - unknown delivery tag 99"),
        (lambda c: c.exchange_declare("amq.mine"), 403, "reserved prefix"),
    ]:
        try:
            call(connection.channel())
        except pika.exceptions.ChannelClosedByBroker as error:
            assert error.reply_code == code and text in error.reply_text, error
        else:
            raise AssertionError(f"{code} {text} was not refused")


def publish(channel, queue, count):
    channel.confirm_delivery()
    for number in range(int(count)):
        channel.basic_publish("", queue, f"from pika {number}", mandatory=True)


def consume(channel, queue, count):
    for number in range(int(count)):
        method, _, body = next(channel.consume(queue, inactivity_timeout=20))
        assert body == f"from rust {number}".encode(), body
        channel.basic_ack(method.delivery_tag)
    channel.cancel()


JOBS = {"everything": everything, "refusals": refusals, "publish": publish, "consume": consume}
main(*sys.argv[1:])
