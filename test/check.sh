#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The checks behind `make test`, one function a step:
#
#   test/check.sh all            every step, in order, with the time each took
#   test/check.sh fmt vet        only these
#
# A step that can't run because a program is missing fails: a check that was
# left out would look like one that passed. `all` prints the closing lines of
# `go test` last, whatever ran after the tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly GO_MIN=1.26
# Debian packages, each with what shows that it is there, if that isn't a program of its own name.
readonly PACKAGES=(age curl gcc openssl spin strace mariadb-server-core:mariadbd mariadb-client-core:mariadb
  mariadb-plugin-hashicorp-key-management:/usr/lib/mysql/plugin/hashicorp_key_management.so)
readonly FIPS=(./envelope ./internal/wire ./internal/keyserver ./client)
readonly STEPS=(go-version packages fmt vet staticcheck generated models cross gotest fips fuzz mutants)
FUZZTIME=${FUZZTIME:-}      # per target; unset: FUZZBUDGET seconds shared by all, at most 3 each
FUZZBUDGET=${FUZZBUDGET:-90}
readonly FUZZJOBS=2         # targets at a time, with one worker each
MUTANTS=${MUTANTS:-ci}      # all, or the ones marked for CI

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { printf 'check: %s\n' "$*" >&2; exit 1; }

# modules prints the directory of every module of the tree, the product first.
modules() {
  git ls-files --cached --others --exclude-standard -- 'go.mod' '*/go.mod' \
    | grep -v -e testdata/ | sed 's#go\.mod$#.#; s#/\.$##' | sort
}

# packages_with_tests FUNC... prints the given package directories that exist.
existing() { local p; for p in "$@"; do [ ! -d "$p" ] || echo "$p"; done; }

