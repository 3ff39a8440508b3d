# shellcheck shell=bash
# Compares the streams of two states, and names what a change would lose, like `tickbell streams apply` does. The
# JetStream controller does not ask: it takes a smaller limit, and the broker deletes at once what is above it.

# Prints a line for each stream of rendered manifests: name, maxAge, maxBytes, maxMsgs, maxMsgsPerSubject, retention,
# subjects.
stream_lines() { # < manifests
  awk -v OFS='|' '
    function flush() {
      if (kind == "Stream")
        print value["name"], value["maxAge"], value["maxBytes"], value["maxMsgs"], value["maxMsgsPerSubject"], value["retention"], subjects
      kind = section = list = subjects = ""
      split("", value)
    }
    /^---$/ { flush(); next }
    /^kind: / { kind = $2 }
    /^[a-z]/ { section = $1 }
    section == "spec:" && /^  [a-zA-Z]/ { list = $1; value[substr($1, 1, length($1) - 1)] = $2 }
    section == "spec:" && list == "subjects:" && /^  - / { gsub(/["\047]/, "", $2); subjects = subjects $2 " " }
    END { flush() }'
}

# The same of a cluster, for the output of `kubectl get`.
# shellcheck disable=SC2034  # the scripts that source this file read it
stream_template='{range .items[*]}{.spec.name}|{.spec.maxAge}|{.spec.maxBytes}|{.spec.maxMsgs}|{.spec.maxMsgsPerSubject}|'
stream_template+='{.spec.retention}|{.spec.subjects[*]}{"\n"}{end}'

# Prints a line for each way in which the second state would lose messages of the first: the stream, and why.
stream_losses() { # file-before file-after
  awk -F '|' '
    # Limits as numbers, where none is more than every other. A resource without a field has the limit "none" too.
    function number(text) { return text + 0 > 0 ? text + 0 : 1e30 }
    # Seconds of a duration of Go, like 1h30m.
    function seconds(text, total, part) {
      total = 0
      while (match(text, /^[0-9.]+(ms|h|m|s)/)) {
        part = substr(text, 1, RLENGTH)
        text = substr(text, RLENGTH + 1)
        if (part ~ /ms$/) total += part / 1000
        else if (part ~ /h$/) total += part * 3600
        else if (part ~ /m$/) total += part * 60
        else total += part
      }
      return total > 0 ? total : 1e30
    }
    function shrinks(name, what, before, after) { print name " " what " would shrink from " before " to " after }
    FNR == NR { old[$1] = $0; next }
    ($1 in old) {
      split(old[$1], was, "|")
      if (seconds($2) < seconds(was[2])) shrinks($1, "maxAge", was[2], $2)
      if (number($3) < number(was[3])) shrinks($1, "maxBytes", was[3], $3)
      if (number($4) < number(was[4])) shrinks($1, "maxMsgs", was[4], $4)
      if (number($5) < number(was[5])) shrinks($1, "maxMsgsPerSubject", was[5], $5)
      if ($6 != was[6]) print $1 " retention would change from " was[6] " to " $6
      count = split(was[7], subjects, " ")
      for (i = 1; i <= count; i++)
        if (index(" " $7 " ", " " subjects[i] " ") == 0) print $1 " " subjects[i] " would no longer be stored"
    }' "$1" "$2"
}

# Prints manifests without the streams that lose messages.
without_streams() { # lines of stream_losses; < manifests
  awk -v names=" $(awk '{ printf "%s ", $1 }' <<<"$1")" '
    function flush() {
      if (text != "" && (kind != "Stream" || index(names, " " name " ") == 0)) printf "---\n%s", text
      text = kind = name = ""
    }
    /^---$/ { flush(); next }
    /^kind: / { kind = $2 }
    /^[a-z]/ { section = $1 }
    section == "spec:" && /^  name: / { name = $2 }
    { text = text $0 "\n" }
    END { flush() }'
}
