"""Does with kombu what src/bin/mailbox.rs does: kombu_mailbox_peer.py URL nodes COUNT [FIRST] | calls COUNT | all COUNT NODES."""

import json
import socket
import sys
import threading
import time

from kombu import Connection
from kombu.pidbox import Mailbox

url, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
mailbox = Mailbox("bench", type="fanout")


def serve():
    """Runs the nodes in one thread and on one connection, until the standard input ends."""
    with Connection(url) as connection:
        first = int(sys.argv[4]) if len(sys.argv) > 4 else 0
        for number in range(first, first + count):
            channel = connection.channel()
            bound = mailbox(connection)
            node = bound.Node(f"n{number}", state=None, channel=channel)
            node.handlers["echo"] = lambda state, **arguments: arguments
            node.listen(channel=channel)
        print("ready", flush=True)
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        while not ended.is_set():
            try:
                connection.drain_events(timeout=0.5)
            except socket.timeout:
                pass


def call(nodes):
    names = [f"n{number}" for number in range(nodes)]
    times = []
    with Connection(url) as connection:
        bound = mailbox(connection)
        for number in range(count + 1):
            begun = time.perf_counter()
            replies = bound.call(names, "echo", {"value": number}, timeout=60)
            assert len(replies) == nodes, len(replies)
            if number > 0:
                times.append(time.perf_counter() - begun)
    times.sort()
    line = {"mode": mode, "nodes": nodes, "calls_per_s": round(count / sum(times)), "p50_ms": times[len(times) // 2] * 1e3}
    print(json.dumps(line))


if mode == "nodes":
    serve()
else:
    call(1 if mode == "calls" else int(sys.argv[4]))
