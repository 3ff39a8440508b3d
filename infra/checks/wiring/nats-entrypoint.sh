#!/bin/sh
# What the entrypoint of the image `nats` does: flags alone are flags of the server.
case "$1" in -*) set -- nats-server "$@" ;; esac
exec "$@"
