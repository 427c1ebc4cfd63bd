"""oslo.messaging, driven by lines of JSON: commands come on standard input, answers leave on standard output."""
import json
import logging
import sys
import threading
import time
import traceback
import warnings

warnings.simplefilter("ignore")

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.rpc import dispatcher

logging.disable(logging.CRITICAL)
cfg.CONF([], project="interop")
output = threading.Lock()
transports = {}
transports_lock = threading.Lock()
servers = {}


def transport(url):
    """One for each URL, whose query holds the options."""
    with transports_lock:
        if url not in transports:
            transports[url] = oslo_messaging.get_rpc_transport(cfg.CONF, url=url)
        return transports[url]


class AppError(Exception):
    def __init__(self, message, code=None):
        super().__init__(message)
        self.kwargs = {"code": code}


class Plain:
    target = oslo_messaging.Target(version="1.5")

    def __init__(self, name):
        self.name = name
        self.count = 0

    def echo(self, ctxt, value):
        return value

    def add(self, ctxt, a, b):
        return a + b

    def fail(self, ctxt, message):
        raise ValueError(message)

    def fail_app(self, ctxt, message):
        raise AppError(message, code=500)

    def sleep(self, ctxt, seconds):
        time.sleep(seconds)

    def whoami(self, ctxt):
        return self.name

    def user(self, ctxt):
        return ctxt.get("user")

    def odd(self, ctxt):
        return {"nan": float("nan"), "big": 2**80, "surrogate": "\ud800", "text": "é😀"}

    def bump(self, ctxt):
        self.count += 1

    def counted(self, ctxt):
        return self.count


class Namespaced:
    target = oslo_messaging.Target(namespace="ns", version="2.3")

    def echo(self, ctxt, value):
        return {"ns": value}


def serve(url, topic, server, exchange=None, **_):
    target = oslo_messaging.Target(topic=topic, server=server, exchange=exchange)
    running = oslo_messaging.get_rpc_server(
        transport(url), target, [Plain(server), Namespaced()], executor="threading",
        access_policy=dispatcher.DefaultRPCAccessPolicy)
    running.start()
    servers[server, topic] = running


def stop(topic, server, **_):
    running = servers.pop((server, topic))
    running.stop()
    running.wait()


def send(url, kind, topic, method, args, version=None, namespace=None, server=None, timeout=30, monitor=None,
         context=None, repeat=1, exchange=None, **_):
    target = oslo_messaging.Target(topic=topic, exchange=exchange, version=version, namespace=namespace, server=server,
                                   fanout=True if kind == "fanout" else None)
    if args == "odd":
        # What Python writes and JSON does not have, or says otherwise.
        args = {"value": {"nan": float("nan"), "big": 2**80, "surrogate": "\ud800", "text": "é😀"}}
    client = oslo_messaging.get_rpc_client(transport(url), target, timeout=timeout, call_monitor_timeout=monitor)
    context = context or {}
    if kind != "call":
        return client.cast(context, method, **args)
    if repeat == 1:
        return client.call(context, method, **args)
    took = []
    begun = time.perf_counter()
    for _ in range(repeat):
        before = time.perf_counter()
        client.call(context, method, **args)
        took.append(time.perf_counter() - before)
    elapsed = time.perf_counter() - begun
    took.sort()
    return {"rate": repeat / elapsed, "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


def handle(command):
    answer = {"id": command["id"]}
    try:
        answer["result"] = {"serve": serve, "stop": stop, "send": send}[command.pop("do")](**command)
    except BaseException as error:
        answer["error"] = {
            "class": type(error).__name__,
            "text": str(error),
            "remote": getattr(error, "exc_type", None),
            "value": getattr(error, "value", None),
            "traceback": traceback.format_exc(),
        }
    line = json.dumps(answer)
    with output:
        print(line, flush=True)


for line in sys.stdin:
    threading.Thread(target=handle, args=(json.loads(line),), daemon=True).start()
