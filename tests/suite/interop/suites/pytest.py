"""Runs tests of somebody else's with pytest, against the broker at port argv[1] of 127.0.0.1, from the folder that they were
published in, and prints a line for each, after a mark: its outcome and its name. argv[2:] is for pytest."""

import os
import sys

MARK = "outcome:"


class Outcomes:
    """A plugin that remembers how each test came out: the worst of its parts, for a test may fail as it is torn down."""

    WORSE = {"passed": 0, "skipped": 1, "failed": 2}

    def __init__(self):
        self.outcomes = {}

    def pytest_runtest_logreport(self, report):
        known = self.outcomes.setdefault(report.nodeid, report.outcome)
        if self.WORSE[report.outcome] > self.WORSE[known]:
            self.outcomes[report.nodeid] = report.outcome

    def pytest_collectreport(self, report):
        if report.failed:
            self.outcomes[report.nodeid] = "failed"


def point_at(port):
    """Tests look for the broker in different places: in the environment, or at the port that every broker has."""
    os.environ["RABBITMQ_HOST"] = "127.0.0.1"
    os.environ["RABBITMQ_5672_TCP"] = str(port)
    # Theirs, where the folder is that of a client.
    from pika.connection import Parameters

    plain = Parameters.port
    Parameters.port = plain.setter(lambda self, value: plain.fset(self, port if value == 5672 else value))


def main(port, *arguments):
    sys.path.insert(0, os.getcwd())
    import pytest

    point_at(int(port))
    plugin = Outcomes()
    pytest.main(["-p", "no:cacheprovider", "-q", "--tb=short", *arguments], plugins=[plugin])
    for name, outcome in sorted(plugin.outcomes.items()):
        print(f"{MARK} {outcome} {name}")


main(*sys.argv[1:])
