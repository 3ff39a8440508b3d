"""Leaves a transaction open, in one of two ways.

Usage: leave_open.py BROKER killed    TRANSACTIONAL_ID TOPIC PARTITION KEY HEADERS BODY
       leave_open.py BROKER forgotten TRANSACTIONAL_ID TOPIC PARTITION KEY HEADERS BODY

`killed` writes a record in a transaction and kills itself. The coordinator knows of the transaction, which times out after a quarter of an
hour.

`forgotten` writes a record in a transaction of which the coordinator knows nothing, so that nobody will ever end it. That is how it looks
where a coordinator has skipped a partition when it ended a transaction. No client does that, so the requests are made here; the broker
must have transaction.partition.verification.enable=false.
"""

import json
import os
import signal
import socket
import struct
import sys
import time

BROKER, WAY, TRANSACTIONAL_ID, TOPIC = sys.argv[1:5]
PARTITION, KEY, HEADERS, BODY = int(sys.argv[5]), sys.argv[6], json.loads(sys.argv[7]), sys.argv[8]
TIMEOUT_MS = 900_000
# Keys of requests: https://kafka.apache.org/protocol#protocol_api_keys
PRODUCE, INIT_PRODUCER_ID = (0, 7), (22, 1)
# The coordinator is loading, or ends another transaction.
RETRIABLE = {14, 15, 16, 51}


def killed():
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": BROKER,
            "transactional.id": TRANSACTIONAL_ID,
            "transaction.timeout.ms": TIMEOUT_MS,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(TOPIC, BODY, KEY, PARTITION, headers=HEADERS)
    if producer.flush(60) > 0:
        sys.exit("the record was not written")
    os.kill(os.getpid(), signal.SIGKILL)


def text(value: str) -> bytes:
    return struct.pack(">h", len(value.encode())) + value.encode()


def varint(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def sized(value: str) -> bytes:
    return varint(len(value.encode())) + value.encode()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(producer_id: int, epoch: int) -> bytes:
    """Returns a batch of one record: https://kafka.apache.org/documentation/#recordbatch"""
    headers = varint(len(HEADERS)) + b"".join(sized(name) + sized(value) for name, value in HEADERS.items())
    record = b"\0" + varint(0) + varint(0) + sized(KEY) + sized(BODY) + headers
    record = varint(len(record)) + record
    now, transactional = int(time.time() * 1000), 0x10
    checked = struct.pack(">hiqqqhii", transactional, 0, now, now, producer_id, epoch, 0, 1) + record
    rest = struct.pack(">ibI", -1, 2, crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(rest)) + rest


def forgotten():
    host, port = BROKER.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 60) as connection:
        stream = connection.makefile("rwb")

        def call(request: tuple[int, int], body: bytes) -> bytes:
            message = struct.pack(">hhi", *request, 1) + text("leave_open.py") + body
            stream.write(struct.pack(">i", len(message)) + message)
            stream.flush()
            (length,) = struct.unpack(">i", stream.read(4))
            return stream.read(length)[4:]

        error = None
        for _ in range(120):
            answer = call(INIT_PRODUCER_ID, text(TRANSACTIONAL_ID) + struct.pack(">i", TIMEOUT_MS))
            _, error, producer_id, epoch = struct.unpack(">ihqh", answer)
            if error not in RETRIABLE:
                break
            time.sleep(0.5)
        if error:
            sys.exit(f"no id of a producer: error {error}")
        records = batch(producer_id, epoch)
        partition = struct.pack(">ii", 1, PARTITION) + struct.pack(">i", len(records)) + records
        body = text(TRANSACTIONAL_ID) + struct.pack(">hii", -1, 60_000, 1) + text(TOPIC) + partition
        answer = call(PRODUCE, body)
        (error,) = struct.unpack_from(">h", answer, 4 + len(text(TOPIC)) + 8)
        if error:
            sys.exit(f"the record was not written: error {error}")


{"killed": killed, "forgotten": forgotten}[WAY]()
