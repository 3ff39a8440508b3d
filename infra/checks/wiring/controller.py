"""Stands for the JetStream controller: makes streams and consumers from their rendered resources, as its own user."""

from wiring.corner import Failure
from wiring.nats import Client

# Fields of the resources and of the broker's interface.
STREAM = {
    "name": "name", "description": "description", "subjects": "subjects", "retention": "retention", "storage": "storage",
    "discard": "discard", "compression": "compression", "replicas": "num_replicas", "noAck": "no_ack",
    "maxAge": "max_age", "maxBytes": "max_bytes", "maxConsumers": "max_consumers", "maxMsgSize": "max_msg_size",
    "maxMsgs": "max_msgs", "maxMsgsPerSubject": "max_msgs_per_subject", "duplicateWindow": "duplicate_window",
    "allowDirect": "allow_direct", "allowAtomicPublish": "allow_atomic",
}  # fmt: skip
CONSUMER = {
    "durableName": "durable_name", "filterSubject": "filter_subject", "ackPolicy": "ack_policy", "ackWait": "ack_wait",
    "deliverPolicy": "deliver_policy", "replayPolicy": "replay_policy", "maxAckPending": "max_ack_pending",
    "maxDeliver": "max_deliver",
}  # fmt: skip
# What the controller itself goes by.
OWN = {"account", "preventDelete", "preventUpdate", "streamName"}
TIMES = {"maxAge", "duplicateWindow", "ackWait"}


def apply(client: Client, streams: list[dict], consumers: list[dict]) -> str:
    """Makes them and says how many."""
    for stream in streams:
        # One server keeps one copy.
        config = {**translated(stream, STREAM), "num_replicas": 1}
        done(client.ask(f"$JS.API.STREAM.CREATE.{config['name']}", config))
    for consumer in consumers:
        config = translated(consumer, CONSUMER)
        of, name = consumer["spec"]["streamName"], config["durable_name"]
        question = {"stream_name": of, "config": {**config, "name": name}, "action": "create"}
        done(client.ask(f"$JS.API.CONSUMER.CREATE.{of}.{name}.{config['filter_subject']}", question))
    return f"{len(streams)} streams and {len(consumers)} consumers"


def translated(resource: dict, names: dict[str, str]) -> dict:
    """A resource in the words of the broker."""
    spec = resource["spec"]
    if unknown := sorted(set(spec) - set(names) - OWN):
        raise Failure(f"{resource['metadata']['name']} has {unknown}, which is not known here")
    return {names[key]: nanoseconds(value) if key in TIMES else value for key, value in spec.items() if key in names}


def nanoseconds(text: str) -> int:
    """A duration of Go in one unit, which knows no days."""
    units = {"h": 3600, "m": 60, "s": 1}
    if text[-1] not in units:
        raise Failure(f"{text!r} is no duration that the controller reads")
    return int(text[:-1]) * units[text[-1]] * 10**9


def done(answer: dict) -> None:
    if "error" in answer:
        raise Failure(f"the broker refuses: {answer['error']}")
