# make help lists what there is.
ENV_FILE ?= .env
SANDBOX  ?= demo
PYTHON   := .venv/bin/python
PYINFRA  := .venv/bin/pyinfra
export ENV_FILE

.PHONY: help setup demo demo-down demo-push test bench-deploys bench-backup lint plan setup-infra lock restore offsite-policy offsite-tidy

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.complete

.venv/.complete: requirements.lock
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$(python3 --version 2>&1)"; exit 1; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "installing python3-venv"; apt-get -qq update && apt-get -qq -y install python3-venv >/dev/null; } || { echo "missing: apt-get install python3-venv"; exit 1; }
	@command -v zstd >/dev/null || { echo "installing zstd"; apt-get -qq update && apt-get -qq -y install zstd >/dev/null; } || { echo "missing: apt-get install zstd"; exit 1; }
	@echo "… Python packages of requirements.lock into .venv"
	@python3 -m venv .venv && .venv/bin/pip -q --disable-pip-version-check install --require-hashes -r requirements.lock
	@touch $@

demo: setup ## the whole main job on this machine, in a sandbox; leaves it running
	@$(PYTHON) -m sandbox demo $(SANDBOX)

demo-push: setup ## commit VERSION=… to the sandbox's Git server and let GitOps deploy it
	@$(PYTHON) -m sandbox push $(SANDBOX) $(VERSION)

demo-down: setup ## remove every trace of the demo
	@$(PYTHON) -m sandbox down $(SANDBOX)

test: setup ## all tests; without root those that can run, and it says what is left out
	@$(PYTHON) -m pytest -n 2 --no-loadscope-reorder

bench-deploys: setup ## what clients lose while a server deploys, and while the old script does; as root, 25 min
	@$(PYTHON) -m bench.deploys

bench-backup: setup ## what backups and restores of 1 GB cost, and gzip's beside them; as root, 10 min
	@$(PYTHON) -m bench.backup

lint: setup ## ruff and mypy
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy .

plan: setup ## what provision.py and deploy.py would change; changes nothing
	@$(PYTHON) provision.py --dry-run
	@if [ -e "$(dir $(ENV_FILE))inventory.json" ]; then $(PYINFRA) --dry --diff inventory.py deploy.py; \
	else echo "deploy.py: no server yet; make setup-infra shows what it would change there before it asks."; fi

setup-infra: setup ## provision, then deploy; both show what they change and ask (YES=1 does not ask)
	@$(PYTHON) provision.py $(if $(YES),--yes)
	@$(PYINFRA) $(if $(YES),-y) inventory.py deploy.py

restore: setup ## a server in the place of a lost one, with its newest off-site backup; asks (YES=1 does not)
	@$(PYTHON) -m offsite restore $(if $(SET),--set $(SET)) $(if $(YES),--yes)

offsite-policy: setup ## what the S3 user of the server should be allowed, as JSON
	@$(PYTHON) -m offsite policy

offsite-tidy: setup ## mend and thin out the off-site copies; needs restic here
	@$(PYTHON) -m offsite tidy

lock: setup ## pin the newest versions that pyproject.toml allows
	@.venv/bin/pip -q install pip-tools
	@.venv/bin/pip-compile -q --upgrade --allow-unsafe --extra dev --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --no-header -o requirements.lock pyproject.toml
