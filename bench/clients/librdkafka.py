"""Produces with librdkafka through its Python binding, settings as they come; prints one ProgramResult as JSON."""
import json
import os
import sys
import time

from confluent_kafka import Producer

job = json.loads(sys.argv[1])
latencies = []
failures = []


def delivered(error, message):
    if error is not None:
        failures.append(str(error))
    else:
        latencies.append(message.latency())


producer = Producer({"bootstrap.servers": job["bootstrap"], "acks": "all"})
value = os.urandom(job["recordBytes"])
begun = time.monotonic()
for number in range(job["records"]):
    if job["recordsPerSecond"] > 0:
        ahead = number / job["recordsPerSecond"] - (time.monotonic() - begun)
        if ahead > 0.001:
            producer.poll(0)
            time.sleep(ahead)
    while True:
        try:
            producer.produce(job["topic"], value, on_delivery=delivered)
            break
        except BufferError:
            producer.poll(0.01)
    producer.poll(0)
producer.flush()
seconds = time.monotonic() - begun
if failures:
    sys.exit(failures[0])
latencies.sort()


def at(share):
    return round(latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000, 3) if latencies else None


print(
    json.dumps(
        {
            "records": len(latencies),
            "recordsPerSecond": len(latencies) / seconds,
            "p50Ms": at(0.5),
            "p99Ms": at(0.99),
        }
    )
)
