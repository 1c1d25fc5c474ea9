# Everything that these targets need beyond Go 1.26, Node.js with npm and (for the tests) Python 3.11 with pip and venv is installed by
# them, at the versions named here, in internal/test/engine/npm/package-lock.json and in the requirements.txt of internal/test/engine/ministack, internal/test/contract,
# internal/test/testkit/python and cmd/internal/bench/dynamodump, and cached.
GO ?= go
TOOLS := bin/tools

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ERRCHECK    := github.com/kisielk/errcheck@v1.30.0
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOLICENSES  := github.com/google/go-licenses@v1.6.0
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
TOOLSET     := $(TOOLS)/.installed-$(subst /,_,$(subst @,_,$(notdir $(STATICCHECK))_$(notdir $(ERRCHECK))_$(notdir $(GOFUMPT))_$(notdir $(GOVULNCHECK))_$(notdir $(GOLICENSES))_$(notdir $(GOTESTSUM))_$(notdir $(BENCHSTAT))))

.PHONY: help build lambda demo test bench codec torture mutants browser fuzz lint vuln licences clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build bin/reseal
	$(GO) build -trimpath -o bin/reseal ./cmd/reseal

lambda: ## build bin/replicator-arm64.zip and bin/replicator-amd64.zip, to be deployed
	$(GO) run ./cmd/internal/lambdazip bin

demo: build ## play the whole job on a local engine, with real data and live writes
	bin/reseal demo

# Pace and memory are another matter with the race detector: those tests run by themselves, one package at a time. With
# RESEAL_LONG=1 the memory is measured with 2,000,000 items, and verify's live traffic takes three quarters of an hour. With
# ENGINE=ministack (Python 3.11 with pip and venv) the tests that need an engine, and only they, run on that one, without the race detector and
# without those of pace and memory.
ENGINE ?= dynoxide
export RESEAL_TEST_ENGINE := $(ENGINE)
ON_ENGINE = $$($(GO) list -f '{{$$p := .ImportPath}}{{range .TestImports}}{{if eq . "reseal/internal/test/testkit"}}{{$$p}}{{"\n"}}{{end}}{{end}}{{range .XTestImports}}{{if eq . "reseal/internal/test/testkit"}}{{$$p}}{{"\n"}}{{end}}{{end}}' ./... | sort -u)

# gotestsum runs "go test" and keeps its events, of which the slowest tests are told at the end.
EVENTS    = bin/events-$(ENGINE).json
TESTS     = $(TOOLS)/gotestsum --format pkgname --hide-summary skipped --jsonfile $(EVENTS) --

test: browser $(TOOLSET) ## run all tests, with the race detector
ifeq ($(ENGINE),dynoxide)
	$(TESTS) -race -timeout $(if $(RESEAL_LONG),120m,30m) ./...
	@echo "the slowest tests:"; $(TOOLS)/gotestsum tool slowest --jsonfile $(EVENTS) --num 15
	$(TESTS) -timeout $(if $(RESEAL_LONG),60m,10m) -p 1 -run '^Test(Pace|Memory)' ./internal/item ./seed ./cmd/reseal
else
	$(TESTS) -timeout 30m -skip '^Test(Pace|Memory)' ./internal/test/testkit ./internal/test/engine/ministack $(ON_ENGINE)
	@echo "the slowest tests:"; $(TOOLS)/gotestsum tool slowest --jsonfile $(EVENTS) --num 15
endif

# The page of verify --report is tested in a real browser. Where there is none, and root can't get Debian's, that test is skipped; with
# CI=true it fails.
browser: ## install chromium and its driver, if they are missing and apt-get is there for it
	@if command -v chromedriver >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "no chromedriver: the report page is not tested in a browser"; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null || \
		echo "chromium can't be installed: the report page is not tested in a browser"

# Parts: client, scaling, ceiling, peers (where there is no Python, without dynamodump). "make bench ONLY=client ROUNDS=5 LONG=1
# JSON=figures.json" takes what is given of it.
ONLY ?=
ROUNDS ?= 3
JSON ?=
LONG ?=
bench: ## measure reseal beside a plain SDK loop, a bare load generator and dynamodump, as ratios
	$(GO) build -trimpath -o bin/bench ./cmd/internal/bench
	bin/bench -rounds $(ROUNDS) $(if $(ONLY),-only $(ONLY)) $(if $(JSON),-json $(JSON)) $(if $(LONG),-long) 2>bin/bench.log || { tail -n 5 bin/bench.log >&2; exit 1; }

