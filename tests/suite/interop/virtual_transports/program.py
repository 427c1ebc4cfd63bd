"""pika on the broker at the URL in argv[2]: argv[1] names the job, argv[3] the queue. Any failure is the exit code."""

import json
import sys

import pika


def publish(channel, queue, exchange, priorities):
    """Publishes a task of each priority, as kombu would, and waits for its confirm."""
    channel.confirm_delivery()
    for priority in json.loads(priorities):
        properties = pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            headers={"lang": "py", "task": "demo.add", "nested": {"list": [1, None]}},
            correlation_id=f"pika-{priority}",
            delivery_mode=2,
            priority=priority,
        )
        channel.basic_publish(exchange, queue, json.dumps([priority, "\u00e9"]), properties, mandatory=True)


def task(channel, queue, identifier, *numbers):
    """Publishes a task for a worker of Celery, and waits for its confirm."""
    channel.confirm_delivery()
    headers = {"lang": "py", "task": "tests.add", "id": identifier, "root_id": identifier}
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        correlation_id=identifier,
        delivery_mode=2,
    )
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = [[int(number) for number in numbers], {}, embed]
    channel.basic_publish("", queue, json.dumps(body), properties, mandatory=True)


def consume(channel, queue, count):
    """Acknowledges so many messages, and prints their bodies and properties."""
    got = []
    channel.basic_qos(prefetch_count=1)
    for method, properties, body in channel.consume(queue, inactivity_timeout=20):
        assert method is not None, f"nothing more after {got}"
        got.append({"body": json.loads(body), "headers": properties.headers, "priority": properties.priority})
        channel.basic_ack(method.delivery_tag)
        if len(got) == int(count):
            break
    channel.cancel()
    print(json.dumps(got))


connection = pika.BlockingConnection(pika.URLParameters(sys.argv[2]))
{job.__name__: job for job in (publish, task, consume)}[sys.argv[1]](connection.channel(), *sys.argv[3:])
connection.close()
