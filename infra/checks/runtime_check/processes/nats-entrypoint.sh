#!/bin/sh
# Does what the entrypoint of the image `nats` does: bare flags are flags of the server.
case "$1" in -*) set -- nats-server "$@" ;; esac
exec "$@"
