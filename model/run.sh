#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Checks the models of this folder and each of their mutants; a line for every
# run. docs/design/models.md says how to read models and lines.
#
#   model/run.sh                     all that the installed programs can check
#   model/run.sh spin                the models of one program
#   model/run.sh spin no-staleness   one variant of each of its models
#
# DEEP=1 adds the variants called deep. PROVERIF names the program, "proverif" if
# unset. Fails if a property is broken that should hold, or holds that should be
# broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly proverif=${PROVERIF:-proverif}
readonly patience=${PATIENCE:-300} # seconds for one run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# variant FILE TAG... prints the model with the marked lines of these tags
# changed: `code (*- tag *)` goes, `(*+ tag: code *)` comes. Line numbers stay.
# With the tag "brief" or "small" only the queries stay that are marked so: where
# ProVerif would take too long over the others.
variant() {
  awk -v tags="${*:2}" '
    BEGIN { n = split(tags, a, " "); for (i = 1; i <= n; i++) on[a[i]] = 1 }
    match($0, /[(\/]\*- [a-z-]+ \*[)\/]$/) { t = substr($0, RSTART + 4); sub(/ .*/, "", t); if (t in on) $0 = "" }
    match($0, /^ *[(\/]\*\+ [a-z-]+: /) {
      t = substr($0, 1, RLENGTH - 2); sub(/.* /, "", t)
      if (t in on) { $0 = substr($0, RLENGTH + 1); sub(/ *\*[)\/]$/, "") }
    }
    /^\(\*\? / { skip = ("brief" in on) && !/ brief / || ("small" in on) && !/ small / }
    skip { if (/\.$/) skip = 0; $0 = "" }
    { print }' "$1"
}

# variants FILE prints "name|tags|broken|why" for each (*! … *) line.
variants() { sed -nE 's#^[(/]\*! (.*) \*[)/]$#\1#p' "$1" | sed -E 's/ += +/|/; s/ *\| */|/g'; }

# properties FILE prints "name kind", in order; kind is empty in ProVerif models.
properties() { sed -nE 's#^[(/]\*\? (.*) \*[)/]$#\1#p' "$1"; }

# report PROGRAM MODEL VARIANT EXPECTED FOUND STATES SECONDS
report() {
  local verdict="as it should be"
  [ "$4" = "$5" ] || { verdict="WRONG: expected $4"; failed=1; }
  printf '%-8s %-10s %-14s broken: %-26s %11s %6s s  %s\n' "$1" "$2" "$3" "$5" "$6" "$7" "$verdict"
}

seconds() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }

# sorted prints words in order, or "-" if there are none.
sorted() { local w; w=$(printf '%s\n' "$@" | sed '/^$/d' | sort -u | xargs); echo "${w:--}"; }

# check_pv FILE NAME TAGS EXPECTED: ProVerif says of each query, in order, whether
# it is true. "reached" is what must be possible in the model as it is.
check_pv() {
  local begin=$EPOCHREALTIME broken=() name answer
  variant "$1" $3 >"$work/model.pv"
  timeout "$patience" "$proverif" -lib crypto.pvl "$work/model.pv" >"$work/out" 2>&1 || true
  sed -n '/^Verification summary/,$p' "$work/out" | grep -E '^( - )?Query .* (is true|is false|cannot be proved)' >"$work/answers" || true
  [ "$(wc -l <"$work/answers")" = "$(properties "$work/model.pv" | wc -l)" ] || { tail -n 5 "$work/out" >&2; broken=(no-answer); }
  while read -r name _ && read -r answer <&3; do
    case $name:$answer in
      reached:*"is false."*) ;;
      reached:*) [ "$4" != - ] || broken+=(unreached) ;;
      *"is true."*) ;;
      *"is false."*) broken+=("$name") ;;
      *) broken+=("$name?") ;;
    esac
  done < <(properties "$work/model.pv") 3<"$work/answers"
  local rules; rules=$({ grep -oE '^[0-9]+ rules inserted' "$work/out" || true; } | awk '{ n = $1 > n ? $1 : n } END { print n + 0 " rules" }')
  report proverif "${1%.pv}" "$2" "$(sorted $4)" "$(sorted ${broken[@]+"${broken[@]}"})" "$rules" "$(seconds "$begin")"
}

# check_pml FILE NAME TAGS EXPECTED: Spin searches every state, for all properties
# at once; or, where some must break, for each of those alone. What is marked
# "honest" is asked where the relay is.
check_pml() {
  local begin=$EPOCHREALTIME broken=() states=0 n p all optimise=-O2
  [ "$4" = - ] || optimise=-O0 # few states: compiling takes longer than searching
  variant "$1" $3 >"$work/model.pml"
  all=$(properties "$1" | grep -vE '^(used|proved)$' | awk -v h="$3" '($2 == "honest") == (h ~ /honest/) { print "-DP_" $1 "=1" }' | xargs)
  for p in $4; do
    local defines=-DP_$p=1; [ "$p" != - ] || defines=$all
    (cd "$work" && spin $defines -a model.pml && gcc "$optimise" -DSAFETY -DMEMLIM=4000 -o pan pan.c && timeout "$patience" ./pan -m1000000 -n) >"$work/out" 2>&1 || true
    n=$(sed -nE 's/^ *([0-9.e+]+) states, stored.*/\1/p' "$work/out"); states=$(awk -v a="$states" -v b="${n:-0}" 'BEGIN { print a + b }')
    if grep -q 'errors: 0' "$work/out" && ! grep -qE 'max search depth too small|Search not completed' "$work/out"; then :
    elif grep -qE '^pan:1: assertion violated' "$work/out" && grep -q 'errors: 1' "$work/out" && [ "$p" != - ]; then broken+=("$p")
    else broken+=("?$({ grep -oE '^pan:1: .*|Error.*|error: .*' "$work/out" || tail -n 1 "$work/out"; } | sed -n 1p | cut -c 1-60)"); fi
  done
  report spin "${1%.pml}" "$2" "$(sorted $4)" "$(sorted ${broken[@]+"${broken[@]}"})" "$states" "$(seconds "$begin")"
}

main() {
  local program=${1:-} only=${2:-} f name tags broken why
  for f in *.pv *.pml; do
    [ -e "$f" ] || continue
    case $f in
      *.pv) [ "${program:-proverif}" = proverif ] || continue
        command -v "$proverif" >/dev/null || { echo "$f: not checked, because ProVerif is not installed"; continue; } ;;
      *.pml) [ "${program:-spin}" = spin ] || continue ;;
    esac
    while IFS='|' read -r name tags broken why; do
      [ -z "$only" ] || [ "$only" = "$name" ] || continue
      [[ $name != deep* || -n "${DEEP:-}" ]] || continue
      "check_${f##*.}" "$f" "$name" "$tags" "$broken"
    done < <(variants "$f")
  done
  exit "$failed"
}
main "$@"
