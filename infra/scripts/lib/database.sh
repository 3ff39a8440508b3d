# shellcheck shell=bash
# Functions that backup and restore share. The first of these variables that is set selects the database:
#
#   COMPOSE       1: the database of compose.yaml, with the programs of its container
#   DATABASE_URL  any database, with PostgreSQL's programs of this machine
#   DATA          the data folder of a running `tickbell up` [.tickbell]

log() { printf '%s\n' "$*" >&2; }
fail() {
  log "$@"
  exit 1
}

# Finds the database: sets `database` to its name, and the variables that `pg` and `tickbell` read.
# shellcheck disable=SC2034  # the scripts that source this file read `database`
find_database() {
  local data=${DATA:-.tickbell} url
  # What the shell sets for another database (a search path, a read-only mode) must not change a backup.
  unset PGOPTIONS
  if [ -n "${COMPOSE:-}" ]; then
    database=tickbell
    PGPASSWORD=$(docker compose exec -T postgres printenv POSTGRES_PASSWORD) || fail "Start it first: docker compose up --wait"
    server=postgres://tickbell@postgres:5432 query='?sslmode=disable'
    NATS_URL=nats://operator:$(docker compose exec -T nats printenv NATS_PASSWORD_OPERATOR)@nats:4222
    export NATS_URL
    return
  fi
  url=${DATABASE_URL:-}
  if [ -z "$url" ]; then
    [ -r "$data/env" ] || fail "DATABASE_URL is not set, and nothing runs in $data: set DATABASE_URL, DATA or COMPOSE=1."
    url=$(sed -n 's/^DATABASE_URL=//p' "$data/env")
    NATS_URL=${NATS_URL:-$(sed -n 's/^NATS_URL=//p' "$data/env")}
    export NATS_URL
  fi
  [[ $url =~ ^(postgres(ql)?://([^:/@]+)(:([^@]*))?@[^/?]+)/([^?]+)(\?.*)?$ ]] ||
    fail "DATABASE_URL must look like postgres://user:password@host:5432/database."
  database=${BASH_REMATCH[6]} query=${BASH_REMATCH[7]}
  # The password goes into the environment, because other users can see the arguments of a command.
  [ -z "${BASH_REMATCH[5]}" ] || PGPASSWORD=$(printf '%b' "${BASH_REMATCH[5]//%/\\x}")
  server=${BASH_REMATCH[1]/"${BASH_REMATCH[4]}@"/@}
  export PGPASSWORD
}

# Runs one of PostgreSQL's programs on a database of the server: the newest one installed, since it must not be older
# than the server.
pg() { # program database arguments…
  local program=$1 name=$2 found
  shift 2
  if [ -n "${COMPOSE:-}" ]; then
    docker compose exec -T postgres "$program" --username tickbell --dbname "$name" "$@"
    return
  fi
  found=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$program" | sort -V | tail -n 1)
  [ -x "$found" ] || found=$(command -v "$program") || fail "$program is needed: install postgresql-client."
  "$found" --dbname "$server/$name$query" "$@"
}

sql() { # database statement…
  local name=$1
  shift
  pg psql "$name" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "${@/#/--command=}"
}

# Runs our program on a database of the server.
tickbell() { # database arguments…
  local name=$1 credentials=''
  shift
  # Every byte of the password is percent-encoded, because any character may have a meaning in a URL.
  [ -z "${PGPASSWORD:-}" ] || credentials=":$(printf '%s' "$PGPASSWORD" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g')"
  local DATABASE_URL=${server/@/"$credentials@"}/$name$query
  export DATABASE_URL
  if [ -n "${COMPOSE:-}" ]; then
    # The variables are passed by name, which keeps their values out of the arguments.
    docker compose run --rm --no-deps -T -e DATABASE_URL -e NATS_URL migrate "$@"
  else
    "${TICKBELL:-target/release/tickbell}" "$@"
  fi
}
