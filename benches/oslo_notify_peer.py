"""Times oslo.messaging's notifications: oslo_notify_peer.py URL emit|listen|both COUNT; prints one JSON line.

Emitting waits for the confirm of each, which is all that it can do; the listener has the threading executor and no prefetch limit, both
its defaults.
"""

import json
import logging
import sys
import threading
import time
import warnings

warnings.simplefilter("ignore")

import oslo_messaging
from oslo_config import cfg

TOPIC = "bench-notifications"


class Endpoint:
    def __init__(self, count):
        self.left = count
        self.lock = threading.Lock()
        self.done = threading.Event()

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.done.set()


def emit(transport, count):
    notifier = oslo_messaging.Notifier(transport, "bench.host1", driver="messagingv2", topics=[TOPIC])
    for number in range(count):
        notifier.info({}, "compute.instance.resize.end", {"id": number, "name": "resize", "ok": True})


def listen(transport, count):
    endpoint = Endpoint(count)
    target = oslo_messaging.Target(topic=TOPIC)
    listener = oslo_messaging.get_notification_listener(transport, [target], [endpoint], executor="threading")
    listener.start()
    return listener, endpoint


def heard(listening):
    listener, endpoint = listening
    endpoint.done.wait()
    listener.stop()
    listener.wait()


def both(transport, count):
    listening = listen(transport, count)
    emit(transport, count)
    heard(listening)


def main():
    logging.disable(logging.CRITICAL)
    url, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    cfg.CONF([], project="bench")
    transport = oslo_messaging.get_notification_transport(cfg.CONF, url=url)
    modes = {"emit": emit, "listen": lambda *arguments: heard(listen(*arguments)), "both": both}
    wall, cpu = time.perf_counter(), time.process_time()
    modes[mode](transport, count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    line = {"mode": f"oslo-{mode}", "count": count, "msg_per_s": round(count / wall), "cpu_ns_per_msg": round(cpu * 1e9 / count)}
    print(json.dumps(line), flush=True)


main()
