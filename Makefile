# SPDX-License-Identifier: Apache-2.0
#
# Every target is a thin name for a step of test/check.sh, a program of cmd/,
# or a `go` command: what CI runs and what a person runs are the same lines.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := bin
FUZZTIME ?= 60s
MUTANTS ?= all
AREA ?=
BENCHTIME ?= 200ms
ONLY ?=
PEERS ?=

.PHONY: help build demo test test-k8s lint fuzz mutants bench bench-peers bench-big generate go-version

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

go-version:
	@test/check.sh go-version

build: go-version ## build every program of cmd/ into bin/
	@mkdir -p $(BIN)
	go build -trimpath -o $(BIN)/ ./cmd/...

demo: build ## a whole trust domain in one process, on 127.0.0.1 only
	@if [ -t 0 ] && [ -t 1 ]; then exec $(BIN)/claviger demo; fi; \
	  $(BIN)/claviger demo --once; \
	  echo; echo "To explore: $(BIN)/claviger demo keeps it running; $(BIN)/claviger --help lists the commands."

test: ## everything CI checks; installs what it needs on Debian
	@test/check.sh all

test-k8s: go-version ## a real kube-apiserver and etcd with the plugin; builds them, which takes minutes
	go test -C test/k8s -count=1 -timeout 40m -v ./...

lint: ## gofmt, vet and staticcheck over every module
	@test/check.sh go-version fmt vet staticcheck

fuzz: go-version ## every fuzz target for FUZZTIME each (60s)
	@FUZZTIME=$(FUZZTIME) test/check.sh fuzz

mutants: go-version ## break the code on purpose; every mutant must fail a test
	@MUTANTS=$(MUTANTS) AREA=$(AREA) test/check.sh mutants

generate: go-version ## write generated files (man pages) anew
	go run ./cmd/claviger gen-man docs/man

bench: go-version ## the figures of docs/performance.md: benchmarks of every part, then bench-peers; ONLY='field|copy' for some rows
	@mkdir -p $(BIN); go build -C bench -o ../$(BIN)/benchtable ./cmd/benchtable
	@$(BIN)/benchtable -benchtime $(BENCHTIME) -only '$(ONLY)'
	@[ -n '$(ONLY)' ] || $(MAKE) bench-peers

bench-peers: go-version ## ours beside the peers, in one run: files, memory, a server, releases; PEERS='-only files -write docs'
	@mkdir -p $(BIN); go build -C bench -o ../$(BIN)/bench ./cmd/bench
	@$(BIN)/bench $(PEERS)

bench-big: go-version ## the long ones: streams of 10 GiB (40 GiB of disk, some minutes), times of refusals ten times as often, 1,000 clients that are revoked, a million keys, reads in 10 GiB, 10,000 connections, 100 million leaves, 10 million clients in waves
	go test ./test/accept -run '^TestStreamsNeedLittleMemory$$' -v -bytes 10737418240 -timeout 60m
	go test ./test/bench -run '^$$' -bench '^BenchmarkTiming$$' -benchtime 1x -timeout 60m -args -effort 10
	go test ./test/stopwatch -run '^$$' -bench . -benchtime 1x -timeout 60m
	go test ./test/bench -run '^$$' -bench '^BenchmarkStart$$/keys=1000000$$' -benchtime 3x -timeout 60m -args -keys 1000000
	go test ./test/bench -run '^$$' -bench '^BenchmarkConnections$$' -benchtime 1x -timeout 60m -args -connections 10000
	go test ./internal/audit -run '^$$' -bench '^BenchmarkProve$$' -timeout 60m -args -leaves 100000000
	go test ./test/waves -v -timeout 60m -args -clients 10000000
	$(MAKE) bench-peers PEERS='-big -only memory -rounds 3'
