# Every target has a line of help: `make help`.
SHELL := /bin/bash
GO    ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
GOFUMPT := mvdan.cc/gofumpt@v0.10.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
TOOLS := .cache/tools

.DEFAULT_GOAL := build
.PHONY: help build demo test check race e2e-boot reload bootstorm kill flood conform fuzz bench bench-http bench-tftp bench-dhcp bench-lb idle-lb clean

help: ## show this help
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/helperd, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/helperd ./cmd/helperd

demo: packages-demo build ## boot a virtual cluster on this machine: no hardware, no change to it
	bin/helperd demo

test: packages-test check ## run all tests, with short forms of the long ones
	HELPERD_NO_SKIP=$${HELPERD_NO_SKIP:-$$([ $$(id -u) = 0 ] && echo 1)} $(GO) test -timeout 20m ./...

check: $(TOOLS)/gofumpt $(TOOLS)/staticcheck ## gofumpt, vet, staticcheck and the rules of the house
	@files=$$($(TOOLS)/gofumpt -l .) || exit 1; if [ -n "$$files" ]; then echo "not formatted by gofumpt:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...
	$(GO) test .

race: ## run the unit tests with the race detector
	$(GO) test -race -timeout 20m $$($(GO) list ./... | grep -v /test/)

e2e-boot: packages-matrix build ## boot virtual machines by every firmware through the daemon, about 10 minutes; BOOT=uefi-http: one of them (root)
	HELPERD_NO_SKIP=1 HELPERD_MATRIX=1 HELPERD_BIN=$(CURDIR)/bin/helperd $(GO) test -count=1 -timeout 90m -v $(if $(BOOT),-run 'TestMatrix/^$(BOOT)$$') ./test/e2e

reload: packages-test build ## reload 100 times, upgrade and restart 5 times under load: nothing may be lost, nothing refused (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_RELOADS=100 HELPERD_RESTARTS=5 HELPERD_RATE=$${RATE:-5000} $(GO) test -count=1 -timeout 20m -v ./test/reload

bootstorm: packages-test build ## switch on 200 machines at once, beside dnsmasq with nginx, in 10 minutes, ROUNDS each (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_STORM=$${NODES:-200} HELPERD_STORM_ROUNDS=$${ROUNDS:-3} $(GO) test -count=1 -timeout 60m -v -run LongStorm ./test/bootstorm

kill: packages-test ## kill -9 the DHCP server 50 times under load: nothing acknowledged may be lost or given twice (root)
	HELPERD_NO_SKIP=1 HELPERD_KILLS=50 $(GO) test -count=1 -timeout 20m -v -run Kill ./services/dhcp

flood: packages-test build ## send 200,000 mutated datagrams (DHCP, DHCPv6, NTP) to the daemon, in 3 minutes (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_FLOOD=$${DATAGRAMS:-67000} $(GO) test -count=1 -timeout 30m -v -run Flood ./test/clients

flood-dhcp: packages-test ## 5,000 DHCPDISCOVERs a second of invented MACs for FLOOD (default 10m): memory bounded, every known machine answered (root)
	HELPERD_NO_SKIP=1 HELPERD_DHCP_FLOOD=$${FLOOD:-10m} $(GO) test -count=1 -timeout 2h -v -run FloodOf ./services/dhcp

conform: packages-test build ## hold DHCP against dhcpd and dnsmasq, and the balancer against haproxy, case by case; bulk of BULK megabytes (default 1024)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd $(GO) test -count=3 -timeout 20m -v ./test/dhcp
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd $(GO) test -count=1 -timeout 20m -v ./test/lb
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_BULK=$${BULK:-1024} $(GO) test -count=1 -timeout 20m -v -run 'TestConformance/data/bulk' ./test/lb

fuzz: ## fuzz every parser of network bytes, FUZZTIME each (default 1m)
	@$(GO) list ./... | while read -r pkg; do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-1m} -fuzzminimizetime 1x $$pkg || exit 1; done; done

bench: ## run the benchmarks of all hot paths
	$(GO) test -run '^$$' -bench . -benchmem ./services/...

bench-http: packages-test build ## compare HTTP with nginx and apache2 in 3 minutes, ROUNDS each (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_BENCH=$${ROUNDS:-5} $(GO) test -count=1 -timeout 30m -v -run Compare ./test/bench/http

bench-tftp: packages-test build ## compare TFTP with in.tftpd and dnsmasq in 2 to 3 minutes, ROUNDS each (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_BENCH=$${ROUNDS:-5} $(GO) test -count=1 -timeout 30m -v -run Compare ./test/bench/tftp

bench-dhcp: packages-test build ## compare DHCP with dhcpd, Kea and dnsmasq in 8 minutes, ROUNDS each (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_BENCH=$${ROUNDS:-5} $(GO) test -count=1 -timeout 60m -v -run Compare ./test/bench/dhcp

bench-lb: packages-test build ## compare the balancer with haproxy of 1 and 2 threads in 8 minutes, ROUNDS each (root)
	HELPERD_NO_SKIP=1 HELPERD_BIN=$(CURDIR)/bin/helperd HELPERD_BENCH=$${ROUNDS:-5} $(GO) test -count=1 -timeout 60m -v -run Compare ./test/bench/lb

idle-lb: packages-test build ## hold 10,000 idle tunnels for IDLE (default 10m) through reloads: none may be lost (root)
	test/bench/lb/guest/run bin/helperd $${IDLE:-10m}

packages-demo packages-test packages-matrix:
	@test/packages.sh $(@:packages-%=%)

$(TOOLS)/gofumpt:
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(GOFUMPT)

$(TOOLS)/staticcheck:
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) $(GO) install $(STATICCHECK)

clean: ## remove what was built
	rm -rf bin dist .cache
