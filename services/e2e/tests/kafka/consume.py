"""Reads topics as a consumer that is not ours, from their beginning, and writes one line of JSON for each committed record.

Usage: consume.py CONFIGURATION TOPIC..., where the configuration of the client is JSON. It reads on through restarts of the broker,
until it is ended. A line {"ends": true} says that everything that is there was read.
"""

import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

CONFIGURATION = json.loads(sys.argv[1])
TOPICS = sys.argv[2:]


def say(line):
    print(json.dumps(line), flush=True)


def partitions(consumer):
    while True:
        try:
            topics = consumer.list_topics(timeout=10).topics
            if all(topic in topics and topics[topic].partitions for topic in TOPICS):
                return [TopicPartition(name, number, 0) for name in TOPICS for number in topics[name].partitions]
        except Exception as error:
            print(error, file=sys.stderr)
        time.sleep(0.2)


def text(value):
    return None if value is None else value.decode()


def main():
    consumer = Consumer(
        CONFIGURATION
        | {
            "group.id": "consume.py",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "reconnect.backoff.max.ms": 1000,
            "fetch.wait.max.ms": 100,
        }
    )
    every = partitions(consumer)
    consumer.assign(every)
    reached = set()
    while True:
        message = consumer.poll(1.0)
        if message is None:
            continue
        place = (message.topic(), message.partition())
        error = message.error()
        if error is None:
            reached.discard(place)
            say(
                {
                    "topic": message.topic(),
                    "partition": message.partition(),
                    "offset": message.offset(),
                    "key": text(message.key()),
                    "timestamp": message.timestamp()[1],
                    "headers": {name: text(value) for name, value in message.headers() or []},
                    "body": text(message.value()),
                }
            )
        elif error.code() == KafkaError._PARTITION_EOF:
            reached.add(place)
            if len(reached) == len(every):
                say({"ends": True})
        else:
            print(error, file=sys.stderr, flush=True)


main()
