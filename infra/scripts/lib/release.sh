# shellcheck shell=bash
# Functions that deploy, promote, rollback and operate share.
#
# The cluster stores the state of a release in the Service `gateway`: its selector is the live colour, and its annotations
# are the environment of the cluster, the commit that was deployed last, the commit that ran before it, and its state:
#
#   starting, first        the first deployment has begun, has ended well
#   deploying, deployed    a later one has begun, has ended well and can be promoted
#   promoted               its gateways are live
#   rolled-back            the commit runs again that ran before it

namespace=tickbell
annotation_prefix=tickbell.dev
dry_run=${DRY_RUN:-}
# shellcheck disable=SC2034  # the scripts that source this file read it
rollout_timeout=${ROLLOUT_TIMEOUT:-10m}

log() { printf '%s\n' "$*" >&2; }
fail() {
  log "$@"
  exit 1
}

# Prints the path of a program, in .tools or on the PATH.
program() { # name
  if [ -x ".tools/bin/$1" ]; then printf '%s' "$PWD/.tools/bin/$1"; else command -v "$1" || fail "$1 is not installed."; fi
}

# Queries the cluster. A dry run queries nothing, and behaves like a first deployment.
query() { [ -n "$dry_run" ] || kubectl --namespace "$namespace" "$@"; }

# Changes the cluster, or waits for it. A dry run only logs the command.
change() {
  if [ -n "$dry_run" ]; then log "+ kubectl --namespace $namespace $*"; else kubectl --namespace "$namespace" "$@" >&2; fi
}

# Prints the live colour, or nothing before the first deployment.
live_colour() {
  local colour
  colour=$(query get service gateway --ignore-not-found --output 'jsonpath={.spec.selector.tickbell\.dev/colour}')
  [ -z "$colour" ] || [ -z "$(query get deployment "gateway-$colour" --ignore-not-found --output name)" ] || printf '%s' "$colour"
}

annotation() { query get service gateway --ignore-not-found --output "jsonpath={.metadata.annotations.tickbell\.dev/$1}"; }

annotate_release() { # key=value…
  change annotate --overwrite service gateway "${@/#/$annotation_prefix/}"
}

image_of() { query get "$1" --ignore-not-found --output 'jsonpath={..containers[0].image}'; }

other() {
  case $1 in
    blue) printf green ;;
    green) printf blue ;;
    *) fail "The Service gateway selects no colour, so nothing has been deployed: make deploy ENV=$ENV" ;;
  esac
}

switch_to() { # colour
  log "Switching to $1."
  change patch service gateway --type merge --patch "{\"spec\":{\"selector\":{\"tickbell.dev/colour\":\"$1\"}}}"
}

# Runs the smoke test against a Service through a port-forward, because no route leads to an idle colour.
smoke_service() { # service
  local output tunnel address='' status=0
  output=$(mktemp)
  kubectl --namespace "$namespace" port-forward "service/$1" :80 >"$output" 2>&1 &
  tunnel=$!
  for _ in $(seq 100); do
    address=$(sed -n 's/^Forwarding from \(127\.0\.0\.1:[0-9]*\) .*/\1/p' "$output" | head -n 1)
    if [ -n "$address" ] || ! kill -0 "$tunnel" 2>/dev/null; then break; fi
    sleep 0.1
  done
  if [ -n "$address" ]; then
    URL="http://$address" SUBSCRIBE='' infra/scripts/smoke >&2 || status=$?
  else
    log "No tunnel to service $1: $(cat "$output")"
    status=1
  fi
  kill "$tunnel" 2>/dev/null || true
  wait "$tunnel" 2>/dev/null || true
  rm -f "$output"
  return "$status"
}

case ${ENV:-} in
  staging | production) ;;
  *) fail "Set ENV=staging or ENV=production." ;;
esac
known=$(annotation environment)
[ -z "$known" ] || [ "$known" = "$ENV" ] || fail "This cluster is $known, not $ENV: check KUBECONFIG."
