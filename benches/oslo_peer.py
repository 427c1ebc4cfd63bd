"""Times oslo.messaging on the jobs of the RPC benchmark: oslo_peer.py URL call-N COUNT; prints one JSON line.

A server and a client in this process, as in the benchmark beside it; N threads call one method, which adds two numbers.
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

logging.disable(logging.CRITICAL)
cfg.CONF([], project="bench")
TOPIC = "bench-rpc-oslo"


class Math:
    target = oslo_messaging.Target(version="1.0")

    def add(self, context, a, b):
        return a + b


def transport(url):
    return oslo_messaging.get_rpc_transport(cfg.CONF, url=url)


def call(client, left, lock, errors):
    while True:
        with lock:
            if not left:
                return
            number = left.pop()
        if client.call({}, "add", a=number, b=1) != number + 1:
            errors.append(number)


def main():
    url, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    in_flight = int(mode.removeprefix("call-"))
    target = oslo_messaging.Target(topic=TOPIC, server="s", version="1.0")
    server = oslo_messaging.get_rpc_server(transport(url), target, [Math()], executor="threading")
    server.start()
    client = oslo_messaging.get_rpc_client(transport(url), oslo_messaging.Target(topic=TOPIC, version="1.0"))
    client.call({}, "add", a=0, b=1)
    left, lock, errors = list(range(count)), threading.Lock(), []
    wall, cpu = time.perf_counter(), time.process_time()
    threads = [threading.Thread(target=call, args=(client, left, lock, errors)) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert not errors, errors
    server.stop()
    server.wait()
    line = {"mode": f"oslo-{mode}", "count": count, "msg_per_s": round(count / wall), "cpu_ns_per_msg": round(cpu * 1e9 / count)}
    print(json.dumps(line))


main()
