"""Runs jobs with confluent-kafka: driver.py BOOTSTRAP JOBS. Forms of jobs, records and answers: ../jobs.ts."""

import base64
import os
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

bootstrap = sys.argv[1]
# A directory of ca.pem, client.pem and client.key: connections are of TLS then.
secured = os.environ.get("MILLRACE_CLIENT_TLS")
connection = {"bootstrap.servers": bootstrap}
if secured:
    connection |= {
        "security.protocol": "ssl",
        "ssl.ca.location": f"{secured}/ca.pem",
        "ssl.certificate.location": f"{secured}/client.pem",
        "ssl.key.location": f"{secured}/client.key",
    }


def decode(text):
    return None if text == "-" else base64.b64decode(text)


def encode(data):
    return "-" if data is None else base64.b64encode(data).decode()


def read_records(path):
    with open(path, encoding="ascii") as file:
        for line in file:
            key, value, named = line.rstrip("\n").split("\t")[:3]
            headers = []
            for pair in filter(None, named.split(",")):
                end = next(at for at in range(4, len(pair), 4) if pair[at] == "=")
                headers.append((base64.b64decode(pair[:end]).decode(), decode(pair[end + 1 :])))
            yield decode(key), decode(value), headers


def write_records(path, messages):
    with open(path, "w", encoding="ascii") as file:
        for message in messages:
            named = ",".join(f"{encode(name.encode())}={encode(value)}" for name, value in message.headers() or [])
            fields = [encode(message.key()), encode(message.value()), named, message.partition(), message.offset()]
            file.write("\t".join(map(str, fields)) + "\n")


def produce(job):
    failures = []
    producer = Producer(
        {
            **connection,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": job["codec"],
            "linger.ms": 5,
            "message.timeout.ms": 120000,
        }
    )

    def delivered(error, _message):
        if error is not None:
            failures.append(str(error))

    sent = 0
    for key, value, headers in read_records(job["input"]):
        producer.produce(job["topic"], value=value, key=key, headers=headers, on_delivery=delivered)
        sent += 1
        producer.poll(0)
    left = producer.flush(40)
    if left or failures:
        raise RuntimeError(f"{left} not sent, {len(failures)} refused: {failures[:1]}")
    return {"records": sent}


