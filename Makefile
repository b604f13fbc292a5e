# make demo and make test do all their own set-up. make help lists the rest.
SHELL := /bin/sh
BIN   := bin
OUT   := out
# Ramdisks to build: vm boots emulated machines, server real ones.
FLAVOURS := vm,server
GO    ?= go
# A C compiler is needed for the race detector; without one the tests go without.
RACE  := $(shell command -v cc >/dev/null 2>&1 && echo -race)

# What links the embedded API is large and slow under the race detector. The walk
# through the life cycle's states is one goroutine's, and five times as slow.
HEAVY := ./pkg/kubeapi ./pkg/admission ./e2e/... ./cmd/ingot
LIGHT  = $(shell $(GO) list ./... | grep -v -e /pkg/kubeapi -e /pkg/admission -e /e2e/ -e /cmd/ingot$$)

.PHONY: help demo test e2e e2e-all bench bench-ironic build images demo-image debian-image generate check lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## emulated machines, from nothing to their own operating system
	@hack/packages.sh demo
	@$(MAKE) --no-print-directory build demo-image FLAVOURS=vm images
	@hack/demo.sh

test: ## unit, transcript, package and integration tests; no root, no QEMU
	@hack/packages.sh test
	@$(MAKE) --no-print-directory build
	@test -n "$(RACE)" || echo "no C compiler: the race detector is left out (apt-get install gcc libc6-dev)"
	$(GO) vet ./...
	$(GO) test $(RACE) -skip '^TestExplore$$' $(LIGHT)
	INGOT_BINARY=$(CURDIR)/$(BIN)/ingot $(GO) test $(HEAVY) ./pkg/host

e2e: ## QEMU journeys, stock clients, kill tests (root)
	@hack/packages.sh e2e
	@$(MAKE) --no-print-directory build images demo-image debian-image
	INGOT_E2E_KERNEL=$$(ls -d $(CURDIR)/$(OUT)/.cache/linux-image-*-cloud-amd64 | tail -n 1) \
	INGOT_BINARY=$(CURDIR)/$(BIN)/ingot INGOT_BOOT_FILES=$(CURDIR)/$(OUT) INGOT_KILLS=$${INGOT_KILLS:-40} \
		$(GO) test -v -tags e2e -count=1 -p 1 -timeout 60m ./e2e/... ./pkg/lab/... ./pkg/bmc/ipmi/...

e2e-all: ## everything that make e2e has no time for: all 200 kills, all kinds of machine
	@INGOT_E2E=all INGOT_KILLS=200 $(MAKE) --no-print-directory e2e

bench: build ## figures beside the budgets of the design
	$(GO) test -run '^$$' -bench . -benchtime 1s ./pkg/host ./pkg/record ./pkg/image ./pkg/inventory ./pkg/dhcp
	$(GO) run ./e2e/scale --binary $(BIN)/ingot
	$(GO) run ./e2e/scale --binary $(BIN)/ingot --hosts 5000 --timeout 45m
	$(GO) run ./e2e/poll
	$(GO) run ./e2e/ironic/bench --binary $(BIN)/ingot
	$(GO) run ./e2e/ironic/bench --binary $(BIN)/ingot --nodes 10000 --hosts 0

bench-ironic: build ## REST beside a real Ironic, which is installed (root)
	@hack/ironic-bench.sh $(BIN)/ingot

build: ## bin/ingot
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/ingot ./cmd/ingot

images: ## kernels and ramdisks into out/
	$(GO) run ./images/build -out $(OUT) -flavours $(FLAVOURS) ramdisk

demo-image: ## the demo operating system into out/
	$(GO) run ./images/build -out $(OUT) demo

debian-image: ## a real Debian with cloud-init into out/ (root)
	$(GO) run ./images/build -out $(OUT) debian

generate: ## everything generated that is committed
	hack/generate.sh
	$(GO) generate ./...

check: lint ## what CI holds beyond the tests
	hack/generate.sh --check

lint: ## vet, gofumpt, golangci-lint
	$(GO) vet ./...
	hack/lint.sh

clean: ## remove what was built
	rm -rf $(BIN) $(OUT)
