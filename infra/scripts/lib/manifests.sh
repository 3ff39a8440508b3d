# shellcheck shell=bash
# Renders the manifests of a commit, and applies parts of them. Deploying and rolling back do the same with two commits:
# what runs is always a commit's image with that commit's settings. Needs release.sh and streams.sh.
# shellcheck disable=SC2034,SC2154  # variables that the sourcing script reads, or that those two set

image=${IMAGE:-ghcr.io/tickbell/tickbell}
workloads="Deployment CronJob Job HorizontalPodAutoscaler ScaledObject"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rendered=$work/rendered.yaml

# Fails unless the clone has a commit; fetches it if the clone is a shallow one.
require_commit() { # commit
  [[ $1 =~ ^[0-9a-f]{40}$ ]] || fail "COMMIT must be a full commit hash, not $1."
  git cat-file -e "$1^{commit}" 2>/dev/null || git fetch --quiet --depth 1 origin "$1" 2>/dev/null ||
    fail "This clone does not have the commit $1, whose manifests are needed: git fetch --unshallow"
}

# Renders the overlay of the environment as it is in a commit, with the image of that commit, into $rendered. The live
# colour of the cluster overrides the one of the overlay.
render() { # commit live-colour
  local kustomize folder=$work/$1
  kustomize=$(program kustomize)
  rm -rf "$folder"
  mkdir "$folder"
  git archive "$1" k8s | tar -x -C "$folder"
  (
    cd "$folder/k8s/overlays/$ENV" || exit
    # The second name is that of the Kafka bridge, in environments that have one.
    "$kustomize" edit set image "ghcr.io/tickbell/tickbell=$image:$1" "tickbell-kafka=$image:$1-kafka"
    if [ -n "$2" ]; then "$kustomize" edit set configmap values "--from-literal=colour=$2"; fi
  )
  "$kustomize" build "$folder/k8s/overlays/$ENV" >"$rendered"
}

# Prints the rendered documents of some kinds, or of all other kinds.
documents() { # of|except kinds
  awk -v mode="$1" -v kinds=" $2 " '
    function flush() {
      if (text != "" && (index(kinds, " " kind " ") > 0) == (mode == "of")) printf "---\n%s", text
      text = ""
    }
    /^---$/ { flush(); next }
    /^kind: / { kind = $2 }
    { text = text $0 "\n" }
    END { flush() }' "$rendered"
}

# Prints kind/name of every rendered document but the settings, whose name is another in each commit.
names() {
  awk '
    /^---$/ { kind = "" }
    /^kind: / { kind = $2 }
    /^[a-z]/ { section = $1 }
    section == "metadata:" && /^  name: / && $2 !~ /^tickbell-settings-/ { print kind "/" $2 }' "$rendered" | sort
}

# Applies the documents of standard input, without the administrator's and those that a selector excludes.
apply() { # [selector]
  [ -z "$dry_run" ] || cat >/dev/null
  change apply --filename - --selector "tickbell.dev/applied-by!=administrator${1:+,$1}"
}

# Prints the names of the Deployments of all services but the gateways of a colour.
rolling() { # live-colour
  query get deployments --selector "app.kubernetes.io/part-of=tickbell${1:+,tickbell.dev/colour!=$1}" --output name
}

# Prints what the streams of the cluster would lose by the rendered ones, without those of MAY_LOSE.
stream_changes() {
  [ -n "$(documents of Stream)" ] || return 0
  documents of Stream | stream_lines >"$work/streams-after"
  query get streams.jetstream.nats.io --output "jsonpath=$stream_template" >"$work/streams-before" || return
  stream_losses "$work/streams-before" "$work/streams-after" |
    awk -v allowed=" ${MAY_LOSE:-} " 'index(allowed, " " $1 " ") == 0'
}
