# Everything that these targets need beyond Go 1.26 and Node.js with npm is installed by them, at the versions named here and
# in internal/engine/npm/package-lock.json, and cached.
GO ?= go
TOOLS := bin/tools

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ERRCHECK    := github.com/kisielk/errcheck@v1.30.0
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
TOOLSET     := $(TOOLS)/.installed-$(subst /,_,$(subst @,_,$(notdir $(STATICCHECK))_$(notdir $(ERRCHECK))_$(notdir $(GOFUMPT))_$(notdir $(GOVULNCHECK))))

.PHONY: help build lambda demo test browser lint vuln clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build: ## build bin/reseal
	$(GO) build -trimpath -o bin/reseal ./cmd/reseal

lambda: ## build bin/replicator-arm64.zip and bin/replicator-amd64.zip, to be deployed
	$(GO) run ./internal/lambdazip bin

demo: build ## play the whole job on a local engine, with real data and live writes
	bin/reseal demo

# Pace and memory are another matter with the race detector: those tests run by themselves, one package at a time. With
# RESEAL_LONG=1 the memory is measured with 2,000,000 items, and verify's live traffic takes three quarters of an hour.
test: browser ## run all tests, with the race detector
	$(GO) test -race -timeout $(if $(RESEAL_LONG),120m,30m) ./...
	$(GO) test -timeout $(if $(RESEAL_LONG),60m,10m) -p 1 -run '^Test(Pace|Memory)' ./seed ./cmd/reseal

# The page of verify --report is tested in a real browser. Where there is none, and root can't get Debian's, that test is skipped; with
# CI=true it fails.
browser: ## install chromium and its driver, if they are missing and apt-get is there for it
	@if command -v chromedriver >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "no chromedriver: the report page is not tested in a browser"; exit 0; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null || \
		echo "chromium can't be installed: the report page is not tested in a browser"

lint: $(TOOLSET) vuln ## go vet, staticcheck, errcheck, gofumpt, govulncheck
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

$(TOOLSET):
	mkdir -p $(TOOLS)
	rm -f $(TOOLS)/.installed-*
	for tool in $(STATICCHECK) $(ERRCHECK) $(GOFUMPT) $(GOVULNCHECK); do GOBIN=$(abspath $(TOOLS)) $(GO) install $$tool || exit 1; done
	touch $@

clean: ## remove what was built
	rm -rf bin
