"""Reads the JSON bodies in the file at argv[1], a line each, with kombu, and prints a line for each: the value in its plainest form, or
nothing where Python's constructor refuses it."""

import sys
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

from kombu.utils.json import loads


def in_whole_seconds(moment):
    offset = moment.utcoffset()
    if offset is None:
        return moment
    # What is kept of an offset elsewhere: towards zero.
    seconds = abs(offset) // timedelta(seconds=1)
    return moment.replace(tzinfo=timezone(timedelta(seconds=seconds if offset >= timedelta(0) else -seconds)))


def plain(value):
    if isinstance(value, (datetime, time)):
        return in_whole_seconds(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, (uuid.UUID, bytes)):
        return (value.bytes if isinstance(value, uuid.UUID) else value).hex()
    raise TypeError(value)


with open(sys.argv[1], encoding="utf-8") as bodies:
    for body in bodies:
        try:
            print(plain(loads(body)))
        except Exception:
            print()
