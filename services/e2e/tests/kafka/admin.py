"""Asks or changes a cluster by a client that is not ours.

Usage: admin.py BROKERS groups
       admin.py BROKERS set TOPIC NAME VALUE
       admin.py BROKERS offset GROUP TOPIC OFFSET
       admin.py BROKERS hold GROUP TOPIC OFFSET    (leaves a transaction of another producer open that has an offset of the group)
       admin.py BROKERS empty TOPIC                (deletes all records)
       admin.py BROKERS produce TOPIC KEY BODY
       admin.py BROKERS ends TOPIC PARTITION    (the end of what is committed, and that of all records)
"""

import os
import sys

from confluent_kafka import OFFSET_END, Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

admin = AdminClient({"bootstrap.servers": sys.argv[1]})
match sys.argv[2:]:
    case ["groups"]:
        for group in admin.list_consumer_groups().result().valid:
            print(group.group_id)
    case ["set", topic, name, value]:
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result()
    case ["offset", group, topic, offset]:
        offsets = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, int(offset))])
        for future in admin.alter_consumer_group_offsets([offsets]).values():
            if any(partition.error for partition in future.result().topic_partitions):
                sys.exit(f"the offset was not set: {future.result().topic_partitions}")
    case ["hold", group, topic, offset]:
        producer = Producer(
            {"bootstrap.servers": sys.argv[1], "transactional.id": "admin.py", "transaction.timeout.ms": 900_000}
        )
        producer.init_transactions(60)
        producer.begin_transaction()
        metadata = Consumer({"bootstrap.servers": sys.argv[1], "group.id": group}).consumer_group_metadata()
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, int(offset))], metadata, 60)
        # Without a farewell: the client would abort the transaction.
        os._exit(0)
    case ["empty", topic]:
        partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
        ends = [TopicPartition(topic, number, OFFSET_END) for number in partitions]
        for future in admin.delete_records(ends).values():
            future.result()
    case ["produce", topic, key, body]:
        producer = Producer({"bootstrap.servers": sys.argv[1]})
        producer.produce(topic, body, key)
        if producer.flush(30) > 0:
            sys.exit("the record was not written")
    case ["ends", topic, partition]:
        for level in ("read_committed", "read_uncommitted"):
            consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "admin.py", "isolation.level": level})
            print(consumer.get_watermark_offsets(TopicPartition(topic, int(partition)), timeout=30)[1])
    case other:
        sys.exit(f"no such command: {other}")
