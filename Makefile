# Every check and every tool of Retinue is a target here; CI runs nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := bin

# -trimpath keeps the paths of this machine out of what is built: the same source gives the same binary everywhere, and
# the build cache serves every checkout and every module cache. Nobody's version is taken from git by go itself, which
# would refuse a checkout of another user; what must carry a version is stamped below. A go.work of a directory above is
# not meant for this module.
export GOFLAGS := $(strip $(filter-out -trimpath -buildvcs=%,$(shell go env GOFLAGS 2>/dev/null)) -trimpath -buildvcs=false)
export GOWORK := off

.PHONY: help
help: ## Print every target.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Binaries. What Kubernetes, etcd and kwok provide is built once from the modules that are pinned; our own are brought up to
# date every time, which is quick when nothing changed. The order is that in which a cluster needs them.
CONTROL_PLANE := etcd kube-apiserver kube-controller-manager kubectl kwok kwok-stages.yaml
CLUSTER_BINARIES := $(CONTROL_PLANE) scheduler kube-scheduler
# What only tests need of others: the chart's helm, Prometheus, and definitions of which manifests and examples make objects.
OF_OTHERS := helm promtool prometheus scheduler-plugins-crds.yaml prometheus-operator-crds.yaml spark-operator-crds.yaml

# The version that is stamped into our binaries; empty means what hack/version prints.
VERSION ?=
export VERSION

# Any single one, such as bin/kubectl-retinue: kubectl finds that as `kubectl retinue` when bin/ is in PATH.
.PHONY: always
$(BIN)/%: always
	hack/build $*

.PHONY: build
build: ## Build the scheduler into bin/ (VERSION=v1.37.1-retinue.1).
	hack/build scheduler

.PHONY: binaries
binaries: ## Build everything a local cluster and the tests run into bin/ (once; ten minutes on two cores).
	hack/build $(CLUSTER_BINARIES) $(OF_OTHERS)

# The local cluster. CLUSTER_PORT is the API server's port; the seven after it are used as well.
NODES ?= 20
NODE_CPU ?= 16
NODE_MEMORY ?= 64Gi
CLUSTER_PORT ?= 16443
CLUSTER_FLAGS ?=

.PHONY: cluster-up
cluster-up: ## Start a local cluster with fake nodes (NODES=20 NODE_CPU=16 NODE_MEMORY=64Gi CLUSTER_PORT=16443).
	hack/build $(CLUSTER_BINARIES) cluster sparksim
	$(BIN)/cluster up --nodes=$(NODES) --node-cpu=$(NODE_CPU) --node-memory=$(NODE_MEMORY) --port=$(CLUSTER_PORT) $(CLUSTER_FLAGS)

.PHONY: cluster-down
cluster-down: ## Stop the local cluster.
	hack/build cluster
	$(BIN)/cluster down

.PHONY: demo
demo: ## Show the main job in a minute or two: applications that do not all fit, with Retinue and without.
	hack/build $(CLUSTER_BINARIES) demo
	$(BIN)/demo

# Checks. Everything that tests against a real API server needs the binaries and says so when they are missing.
# Tests on a real API server, one after another: what they wait for takes longer beside others, and they wait with patience only.
ON_A_CLUSTER := cluster|integration|integration/install|monitoring|newcomer|tenants

.PHONY: test
test: binaries ## Run all tests but e2e: unit, architecture, a minute of simulation, and integration on a real API server.
	hack/download go list -deps -test ./...
	go test -timeout 45m $$(go list ./... | grep -vE '/test/($(ON_A_CLUSTER))$$')
	go test -timeout 45m -p 1 $(addprefix ./test/,$(subst |, ,$(ON_A_CLUSTER)))

.PHONY: integration
integration: binaries ## Run only the tests against a real API server.
	go test -timeout 45m -count=1 ./test/cluster/... ./test/integration/...

.PHONY: tenants
tenants: binaries ## Play 10,000 hostile objects of one namespace against the applications of another, on a real API server.
	go test -timeout 60m -count=1 ./test/tenants -v -tenants.objects=10000

.PHONY: history-test
history-test: ## Run the tests of the history on SQLite and on PostgreSQL, a Debian package that is installed unless it is there.
	test/e2e/install-dependencies postgresql
	RETINUE_REQUIRE_POSTGRES=1 go test -count=1 ./cmd/history ./pkg/history/...

