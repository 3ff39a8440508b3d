"""Substitutes the JetStream controller: creates streams and consumers from the rendered resources, as its own user."""

from runtime_check.cluster.nats import Client
from runtime_check.processes.namespaces import Failure

# Field names of the resources, with those of the broker's API.
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
# Fields that only the controller itself reads.
OWN = {"account", "preventDelete", "preventUpdate", "streamName"}
TIMES = {"maxAge", "duplicateWindow", "ackWait"}


def apply(client: Client, streams: list[dict], consumers: list[dict], replicas: int = 1) -> str:
    """Creates streams and consumers, and returns how many as text."""
    for stream in streams:
        # As many replicas as there are servers, at most.
        config = {**translated(stream, STREAM), "num_replicas": replicas}
        check_response(client.request(f"$JS.API.STREAM.CREATE.{config['name']}", config))
    for consumer in consumers:
        config = translated(consumer, CONSUMER)
        of, name = consumer["spec"]["streamName"], config["durable_name"]
        request = {"stream_name": of, "config": {**config, "name": name}, "action": "create"}
        check_response(client.request(f"$JS.API.CONSUMER.CREATE.{of}.{name}.{config['filter_subject']}", request))
    return f"{len(streams)} streams and {len(consumers)} consumers"


def translated(resource: dict, names: dict[str, str]) -> dict:
    """Returns the configuration of a resource with the field names of the broker's API."""
    spec = resource["spec"]
    if unknown := sorted(set(spec) - set(names) - OWN):
        raise Failure(f"{resource['metadata']['name']} has {unknown}, which this substitute does not support")
    return {names[key]: nanoseconds(value) if key in TIMES else value for key, value in spec.items() if key in names}


def nanoseconds(text: str) -> int:
    """Parses a Go duration of one unit; Go durations have no days."""
    units = {"h": 3600, "m": 60, "s": 1}
    if text[-1] not in units:
        raise Failure(f"{text!r} is not a duration that the controller accepts")
    return int(text[:-1]) * units[text[-1]] * 10**9


def check_response(answer: dict) -> None:
    if "error" in answer:
        raise Failure(f"the broker rejected the request: {answer['error']}")
