"""pika with OpenTelemetry's instrumentation. argv: URL, queue to consume, queue to publish to, file for the spans.

Publishes a message, consumes one, publishes another from the callback, and writes all spans, a line of JSON each.
"""

import json
import sys

import pika
from opentelemetry import trace
from opentelemetry.instrumentation.pika import PikaInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def main(url, source, target, file):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    PikaInstrumentor.instrument_channel(channel, tracer_provider=provider)
    json_text = pika.BasicProperties(content_type="application/json", content_encoding="utf-8", headers={})

    def answer(channel, method, properties, body):
        channel.basic_publish("", target, b'"answer"', json_text)
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    with provider.get_tracer("test").start_as_current_span("python begins"):
        channel.basic_publish("", target, b'"question"', json_text)
    json_text.headers = {}
    channel.basic_consume(source, answer)
    channel.start_consuming()
    connection.close()
    with open(file, "w") as out:
        for span in exporter.get_finished_spans():
            out.write(json.dumps(shown(span)) + "\n")


def shown(span):
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace": format(span.context.trace_id, "032x"),
        "span": format(span.context.span_id, "016x"),
        "parent": format(span.parent.span_id, "016x") if span.parent else None,
    }


main(*sys.argv[1:])