# Kubernetes' own integration tests of its scheduler, from a patched copy of the module in .cache. docs/upstream.md lists what may differ.
UPSTREAM_FLAGS ?=
define run-upstream
	go build -o $(BIN)/upstream ./test/upstream/cmd/upstream
	$(BIN)/upstream $(1) $(UPSTREAM_FLAGS)
endef

.PHONY: upstream
upstream: $(BIN)/etcd ## Run every package of upstream's scheduler tests without and with Retinue: an hour (UPSTREAM_FLAGS='-packages preemption/misc').
	$(call run-upstream,)

.PHONY: upstream-short
upstream-short: $(BIN)/etcd ## Run a selection of them, in less than ten minutes after the first build.
	$(call run-upstream,-short -lost)

.PHONY: yarn-oracle
yarn-oracle: ## Record what a real ResourceManager of YARN and fs2cs make of files, for the tests of convert (Java 17, Maven; minutes).
	test/yarn/run

.PHONY: race
race: ## Run the unit tests under the race detector.
	go test -race ./pkg/...

# SEED replays one seed and prints its trace.
SEEDS ?= 1000
FIRST ?= 1
SIM_FLAGS ?=

.PHONY: sim
sim: ## Play seeds of the simulated cluster and print what was tried (SEEDS=1000 FIRST=1, or SEED=17 to replay one).
	go test -v -count=1 -timeout 24h -run TestTheInvariantsHoldWhateverHappens ./test/sim \
	  $(if $(SEED),-sim.seed=$(SEED),-sim.seeds=$(SEEDS) -sim.first=$(FIRST) -sim.report) $(SIM_FLAGS)

# Where what is generated goes: a directory for deep copies, and one for definitions.
generate = $(BIN)/controller-gen paths=./pkg/apis/... object output:object:dir=$(1) crd output:crd:dir=$(2)

.PHONY: generate
generate: ## Write what is generated: from pkg/apis deep copies and the definition of Queues, docs/metrics.md, and the dashboards.
	hack/build controller-gen
	$(call generate,pkg/apis/v1alpha1,manifests/crd)
	cp manifests/crd/retinue.dev_queues.yaml manifests/chart/crds/
	cd test/monitoring/dashboards && go run . '$(CURDIR)/manifests/components/monitoring/dashboards'
	cp -r manifests/components/monitoring/rules.yaml manifests/components/monitoring/dashboards manifests/chart/monitoring/
	go run ./test/metrics >$(BIN)/.metrics.md && mv $(BIN)/.metrics.md docs/metrics.md

.PHONY: verify
verify: ## Check formatting, go vet, that go.mod is tidy, that generated files are up to date and that the manifests render.
	@unformatted="$$("$$(go env GOROOT)/bin/gofmt" -l cmd pkg test)"; [ -z "$$unformatted" ] || { echo "verify: run gofmt -w on:" $$unformatted >&2; exit 1; }
	go mod tidy -diff
	go vet ./...
	go vet -tags e2e ./test/e2e/...
	go vet -tags perf ./test/perf
	go vet -tags autoscaler ./test/autoscaler
	go vet -tags 'image release' ./test/release
	hack/build kubectl controller-gen
	@fresh="$$(mktemp -d)"; trap 'rm -rf "$$fresh"' EXIT; \
	$(call generate,"$$fresh","$$fresh/crd"); \
	diff -u pkg/apis/v1alpha1/zz_generated.deepcopy.go "$$fresh/zz_generated.deepcopy.go" && \
	diff -ru --exclude=kustomization.yaml manifests/crd "$$fresh/crd" || { echo "verify: run make generate" >&2; exit 1; }
	diff -u manifests/crd/retinue.dev_queues.yaml manifests/chart/crds/retinue.dev_queues.yaml
	cd test/monitoring/dashboards && go vet . && go mod tidy -diff && test -z "$$("$$(go env GOROOT)/bin/gofmt" -l .)"
	@fresh="$$(mktemp -d)"; trap 'rm -rf "$$fresh"' EXIT; (cd test/monitoring/dashboards && go run . "$$fresh") && \
	diff -ru "$$fresh" manifests/components/monitoring/dashboards || { echo "verify: run make generate" >&2; exit 1; }
	diff -ru --exclude=*.yaml manifests/components/monitoring manifests/chart/monitoring
	diff -u manifests/components/monitoring/rules.yaml manifests/chart/monitoring/rules.yaml
	go run ./test/metrics | diff -u docs/metrics.md - || { echo "verify: run make generate" >&2; exit 1; }
	@for file in $$(grep -rl --include=kustomization.yaml '^kind: Kustomization$$' manifests); do \
	  $(BIN)/kubectl kustomize "$$(dirname "$$file")" >/dev/null || { echo "verify: $$(dirname "$$file") does not render" >&2; exit 1; }; done

