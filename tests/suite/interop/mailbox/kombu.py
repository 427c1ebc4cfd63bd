"""Nodes and callers of kombu's mailboxes, which do what comes on standard input.

A command is a JSON object on one line, and so is its answer: {"result": ...} or {"error": {"class", "text"}}.
"""

import json
import re
import socket
import sys
import threading
import time
import warnings

import amqp
from kombu import Connection, pidbox

URL = sys.argv[1]
# What is not this far in time does not come at all.
PATIENCE = 20
warnings.simplefilter("ignore")


class Odd(pidbox.Node):
    """A node whose replies lack something."""

    lacks = None

    def reply(self, data, exchange, routing_key, ticket, **kwargs):
        with self.channel.connection.channel() as channel:
            headers = {} if self.lacks == "ticket" else {"ticket": ticket}
            properties = {} if self.lacks == "content type" else {"content_type": "application/json"}
            message = amqp.Message(json.dumps(data), application_headers=headers, **properties)
            channel.basic_publish(message, exchange=exchange, routing_key=routing_key)


def mailbox(command, connection):
    return pidbox.Mailbox(command["namespace"], type=command["type"])(connection)


class Served:
    """A node and the thread that it runs in."""

    def __init__(self, command):
        self.connection = Connection(URL)
        box = mailbox(command, self.connection)
        box.node_cls = Odd
        handlers = {"echo": echo, "state": state, "fail": fail, "big": big}
        self.node = box.Node(command["name"], state={"seen": 7}, channel=self.connection.channel(), handlers=handlers)
        self.node.lacks = command.get("lacks")
        if self.node.lacks is None:
            self.node.__class__ = pidbox.Node
        subscribes = URL.startswith("redis") and command["type"] == "fanout"
        before = subscriptions() if subscribes else 0
        try:
            self.consumer = self.node.listen()
        except Exception:
            self.connection.release()
            raise
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        # On Redis the thread subscribes, and what is published before does not come.
        while subscribes and subscriptions() == before:
            time.sleep(0.01)

    def run(self):
        while not self.stopping.is_set():
            try:
                self.connection.drain_events(timeout=0.05)
            except socket.timeout:
                pass
        self.connection.release()

    def stop(self):
        self.stopping.set()
        self.thread.join(PATIENCE)


def subscriptions():
    """How many patterns the clients of a Redis have subscribed to."""
    with Connection(URL) as connection:
        return sum(int(client["psub"]) for client in connection.default_channel.client.client_list())


def echo(state, value):
    return {"ok": value}


def state(state):
    return dict(state)


def fail(state):
    raise ValueError("it's no luck")


def big(state):
    return [2**70, 1.5, None, "é😀"]


served = {}


def node(command):
    served[command["name"]] = Served(command)


def stop(command):
    served.pop(command["name"]).stop()


def call(command):
    with Connection(URL) as connection:
        named = {name: command[name] for name in ("destination", "timeout", "limit", "pattern", "matcher") if name in command}
        reply = command.get("reply", True)
        box = mailbox(command, connection)
        return box._broadcast(command["method"], command.get("arguments", {}), reply=reply, **named)


for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"result": {"node": node, "stop": stop, "call": call}[command.pop("do")](command)}
    except Exception as error:
        answer = {"error": {"class": type(error).__name__, "text": re.sub(r"\s+", " ", str(error))}}
    print(json.dumps(answer), flush=True)
