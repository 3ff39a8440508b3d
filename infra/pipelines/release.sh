# shellcheck shell=bash
# What deploy, promote and rollback have in common; they source it.
#
# The cluster holds the state of a release, in the Service `gateway`: its selector is the live colour, and annotations say
# for which environment this cluster is, which commit was deployed last and how far it came (`release`: first, deployed,
# promoted or rolled-back), and what ran before it.

namespace=tickbell
note=tickbell.dev
dry_run=${DRY_RUN:-}

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$@"
  exit 1
}

# A program of .tools, or the PATH's.
program() { # name
  if [ -x ".tools/bin/$1" ]; then printf '%s' "$PWD/.tools/bin/$1"; else command -v "$1" || fail "$1 is not installed."; fi
}

# Asks the cluster. A dry run asks nobody, and looks as on the first day.
ask() { [ -n "$dry_run" ] || kubectl --namespace "$namespace" "$@"; }

# Changes the cluster, or waits for it. A dry run only says so.
act() {
  if [ -n "$dry_run" ]; then say "+ kubectl --namespace $namespace $*"; else kubectl --namespace "$namespace" "$@" >&2; fi
}

# The colour that people reach; none before there are gateways of it.
live_colour() {
  local colour
  colour=$(ask get service gateway --ignore-not-found --output 'jsonpath={.spec.selector.tickbell\.dev/colour}')
  [ -z "$colour" ] || [ -z "$(ask get deployment "gateway-$colour" --ignore-not-found --output name)" ] || printf '%s' "$colour"
}

noted() { ask get service gateway --ignore-not-found --output "jsonpath={.metadata.annotations.tickbell\.dev/$1}"; }

remember() { # key=value…
  act annotate --overwrite service gateway "${@/#/$note/}"
}

image_of() { ask get "$1" --ignore-not-found --output 'jsonpath={..containers[0].image}'; }

other() {
  case $1 in
    blue) printf green ;;
    green) printf blue ;;
    *) fail "The Service gateway selects no colour, so nothing was deployed yet: make deploy ENV=$ENV" ;;
  esac
}

switch_to() { # colour
  say "People reach $1 now."
  act patch service gateway --type merge --patch "{\"spec\":{\"selector\":{\"tickbell.dev/colour\":\"$1\"}}}"
}

# The smoke test against a Service of the cluster, by a tunnel: no route leads to an idle colour.
smoke_service() { # service
  local log tunnel address='' status=0
  log=$(mktemp)
  kubectl --namespace "$namespace" port-forward "service/$1" :80 >"$log" 2>&1 &
  tunnel=$!
  for _ in $(seq 100); do
    address=$(sed -n 's/^Forwarding from \(127\.0\.0\.1:[0-9]*\) .*/\1/p' "$log" | head -n 1)
    if [ -n "$address" ] || ! kill -0 "$tunnel" 2>/dev/null; then break; fi
    sleep 0.1
  done
  if [ -n "$address" ]; then
    URL="http://$address" SUBSCRIBE='' infra/pipelines/smoke >&2 || status=$?
  else
    say "No tunnel to service $1: $(cat "$log")"
    status=1
  fi
  kill "$tunnel" 2>/dev/null || true
  wait "$tunnel" 2>/dev/null || true
  rm -f "$log"
  return "$status"
}

case ${ENV:-} in
  staging | production) ;;
  *) fail "Say where: ENV=staging or ENV=production." ;;
esac
known=$(noted environment)
[ -z "$known" ] || [ "$known" = "$ENV" ] || fail "This cluster is $known, and not $ENV: look at KUBECONFIG."