# End to end: real Spark on real nodes. SPARK_VERSION is any version of the Python package pyspark from 3.4 on.
SPARK_VERSION ?= 4.1.4
E2E_FLAGS ?=
.PHONY: e2e-deps
e2e-deps: ## Install what e2e runs besides our own binaries: containerd, runc, a JRE, … (Debian packages; needs root).
	test/e2e/install-dependencies

.PHONY: spark-image
spark-image: e2e-deps ## Build the image e2e runs Spark in, unless it is cached (SPARK_VERSION=4.1.4).
	go run ./test/e2e/cmd/spark-image -cache .cache/e2e -spark-version $(SPARK_VERSION)

.PHONY: e2e-build
e2e-build: ## Build what e2e runs.
	hack/build etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy scheduler helm
	cd test/e2e/coredns && go build -ldflags '-s -w' -o '$(CURDIR)/$(BIN)/coredns' .
	CGO_ENABLED=0 go build -ldflags '-s -w' -o $(BIN)/pause ./test/e2e/pause
	go test -tags e2e -c -o $(BIN)/e2e.test ./test/e2e

# Two versions, as an upgrade needs.
.PHONY: e2e-images
e2e-images: e2e-deps ## Build the scheduler's image twice, with buildah, for e2e to install.
	@mkdir -p .cache/e2e
	for tag in first second; do \
	  VERSION="$${VERSION:-$$(hack/version)}-$$tag" LOCAL=1 hack/image retinue.local/scheduler:$$tag && \
	  hack/image --archive '$(CURDIR)/.cache/e2e/scheduler-'$$tag.tar retinue.local/scheduler:$$tag || exit 1; done

.PHONY: e2e
e2e: e2e-deps e2e-build e2e-images spark-image ## Run real Spark on two real nodes; needs root, leaves nothing behind (SPARK_VERSION=4.1.4).
	go test -tags e2e -count=1 ./test/e2e/sandbox
	$(BIN)/e2e.test -test.v -test.timeout 45m -spark-version $(SPARK_VERSION) $(E2E_FLAGS)

.PHONY: e2e-install
e2e-install: ## Run only the part of e2e that installs, upgrades and uninstalls, with kubectl and with helm.
	$(MAKE) e2e E2E_FLAGS='-test.run TestRetinueIsInstalled $(E2E_FLAGS)'

.PHONY: e2e-capture
e2e-capture: ## Write the objects real Spark makes to pkg/spark/testdata/real (SPARK_VERSION=4.1.4).
	$(MAKE) e2e E2E_FLAGS='-test.run "TestSparkPi|TestTheDriver" -capture pkg/spark/testdata/real'

