"""Does with kombu what src/bin/wakeups.rs does: kombu_wakeups_peer.py URL COUNT; prints one JSON line."""

import json
import queue
import sys
import threading
import time

from kombu import Connection, Consumer, Producer, Queue

url, count = sys.argv[1], int(sys.argv[2])
QUEUE = "bench-wakeups"
IDLE = 0.005
arrived = queue.Queue()
ready = threading.Event()


def consume():
    def handle(body, message):
        now = time.perf_counter()
        message.ack()
        arrived.put((body, now))

    with Connection(url) as connection:
        with Consumer(connection.channel(), Queue(QUEUE), callbacks=[handle], accept=["json"], prefetch_count=1):
            ready.set()
            while True:
                try:
                    connection.drain_events(timeout=1)
                except TimeoutError:
                    pass


threading.Thread(target=consume, daemon=True).start()
ready.wait()
times = []
with Connection(url) as connection:
    producer = Producer(connection.channel())
    for number in range(count + 1):
        time.sleep(IDLE)
        begun = time.perf_counter()
        producer.publish({"n": number}, routing_key=QUEUE)
        body, now = arrived.get(timeout=60)
        assert body == {"n": number}, body
        if number > 0:
            times.append(now - begun)
times.sort()
part = lambda share: times[len(times) * share // 100] * 1e6
print(json.dumps({"count": count, "p50_us": part(50), "p99_us": part(99)}))