def consumer_of(job):
    # The consumer protocol takes its times from the broker.
    times = {"session.timeout.ms": 30000, "heartbeat.interval.ms": 500}
    return Consumer(
        {
            **connection,
            "isolation.level": "read_" + job.get("isolation", "uncommitted"),
            **({"group.instance.id": job["instance"]} if "instance" in job else {}),
            "group.id": job["group"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            **({"group.protocol": job["protocol"]} if "protocol" in job else times),
        }
    )


def checked(message):
    if message.error() is not None:
        raise KafkaException(message.error())
    return message


def consume(job):
    count = int(job["count"])
    consumer = consumer_of(job)
    consumer.subscribe([job["topic"]])
    messages = []
    deadline = time.monotonic() + 200
    try:
        while len(messages) < count and time.monotonic() < deadline:
            messages += map(checked, consumer.consume(min(500, count - len(messages)), 0.5))
        after = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
        if after:
            offsets = [TopicPartition(*place, offset) for place, offset in after.items()]
            for answer in consumer.commit(offsets=offsets, asynchronous=False):
                if answer.error is not None:
                    raise KafkaException(answer.error)
    finally:
        consumer.close()
    write_records(job["output"], messages)
    if len(messages) != count:
        raise RuntimeError(f"{len(messages)} records instead of {count}")
    return {"records": len(messages)}


def rebalance(job):
    """Two members share a group: the first alone, then both, then the first alone again."""
    count, partitions = int(job["count"]), int(job["partitions"])
    found = {}

    def commit_and_leave(consumer, _partitions):
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._NO_OFFSET:
                raise

    def member():
        consumer = consumer_of(job)
        consumer.subscribe([job["topic"]], on_revoke=commit_and_leave)
        return consumer

    def poll(*members):
        for consumer in members:
            message = consumer.poll(0.01)
            if message is not None:
                checked(message)
                found.setdefault((message.partition(), message.offset()), message)

    def until(what, condition, *members):
        deadline = time.monotonic() + 200
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"never happened: {what}")
            poll(*members)

    def held(consumer):
        return {entry.partition for entry in consumer.assignment()}

    everything = set(range(partitions))
    first = member()
    until("the first member has all", lambda: held(first) == everything, first)
    second = member()
    until(
        "the members share",
        lambda: held(first) and held(second) and not held(first) & held(second) and held(first) | held(second) == everything,
        first,
        second,
    )
    shared = (len(held(first)), len(held(second)))
    until("half is read", lambda: len(found) >= count // 2, first, second)
    second.close()
    until("the first member has all again", lambda: held(first) == everything, first)
    until("all is read", lambda: len(found) >= count, first)
    first.close()
    write_records(job["output"], (found[place] for place in sorted(found)))
    return {"first": shared[0], "second": shared[1]}


def begun(job, timeout_ms=60000):
    producer = Producer(
        {
            **connection,
            "transactional.id": job["id"],
            "transaction.timeout.ms": timeout_ms,
            "message.timeout.ms": timeout_ms,
            "linger.ms": 0,
        }
    )
    producer.init_transactions(120)
    return producer


def send(producer, job, at, verdict):
    for number in range(2):
        for partition in range(int(job["partitions"])):
            value = f"{job['id']} {at} {verdict} {partition} {number}"
            producer.produce(job["topic"], value=value.encode(), partition=partition)


def refused(commit):
    try:
        commit()
    except KafkaException:
        return
    raise RuntimeError("a producer that is fenced has committed")


def until_ended(producer, job):
    ended = False

    def delivered(error, _message):
        nonlocal ended
        ended = ended or error is not None

    deadline = time.monotonic() + 200
    while not ended and time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            producer.produce(job["topic"], value=b"late drop", partition=0, on_delivery=delivered)
            producer.flush(20)
        except (KafkaException, SystemError):
            ended = True
    if not ended:
        raise RuntimeError("the broker never ended the transaction")


def transact(job):
    producer = begun(job)
    for at, letter in enumerate(job["script"]):
        if letter == "t":
            producer = begun(job, 1000)
        producer.begin_transaction()
        if letter == "c":
            send(producer, job, at, "keep")
            producer.commit_transaction(120)
            continue
        if letter != "e":
            send(producer, job, at, "drop")
        if letter in "azt":
            producer.flush(60)
        if letter in "aie":
            producer.abort_transaction(120)
            continue
        if letter == "z":
            newer = begun(job)
        else:
            until_ended(producer, job)
        refused(lambda: producer.commit_transaction(120))
        producer = newer if letter == "z" else begun(job)
    return {}


def copy(job):
    at = 0
    while True:
        consumer = consumer_of({**job, "isolation": "committed", "instance": job["id"]})
        try:
            producer = begun(job)
            consumer.subscribe([job["topic"]])
            while not is_done(consumer, job):
                messages = [checked(message) for message in consumer.consume(500, 0.2)]
                if messages:
                    at += 1
                    move(producer, consumer, messages, job, at % int(job["drops"]) == 0)
            return {}
        except KafkaException as error:
            # Whatever became of the transaction: the next producer ends it, and the group's offsets say where to go on.
            print(error, file=sys.stderr, flush=True)
        finally:
            consumer.close()


def is_done(consumer, job):
    held = consumer.assignment()
    return bool(held) and sum(max(place.offset, 0) for place in consumer.committed(held, 60)) >= int(job["count"])


def move(producer, consumer, messages, job, drops):
    producer.begin_transaction()
    after = {}
    for message in messages:
        value = b"dropped" if drops else message.value()
        producer.produce(job["to"], value=value, key=message.key(), partition=message.partition())
        after[message.partition()] = message.offset() + 1
    offsets = [TopicPartition(job["topic"], partition, offset) for partition, offset in after.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 120)
    if not drops:
        producer.commit_transaction(120)
        return
    producer.abort_transaction(120)
    for place in consumer.committed(consumer.assignment(), 60):
        consumer.seek(TopicPartition(job["topic"], place.partition, max(place.offset, 0)))


def admin(job):
    topic = job["topic"]
    client = AdminClient(connection)
    asked = {"retention.ms": "12345000"}
    client.create_topics([NewTopic(topic, 2, 1, config=asked)])[topic].result(20)
    deadline = time.monotonic() + 200
    while topic not in client.list_topics(timeout=60).topics and time.monotonic() < deadline:
        time.sleep(0.05)
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def retention():
        answers = client.describe_configs([resource])
        return answers[resource].result(20)["retention.ms"].value

    created = retention()
    entry = ConfigEntry("retention.ms", "23456000", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client.incremental_alter_configs([change])[change].result(20)
    altered = retention()
    begin = int(time.time() * 1000) - 60000
    producer = Producer({**connection, "enable.idempotence": True})
    for at in range(20):
        producer.produce(topic, partition=0, value=f"row {at}".encode(), timestamp=begin + at * 1000)
    if producer.flush(20):
        raise RuntimeError("not everything was sent")
    place = TopicPartition(topic, 0)

    def offset(spec):
        return client.list_offsets({place: spec})[place].result(20).offset

    earliest, latest = offset(OffsetSpec.earliest()), offset(OffsetSpec.latest())
    at_time = offset(OffsetSpec.for_timestamp(begin + 7500))
    max_time = offset(OffsetSpec.max_timestamp())
    before = TopicPartition(topic, 0, 5)
    low = client.delete_records([before])[before].result(20).low_watermark
    earliest_after = offset(OffsetSpec.earliest())
    client.delete_topics([topic])[topic].result(20)
    deadline = time.monotonic() + 200
    while topic in client.list_topics(timeout=60).topics and time.monotonic() < deadline:
        time.sleep(0.05)
    return {
        "created": created,
        "altered": altered,
        "earliest": earliest,
        "latest": latest,
        "atTime": at_time,
        "maxTime": max_time,
        "low": low,
        "earliestAfter": earliest_after,
        "gone": str(topic not in client.list_topics(timeout=60).topics).lower(),
    }


operations = {
    "produce": produce,
    "consume": consume,
    "rebalance": rebalance,
    "admin": admin,
    "transact": transact,
    "copy": copy,
}
with open(sys.argv[2], encoding="utf8") as jobs:
    for line in jobs:
        described = dict(part.split("=", 1) for part in line.rstrip("\n").split("\t"))
        try:
            result = operations[described["op"]](described)
            print("\t".join(["ok", *(f"{name}={value}" for name, value in result.items())]), flush=True)
        except Exception as error:  # noqa: BLE001: whatever it is, the caller must hear of it
            said = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"error\t{said[:500]}", flush=True)