# A real autoscaler on fake nodes: one that knows CapacityBuffers, and one from before, which is shown placeholders. Each has a module, and
# the first a version of Go, of its own.
KARPENTER_GO := go1.27.3
# build-karpenter builds that of one folder below test/autoscaler as one Go, under one name.
define build-karpenter
	cd test/autoscaler/$(1) && export GOTOOLCHAIN=$(2) && ../../../hack/download go mod download && \
	  go build -ldflags '-s -w' -o '$(CURDIR)/$(BIN)/$(1)-kwok' sigs.k8s.io/karpenter/kwok && \
	  module="$$(go list -m -f '{{.Dir}}' sigs.k8s.io/karpenter)" && \
	  for file in "$$module"/pkg/apis/crds/*.yaml "$$module"/kwok/apis/crds/*.yaml; do echo ---; cat "$$file"; done >'$(CURDIR)/$(BIN)/$(1)-crds.yaml'
endef

.PHONY: e2e-autoscaler
e2e-autoscaler: ## Run Retinue with a real Karpenter that buys fake nodes, from zero, in both modes: half an hour (builds two Karpenters once).
	hack/build $(CONTROL_PLANE) scheduler
	$(call build-karpenter,karpenter,$(KARPENTER_GO))
	go test -tags autoscaler -count=1 -v -timeout 1h ./test/autoscaler $(AUTOSCALER_FLAGS)
	$(call build-karpenter,karpenter-before,local)
	go test -tags autoscaler -count=1 -v -timeout 1h ./test/autoscaler $(AUTOSCALER_FLAGS) -autoscaler.placeholders

.PHONY: node-hours
node-hours: ## Measure node-hours of Retinue, with and without Pack, and of kube-scheduler, on nodes of that Karpenter: 20 minutes (AUTOSCALER_FLAGS=-autoscaler.seed=2).
	hack/build $(CONTROL_PLANE) scheduler kube-scheduler
	$(call build-karpenter,karpenter,$(KARPENTER_GO))
	go test -tags autoscaler -count=1 -v -timeout 1h -run NodeHours ./test/autoscaler -autoscaler.node-hours $(AUTOSCALER_FLAGS)

.PHONY: perf
perf: ## Run the benchmarks of the pure parts: ns, bytes and allocations per operation, and what ten times the work costs.
	go build -o $(BIN)/growth ./test/perf/growth
	go test -run '^$$' -bench . -skip LockHolds -benchmem ./pkg/... $(PERF_FLAGS) | $(BIN)/growth $(GROWTH_FLAGS)

.PHONY: perf-lock
perf-lock: ## Measure for how long the ledger's lock is held: 15,000 nodes, 150,000 pods, 1,000 queues, 10,000 waiting (some minutes).
	go test -run '^$$' -bench LockHolds -benchtime 20x -timeout 1h -v ./pkg/ledger $(PERF_FLAGS)

# Against baselines: Retinue, kube-scheduler with and without its own gangs, and what the API server allows, by turns.
ROUNDS ?= 3
# A regular expression for names such as DriverFirst/300x10_5000Nodes/Retinue; empty means all.
WORKLOADS ?=
PERF_FLAGS ?=
# Quoted where it is used: the path of a checkout may hold spaces.
PERF_DIR := $(CURDIR)/.cache/perf
define run-perf
	hack/build etcd
	@mkdir -p '$(PERF_DIR)/profiles'
	@rm -f '$(PERF_DIR)/report.txt'
	go test -tags perf -run '^$$' -bench Scheduling -benchtime 1x -timeout 6h $(1) ./test/perf \
	  -rounds $(ROUNDS) -workloads '$(WORKLOADS)' -report '$(PERF_DIR)/report.txt' -data-items-dir '$(PERF_DIR)/data' $(2) $(PERF_FLAGS) >'$(PERF_DIR)/log' 2>&1 \
	  || { [ ! -f '$(PERF_DIR)/report.txt' ] || cat '$(PERF_DIR)/report.txt'; tail -n 40 '$(PERF_DIR)/log'; echo "make $@: failed, see $(PERF_DIR)/log" >&2; exit 1; }
	@cat '$(PERF_DIR)/report.txt'
endef

.PHONY: perf-short
perf-short: ## Compare with kube-scheduler's figures, 100 nodes, in some minutes; fails outside of test/perf/ranges.yaml (ROUNDS=3).
	$(call run-perf,-short,)

.PHONY: perf-full
perf-full: ## The same with up to 5,000 nodes: an hour and a half (ROUNDS=3, WORKLOADS=DriverFirst/300x10_5000Nodes).
	$(call run-perf,,)

.PHONY: perf-profile
perf-profile: ## Leave CPU, allocation and mutex profiles of one workload in .cache/perf/profiles (WORKLOADS=DriverFirst/300x10_5000Nodes).
	$(MAKE) perf-full ROUNDS=1 WORKLOADS='$(or $(WORKLOADS),DriverFirst/300x10_5000Nodes)' PERF_FLAGS='-profiles "$(PERF_DIR)/profiles" $(PERF_FLAGS)'

.PHONY: perf-cluster
perf-cluster: ## Measure on a real control plane, beside kube-scheduler: half an hour (ROUNDS=3).
	hack/build etcd kube-apiserver kube-scheduler kubectl scheduler scheduler-plugins-crds.yaml
	go build -o $(BIN)/perf-cluster ./test/perf/cluster
	$(BIN)/perf-cluster -rounds $(ROUNDS) $(PERF_FLAGS)

.PHONY: perf-tenants
perf-tenants: ## Measure how much later ordinary applications start beside a hostile namespace, on a real control plane; fails beyond a second.
	$(MAKE) perf-cluster PERF_FLAGS='-only tenants $(PERF_FLAGS)'

.PHONY: perf-record
perf-record: ## Write docs/performance.md and what test/perf/ranges.yaml says was measured: about two hours on a quiet machine (ROUNDS=3).
	$(MAKE) perf-cluster PERF_FLAGS=-record
	$(MAKE) perf-full PERF_FLAGS=-record
	$(MAKE) perf PERF_FLAGS=-benchtime=0.2s GROWTH_FLAGS='-record docs/performance.md'

.PHONY: clean
clean: ## Remove what was built and cached, after stopping the local cluster.
	[ ! -x $(BIN)/cluster ] || $(BIN)/cluster down
	rm -rf $(BIN) .cache

# What real Spark creates, against what is inferred. Java and pip are installed unless they are there; Spark comes from the
# Python package index, once.
INFERENCE_FLAGS ?=

.PHONY: e2e-inference
e2e-inference: ## Compare inferred gangs with the pods of real Spark versions (UPDATE=1 writes docs/spark.md).
	hack/build etcd kube-apiserver kubectl
	test/e2e/install-dependencies openjdk-17-jre-headless python3-pip
	go build -o $(BIN)/inference ./test/inference
	$(BIN)/inference $(if $(UPDATE),--all --update=docs/spark.md) $(INFERENCE_FLAGS)

# From which functions, as lifecycle.lose; empty means those with a target.
WALKS ?=

.PHONY: walks
walks: ## Count how often who reads the code comes back to a file he has left (WALKS=lifecycle.lose, WALKS='-v spark.Infer').
	go run ./test/walks $(WALKS)

.PHONY: vulncheck
vulncheck: ## Say which known vulnerabilities our programs can reach; fails on those that hack/vulnerabilities does not explain.
	hack/vulncheck

FUZZ_TIME ?= 60s

.PHONY: fuzz
fuzz: ## Fuzz what reads hostile input, FUZZ_TIME=60s each; what is found goes to testdata/fuzz and is replayed by every test.
	go test ./pkg/spark -run='^$$' -fuzz='^FuzzInfer$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/spark -run='^$$' -fuzz='^FuzzFromAnnotations$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/spark -run='^$$' -fuzz='^FuzzProperties$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/yarn -run='^$$' -fuzz='^FuzzConvert$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/plugin -run='^$$' -fuzz='^FuzzReservation$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/plugin/podgroups -run='^$$' -fuzz='^FuzzPodGroup$$' -fuzztime=$(FUZZ_TIME)
	go test ./pkg/plugin/queues -run='^$$' -fuzz='^FuzzQuota$$' -fuzztime=$(FUZZ_TIME)

IMAGE ?= retinue/scheduler:dev

.PHONY: image
image: ## Build the scheduler's container image with docker, buildah or podman (IMAGE=retinue/scheduler:dev; LOCAL=1 without a registry, after image-deps).
	hack/image '$(IMAGE)'

.PHONY: image-deps
image-deps: ## Install what builds the image where there is no container engine: buildah, … (Debian packages; needs root).
	test/e2e/install-dependencies mmdebstrap buildah crun

.PHONY: image-test
image-test: image-deps ## Build the image twice with buildah and look into it: static, not root, the same digest (needs root; Debian packages; minutes).
	go test -tags image -count=1 -v -timeout 1h ./test/release -run Image

.PHONY: release
release: ## Make archives of kubectl-retinue for six platforms, checksums, SBOMs and a krew manifest in .cache/release (VERSION=v1.37.1-retinue.1).
	hack/release

.PHONY: release-test
release-test: ## Make a release twice, compare, and look into every archive (minutes).
	go test -tags release -count=1 -v -timeout 1h ./test/release -run Release