step_go_version() {
  command -v go >/dev/null || fail "there is no go command; install Go $GO_MIN or newer from https://go.dev/dl"
  local have; have=$(go env GOVERSION); have=${have##*go}
  [ "$(printf '%s\n%s\n' "$GO_MIN" "${have%%[!0-9.]*}" | sort -V | head -n1)" = "$GO_MIN" ] \
    || fail "Go $GO_MIN or newer is needed, this is $have; see https://go.dev/dl"
}

# there reports whether a package's program, or file, is there.
there() { case ${1#*:} in /*) [ -e "${1#*:}" ] ;; *) command -v "${1#*:}" >/dev/null ;; esac; }

step_packages() {
  local p missing=()
  for p in "${PACKAGES[@]}"; do there "$p" || missing+=("${p%%:*}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "the tests need these programs, please install them: ${missing[*]}"
  local root=(); [ "$(id -u)" = 0 ] || root=(sudo -n)
  "${root[@]}" apt-get update -q && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" \
    || fail "could not install: ${missing[*]}"
  for p in "${PACKAGES[@]}"; do there "$p" || fail "$p is still missing after its package was installed"; done
}

step_fmt() {
  local bad; bad=$(git ls-files --cached --others --exclude-standard -- '*.go' | while read -r f; do [ ! -f "$f" ] || echo "$f"; done | xargs -r gofmt -l)
  [ -z "$bad" ] || fail "not gofmt'ed: $bad"
}

step_vet() {
  local m; for m in $(modules); do echo "go vet: $m"; (cd "$m" && go vet ./...); done
}

step_staticcheck() {
  go build -C tools -o "$scratch/staticcheck" honnef.co/go/tools/cmd/staticcheck
  local m; for m in $(modules); do echo "staticcheck: $m"; (cd "$m" && "$scratch/staticcheck" ./...); done
}

# Generated files are written anew beside the tree and compared, so that a
# check never changes what it checks.
step_generated() {
  go run ./cmd/claviger gen-man "$scratch/man"
  diff -ru docs/man "$scratch/man" || fail "the man pages are not those of the command tree: run make generate"
}

# The formal models, docs/design/models.md. Spin has to be there; Debian has no
# ProVerif, so its models are checked where somebody built it.
step_models() {
  local p; for p in spin gcc; do command -v "$p" >/dev/null || fail "$p is missing; test/check.sh packages installs it on Debian"; done
  model/run.sh || fail "a model's verdict is another than its line says, see above"
}

step_cross() {
  local os p; p=$(existing ./client ./cmd/claviger)
  for os in darwin/arm64 windows/amd64; do
    echo "build: $os $(echo $p)"
    CGO_ENABLED=0 GOOS=${os%/*} GOARCH=${os#*/} go build -o /dev/null $p 2>&1 || fail "does not build for $os"
  done
}

step_gotest() {
  local m status=0
  : >"$scratch/gotest"
  for m in $(modules); do
    # test/k8s has a target of its own. What test/clients is made of is other people's: to build it once
    # more, with -race, would cost minutes.
    local flags=(-race)
    case $m in
      test/k8s) continue ;;
      test/clients) flags=() ;;
    esac
    echo "go test ${flags[*]}: $m"
    (cd "$m" && go test "${flags[@]}" -shuffle=on -timeout 15m ./...) 2>&1 | tee -a "$scratch/gotest" || status=1
  done
  [ "$status" = 0 ] || fail "go test failed; its FAIL lines are above"
}

step_fips() {
  local p; p=$(existing "${FIPS[@]}")
  [ -n "$p" ] || { echo "fips: none of ${FIPS[*]} is in this tree"; return 0; }
  # Passphrases and age shares are refused in this mode, and the tests that kill
  # server processes say nothing about it: the key server runs what derives,
  # releases, signs and restarts.
  GODEBUG=fips140=only go test -count=1 -timeout 5m $(grep -v keyserver <<<"$p")
  ! grep -q keyserver <<<"$p" || GODEBUG=fips140=only go test -count=1 -timeout 5m \
    -run '^(TestReleaseEndToEnd|TestServerSideUse|TestRestartKeepsEverything|TestEveryAlgorithm|TestReleasesWorkOnce|TestStatements|TestPolicyIsVetted)$' ./internal/keyserver
}

# fuzz_targets prints "package target" for every fuzz function of the product.
fuzz_targets() {
  git ls-files --cached --others --exclude-standard -- '*_test.go' | while read -r f; do
    [ ! -f "$f" ] || sed -n "s#^func \(Fuzz[A-Za-z0-9_]*\)(f \*testing\.F).*#./$(dirname "$f") \1#p" "$f"
  done | sort -u
}

step_fuzz() {
  local list count each; list=$(fuzz_targets); count=$(printf '%s' "$list" | grep -c . || true)
  [ "$count" -gt 0 ] || { echo "fuzz: there is no fuzz target in this tree"; return 0; }
  # A second of each target's share goes to building and starting it.
  each=$((FUZZBUDGET * FUZZJOBS / count - 1)); [ "$each" -le 3 ] || each=3; [ "$each" -ge 1 ] || each=1
  export FUZZTIME=${FUZZTIME:-${each}s} scratch
  export -f fuzz_one
  echo "fuzz: $count targets, $FUZZTIME each, $FUZZJOBS at a time"
  xargs -P "$FUZZJOBS" -L 1 bash -c 'fuzz_one "$@"' fuzz <<<"$list" || fail "fuzzing found something, see above"
}

# fuzz_one runs one target and prints a line, or all it said if it fails. The
# fuzzer of Go 1.26 now and then reports the end of its own time as a failure
# (go.dev/issue/75804); that, and only that, is tried again.
fuzz_one() {
  local pkg=$1 target=$2 log try
  log=$(mktemp -p "$scratch")
  for try in 1 2 3; do
    if go test -run '^$' -parallel 1 -fuzzminimizetime 20x -fuzz "^$target\$" -fuzztime "$FUZZTIME" "$pkg" >"$log" 2>&1; then
      printf 'ok    %s %s  %s\n' "$pkg" "$target" "$(grep -oE 'execs: [0-9]+' "$log" | tail -n1)"
      return 0
    fi
    grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log" || break
  done
  printf 'FAIL  %s %s\n' "$pkg" "$target"; cat "$log"
  return 1
}

step_mutants() {
  go build -C tools -o "$scratch/mutants" ./mutants
  "$scratch/mutants" -only "$MUTANTS" -area "${AREA:-}"
}

run() {
  local name=$1 begin=$SECONDS
  printf '\n== %s\n' "$name"
  "step_${name//-/_}"
  printf '%6d s  %s\n' $((SECONDS - begin)) "$name" >>"$scratch/times"
}

closing() {
  printf '\n== time\n'; cat "$scratch/times"; printf '%6d s  in all\n' "$SECONDS"
  [ -f "$scratch/gotest" ] || return 0
  printf '\n== go test\n'; grep -E '^(ok|FAIL|---|panic:|\?)' "$scratch/gotest" || true
}

main() {
  [ $# -gt 0 ] || fail "name a step: all ${STEPS[*]}"
  local s steps=("$@"); [ "$1" != all ] || steps=("${STEPS[@]}")
  for s in "${steps[@]}"; do
    declare -F "step_${s//-/_}" >/dev/null || fail "no step is called $s; there are: all ${STEPS[*]}"
  done
  for s in "${steps[@]}"; do run "$s"; done
  closing
}
main "$@"
