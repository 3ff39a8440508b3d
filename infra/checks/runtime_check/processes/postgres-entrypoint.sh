#!/bin/sh
# Does what the entrypoint of the image `postgres` does: in an empty data folder it creates a database with the owner and
# password of POSTGRES_USER and POSTGRES_PASSWORD, and runs the files of /docker-entrypoint-initdb.d once against it, while
# the server listens on its socket alone. Then it starts the server with the given arguments.
set -eu
case "${1:-postgres}" in -*) set -- postgres "$@" ;; esac
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  [ -n "${POSTGRES_PASSWORD:-}" ] || { echo "POSTGRES_PASSWORD is empty" >&2; exit 1; }
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
  # shellcheck disable=SC2086  # several arguments
  initdb --no-sync --encoding=UTF8 --username="$user" --pwfile=/tmp/password ${POSTGRES_INITDB_ARGS:-}
  rm /tmp/password
  echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "-c listen_addresses=''"
  sql="psql --set=ON_ERROR_STOP=1 --no-psqlrc --username=$user"
  [ "$database" = postgres ] || $sql --dbname=postgres --command="CREATE DATABASE \"$database\""
  for file in /docker-entrypoint-initdb.d/*; do
    # shellcheck disable=SC1090  # the files are known at run time only
    case "$file" in
      *.sh) . "$file" ;;
      *.sql) $sql --dbname="$database" --file="$file" ;;
    esac
  done
  pg_ctl -m fast -w stop
fi
exec "$@"
