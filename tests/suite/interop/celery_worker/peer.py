"""An application of Celery: a worker, or what sends tasks as it is told.

usage: MODE BROKER PREFIX [QUEUES]
"""

import json
import sys
import threading

from celery import Celery, chain, group

mode, broker, prefix = sys.argv[1:4]
queues = sys.argv[4:]
app = Celery("tests", broker=broker, backend="rpc://")
app.conf.update(
    control_exchange=prefix + "control",
    event_exchange=prefix + "events",
    task_default_queue=prefix + "tasks",
    task_routes={"python.*": {"queue": prefix + "python"}},
    broker_connection_retry_on_startup=True,
)


@app.task(name="python.add")
def add(a, b=0):
    return a + b


@app.task(name="tests.who")
def who():
    return "python"


def signature(task):
    name, args, *rest = task
    return app.signature(name, args=args, kwargs=rest[0] if rest else {}, options=rest[1] if len(rest) > 1 else {})


results = {}
state = app.events.State()


def send(task):
    result = signature(task).apply_async()
    results[result.id] = result
    return result.id


def watch():
    ready = threading.Event()

    def capture():
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": state.event})
            receiver.on_consume_ready = lambda *_, **__: ready.set()
            receiver.capture(limit=None, timeout=None, wakeup=False)

    threading.Thread(target=capture, daemon=True).start()
    return ready.wait(60)


commands = {
    "call": lambda c: signature(c["task"]).apply_async().get(timeout=60),
    "send": lambda c: send(c["task"]),
    "get": lambda c: results.pop(c["id"]).get(timeout=60),
    "chain": lambda c: chain(*map(signature, c["tasks"])).apply_async().get(timeout=60),
    "group": lambda c: group(*map(signature, c["tasks"])).apply_async().get(timeout=60),
    "inspect": lambda c: getattr(app.control.inspect([c["node"]], timeout=60), c["what"])(),
    "revoke": lambda c: app.control.revoke(c["id"], terminate=c.get("terminate", False), destination=[c["node"]], reply=True, timeout=60),
    "watch": lambda c: watch(),
    "seen": lambda c: {task.uuid: [task.name, task.state] for task in state.tasks.values()},
    "workers": lambda c: {name: worker.alive for name, worker in state.workers.items()},
}

if mode == "worker":
    app.worker_main(["worker", "--pool", "solo", "--loglevel", "INFO", "--without-gossip", "--without-mingle",
                     "--prefetch-multiplier", "1", "-n", "python@host", "-Q", *queues])
else:
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"result": commands[command["do"]](command)}
        except Exception as error:
            answer = {"error": {"class": type(error).__name__, "text": str(error)}}
        print(json.dumps(answer), flush=True)
