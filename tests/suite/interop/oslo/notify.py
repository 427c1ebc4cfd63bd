"""oslo.messaging's notifiers and listeners, driven by lines of JSON: commands come on standard input, answers and events leave on
standard output."""
import datetime
import decimal
import fnmatch
import json
import logging
import os
import sys
import threading
import time
import traceback
import uuid
import warnings

warnings.simplefilter("ignore")

import oslo_messaging
from oslo_config import cfg
from oslo_messaging.notify import _impl_routing
from oslo_utils import strutils

logging.disable(logging.CRITICAL)
cfg.CONF([], project="interop")
output = threading.Lock()
transports = {}
transports_lock = threading.Lock()
listeners = {}
LEVELS = ["audit", "debug", "info", "warn", "error", "critical", "sample"]


def transport(url):
    with transports_lock:
        if url not in transports:
            transports[url] = oslo_messaging.get_notification_transport(cfg.CONF, url=url)
        return transports[url]


def tagged():
    """A payload of what JSON has no form for."""
    return {
        "at": datetime.datetime(2026, 1, 2, 3, 4, 5, 678),
        "day": datetime.date(2026, 1, 2),
        "price": decimal.Decimal("1.50"),
        "id": uuid.UUID(int=5),
    }


class Redacted:
    """A request context as oslo.context has them."""

    def __init__(self, values):
        self.values = values

    def redacted_copy(self):
        return self

    def to_dict(self):
        return self.values


def emit(url, publisher, topics, driver, events, context=None, repeat=1):
    notifier = oslo_messaging.Notifier(transport(url), publisher, driver=driver, topics=topics, retry=5)
    context = Redacted(context) if context else {}
    begun = time.perf_counter()
    for _ in range(repeat):
        for level, event_type, payload in events:
            getattr(notifier, level)(context, event_type, tagged() if payload == "tagged" else payload)
    return time.perf_counter() - begun


class Heard:
    """What a listener heard, and what it does with it: `requeues` names event types, and how often they are requeued."""

    def __init__(self, requeues):
        self.events = []
        self.requeues = dict(requeues)
        self.changed = threading.Condition()

    def add(self, level, ctxt, publisher_id, event_type, payload, metadata):
        with self.changed:
            entry = {"level": level, "context": ctxt, "publisher_id": publisher_id, "event_type": event_type,
                     "payload": json.loads(json.dumps(payload, default=repr)), "metadata": metadata}
            self.events.append(entry)
            self.changed.notify_all()
            if self.requeues.get(event_type, 0) > 0:
                self.requeues[event_type] -= 1
                return oslo_messaging.NotificationResult.REQUEUE
        return oslo_messaging.NotificationResult.HANDLED

    def wait(self, count):
        with self.changed:
            self.changed.wait_for(lambda: len(self.events) >= count, timeout=30)
            return self.events


def endpoint(heard, levels, rule, batch):
    class Endpoint:
        pass

    if rule is not None:
        Endpoint.filter_rule = oslo_messaging.NotificationFilter(**rule)
    for level in levels:
        def method(self, ctxt, publisher_id, event_type, payload, metadata, level=level):
            return heard.add(level, ctxt, publisher_id, event_type, payload, metadata)

        def many(self, messages, level=level):
            results = [heard.add(level, **message) for message in messages]
            requeue = oslo_messaging.NotificationResult.REQUEUE
            return requeue if requeue in results else oslo_messaging.NotificationResult.HANDLED

        setattr(Endpoint, level, many if batch else method)
    return Endpoint()


def listen(url, name, topics, levels=LEVELS, pool=None, rule=None, requeues={}, batch=None):
    heard = Heard(requeues)
    targets = [oslo_messaging.Target(topic=topic) for topic in topics]
    endpoints = [endpoint(heard, levels, rule, batch)]
    if batch:
        running = oslo_messaging.get_batch_notification_listener(
            transport(url), targets, endpoints, executor="threading", allow_requeue=True, pool=pool, batch_size=batch,
            batch_timeout=1)
    else:
        running = oslo_messaging.get_notification_listener(
            transport(url), targets, endpoints, executor="threading", allow_requeue=True, pool=pool)
    running.start()
    listeners[name] = running, heard


def heard(name, count):
    return listeners[name][1].wait(count)


def unlisten(name):
    running, heard = listeners.pop(name)
    running.stop()
    running.wait()
    return heard.events


def match(rules, events):
    """Whether each rule fits each event."""
    result = []
    for rule in rules:
        rule = oslo_messaging.NotificationFilter(**rule)
        result.append([rule.match(e["context"], e["publisher_id"], e["event_type"], e["metadata"], e["payload"])
                       for e in events])
    return result


def route(groups, events):
    """The drivers that a group of rules chooses for each event."""
    driver = _impl_routing.RoutingDriver(cfg.CONF, [], None)
    chosen = []
    for event_type, priority in events:
        drivers = set()
        for group in groups.values():
            drivers.update(driver._get_drivers_for_message(group, event_type, priority))
        chosen.append(sorted(drivers))
    return chosen


def mask(payload):
    return strutils.mask_dict_password(payload)


COMMANDS = {f.__name__: f for f in [emit, listen, heard, unlisten, match, route, mask]}


def handle(command):
    answer = {"id": command.pop("id")}
    try:
        answer["result"] = COMMANDS[command.pop("do")](**command)
    except BaseException as error:
        answer["error"] = {"class": type(error).__name__, "text": str(error) + traceback.format_exc()}
    line = json.dumps(answer)
    with output:
        print(line, flush=True)


for line in sys.stdin:
    threading.Thread(target=handle, args=(json.loads(line),), daemon=True).start()
os._exit(0)
