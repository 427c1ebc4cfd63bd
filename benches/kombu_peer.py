"""Times kombu on the jobs of the messaging benchmark: kombu_peer.py URL publish|consume COUNT; prints one JSON line.

Publishing waits for the confirm of each message, which is all that kombu can do; consuming has a prefetch of 1000.
"""

import json
import sys
import time

from kombu import Connection, Consumer, Producer, Queue

QUEUE = "bench-messaging"


def publish(connection, count):
    channel = connection.channel()
    producer = Producer(channel)
    Queue(QUEUE, channel=channel).declare()
    for number in range(count):
        event = {"id": number, "name": "resize", "ok": True}
        producer.publish(event, routing_key=QUEUE, delivery_mode=2, retry=True)


def consume(connection, count):
    left = count

    def handle(body, message):
        nonlocal left
        message.ack()
        left -= 1

    with Consumer(connection.channel(), Queue(QUEUE), callbacks=[handle], accept=["json"], prefetch_count=1000):
        while left:
            connection.drain_events(timeout=60)


def main():
    url, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        wall, cpu = time.perf_counter(), time.process_time()
        {"publish": publish, "consume": consume}[mode](connection, count)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    line = {"mode": f"kombu-{mode}", "count": count, "msg_per_s": round(count / wall), "cpu_ns_per_msg": round(cpu * 1e9 / count)}
    print(json.dumps(line))


main()
