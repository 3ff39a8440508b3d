# shellcheck shell=bash
# What backup and restore have in common; they source it. Which database is meant, the first that is said:
#
#   COMPOSE       1: the one of compose.yaml, by the programs of its container
#   DATABASE_URL  any, by PostgreSQL's programs of this machine
#   DATA          where `tickbell up` runs, which is asked [.tickbell]

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}

# Finds out where the database is: sets `database`, its name, and what `pg` and `tickbell` need.
# shellcheck disable=SC2034  # `database` is for whoever sources this
find_database() {
  local data=${DATA:-.tickbell} url
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
    [ -r "$data/env" ] || fail "No DATABASE_URL, and nothing runs in $data: say where it is in DATABASE_URL or DATA, or COMPOSE=1."
    url=$(sed -n 's/^DATABASE_URL=//p' "$data/env")
    NATS_URL=${NATS_URL:-$(sed -n 's/^NATS_URL=//p' "$data/env")}
    export NATS_URL
  fi
  [[ $url =~ ^(postgres(ql)?://([^:/@]+)(:([^@]*))?@[^/?]+)/([^?]+)(\?.*)?$ ]] ||
    fail "DATABASE_URL is not like postgres://user:password@host:5432/database."
  database=${BASH_REMATCH[6]} query=${BASH_REMATCH[7]}
  # Apart from the rest: others on this machine see the arguments of a command.
  [ -z "${BASH_REMATCH[5]}" ] || PGPASSWORD=$(printf '%b' "${BASH_REMATCH[5]//%/\\x}")
  server=${BASH_REMATCH[1]/"${BASH_REMATCH[4]}@"/@}
  export PGPASSWORD
}

# One of PostgreSQL's programs on a database of that server; the newest that is here, for a server may be newer.
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

# Our program on a database of that server.
tickbell() { # database arguments…
  local name=$1 credentials=''
  shift
  # A password is written into a URL byte by byte, since any of its letters may mean something there.
  [ -z "${PGPASSWORD:-}" ] || credentials=":$(printf '%s' "$PGPASSWORD" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g')"
  local DATABASE_URL=${server/@/"$credentials@"}/$name$query
  export DATABASE_URL
  if [ -n "${COMPOSE:-}" ]; then
    # By name: their values stay out of the arguments.
    docker compose run --rm --no-deps -T -e DATABASE_URL -e NATS_URL migrate "$@"
  else
    "${TICKBELL:-target/release/tickbell}" "$@"
  fi
}
