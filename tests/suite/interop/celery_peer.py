"""Celery as a worker, as its command line, and as a watcher of events.

usage: MODE BROKER NAMESPACE [ARGUMENT...]

The environment may name a KEY_PREFIX for all keys of a Redis, and another RESULT_BACKEND.
"""

import json
import os
import sys

from celery import Celery

mode, broker, namespace = sys.argv[1:4]
arguments = sys.argv[4:]
# Results are kept where the tasks are, if that is possible.
backend = os.environ.get("RESULT_BACKEND", broker if broker.startswith("redis") else None)
app = Celery("tests", broker=broker, backend=backend)
app.conf.update(
    control_exchange=namespace,
    event_exchange=namespace + ".events",
    task_default_queue=namespace + ".tasks",
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": os.environ.get("KEY_PREFIX", "")} if broker.startswith("redis") else {},
)


@app.task(name="tests.add")
def add(a, b):
    return a + b


def watch():
    """Prints what is known of all nodes and tasks after each event, a line of JSON each."""
    state = app.events.State()

    def seen(event):
        state.event(event)
        workers = {name: worker.alive for name, worker in state.workers.items()}
        tasks = {task.uuid: [task.name, task.state] for task in state.tasks.values()}
        event = {"type": event["type"], "workers": workers, "tasks": tasks}
        print(json.dumps(event), flush=True)

    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen})
        receiver.on_consume_ready = lambda *_, **__: print(json.dumps({"type": "ready"}), flush=True)
        receiver.capture(limit=None, timeout=None, wakeup=False)


if mode == "worker":
    options = ["--pool", "solo", "--loglevel", "INFO", "--without-gossip", "-n"]
    app.worker_main(["worker", *options, *arguments])
elif mode == "watch":
    watch()
elif mode == "send":
    print(add.delay(1, 2).id)
elif mode == "call":
    print(add.delay(1, 2).get(timeout=20))
elif mode == "result":
    print(app.AsyncResult(arguments[0]).get(timeout=20))
else:
    app.start([mode, *arguments])