# The committed figures say on what machine they were measured: times are to be compared on a like one only, allocations anywhere
# ("make test" fails if what is done to every item begins to allocate). "make codec KEEP=1" then puts this run's in their place.
KEEP ?=
CODEC := internal/item/testdata/codec.txt
codec: $(TOOLSET) ## measure how items are read and written, and compare that with the figures in the repository
	$(GO) test -run '^$$' -bench . -skip '^Benchmark(Apply|UpdateItem)$$' -benchmem -count 10 -benchtime 200ms \
		./internal/item ./internal/jsonwalk ./internal/wire ./internal/batch ./replicate >bin/codec.txt || { cat bin/codec.txt; exit 1; }
	$(TOOLS)/benchstat $(wildcard $(CODEC)) bin/codec.txt
	$(if $(KEEP),cp bin/codec.txt $(CODEC))

# Go fuzzes one target at a time. What a target finds goes to the testdata/fuzz folder beside it, and from then on is a test.
FUZZTIME ?= 1m
fuzz: ## fuzz each target for FUZZTIME (1m)
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' cmd internal replicate seed verify | sed 's/:func / /' | sort | \
	while read -r file target; do \
		echo "$$target of $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) </dev/null || exit 1; \
	done

# Each run has a seed; a failed one is played again with SEED=its seed RUNS=1 and its KIND, which is simulated, following or live (all, if left
# out). "make test" has a short form of it.
SEED ?=
RUNS ?= 500
KIND ?=
torture: SHELL := bash
torture: ## play random migrations under faults: make torture [KIND=simulated|following|live] [SEED=n] [RUNS=500]
	set -o pipefail; RESEAL_TORTURE_SEED=$(SEED) RESEAL_TORTURE_RUNS=$(RUNS) $(GO) test -count 1 -timeout 0 -parallel 4 -v \
		-run '$(if $(KIND),(?i)^Test$(KIND)$$,^Test(Simulated|Following|Live)$$)' ./cmd/internal/torture | grep -v '^=== \|--- PASS'

mutants: ## take one safety feature out at a time: the torture must find each within 50 runs
	$(GO) run ./cmd/internal/torture/mutants

lint: $(TOOLSET) vuln licences ## go vet, staticcheck, errcheck, gofumpt, govulncheck, licences
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	$(TOOLS)/errcheck ./...
	@unformatted=$$($(TOOLS)/gofumpt -l .); test -z "$$unformatted" || { echo "not gofumpt-ed: $$unformatted"; exit 1; }

# A vulnerability fails the build (exit status 3 of govulncheck). Where its database can't be reached, that is said, and
# nothing else is claimed.
vuln: $(TOOLSET) ## look for known vulnerabilities
	@output=$$($(TOOLS)/govulncheck ./... 2>&1); status=$$?; \
	if [ $$status -eq 0 ]; then echo "$$output" | tail -n 1; \
	elif echo "$$output" | grep -q 'fetching vulnerabilities'; then echo "govulncheck: NOT CHECKED, its database can't be reached"; \
	else echo "$$output"; exit $$status; fi

# What is in the programs, and what only the tests use. Another licence, or none that is known, fails the build.
LICENCES := Apache-2.0,MIT,BSD-2-Clause,BSD-3-Clause,ISC
licences: $(TOOLSET) ## check the licences of all that reseal is built with
	@$(TOOLS)/go-licenses check ./cmd/... --allowed_licenses=$(LICENCES) 2>$(TOOLS)/licences.log || { cat $(TOOLS)/licences.log; exit 1; }
	@$(TOOLS)/go-licenses check ./... --include_tests --allowed_licenses=$(LICENCES),MPL-2.0 2>$(TOOLS)/licences.log || { cat $(TOOLS)/licences.log; exit 1; }

$(TOOLSET):
	mkdir -p $(TOOLS)
	rm -f $(TOOLS)/.installed-*
	for tool in $(STATICCHECK) $(ERRCHECK) $(GOFUMPT) $(GOVULNCHECK) $(GOLICENSES) $(GOTESTSUM) $(BENCHSTAT); do GOBIN=$(abspath $(TOOLS)) $(GO) install $$tool || exit 1; done
	touch $@

clean: ## remove what was built
	rm -rf bin
