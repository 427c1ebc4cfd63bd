"""An application of Celery with tasks: its worker, and what sends a task.

usage: MODE BROKER PREFIX [ARGUMENT...]
"""

import sys
import time

from celery import Celery

mode, broker, prefix = sys.argv[1:4]
arguments = sys.argv[4:]
app = Celery("tests", broker=broker, backend="rpc://")
app.conf.update(
    control_exchange=prefix + "control",
    event_exchange=prefix + "events",
    task_default_queue=prefix + "tasks",
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=50,
)


@app.task(name="tests.add")
def add(a, b=0):
    return a + b


@app.task(name="tests.shown", bind=True)
def shown(self, *args, **kwargs):
    request = self.request
    return {
        "args": args,
        "kwargs": kwargs,
        "id": request.id,
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "timelimit": request.timelimit,
        "priority": request.delivery_info.get("priority"),
        "argsrepr": request.argsrepr,
        "kwargsrepr": request.kwargsrepr,
    }


@app.task(name="tests.fail")
def fail(text):
    raise ValueError(text, 7)


@app.task(name="tests.nap")
def nap(seconds):
    time.sleep(seconds)


seen = []


@app.task(name="tests.note")
def note(value):
    seen.append(value)


@app.task(name="tests.noted")
def noted():
    return seen


if mode == "worker":
    app.worker_main(["worker", "--pool", "solo", "--loglevel", "INFO", "--without-gossip", "--without-mingle", "-n", "w1@host"])
else:
    shown.apply_async((2, "it's"), {"b": None}, task_id=arguments[0], priority=3, soft_time_limit=5)
