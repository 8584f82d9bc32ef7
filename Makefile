.PHONY: setup demo check test bench bench-full bench-gpu lock
.PHONY: server-tests part-tests types sglang-tests bench-tests process-tests database-tests other-tests

# Where this is set, each process of tests and benches compiles again what others have compiled.
unexport PYTHONDONTWRITEBYTECODE

setup:
	./setup.sh

demo: setup
	.venv/bin/sgl-conveyor demo

# Lint, types, and all tests that need no server, side by side.
check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(MAKE) --no-print-directory --jobs --keep-going --output-sync=target \
		types sglang-tests bench-tests process-tests database-tests other-tests

PYTEST = .venv/bin/pytest -m "not server"
# What imports SGLang shares one process, since that takes ten seconds of a core, and what the bench
# imports shares another one. Tests of processes wait more than they work.
SGLANG_TESTS = tests/frontend tests/demo tests/test_sglang_flags.py tests/test_tools_guide.py \
	tests/runtime tests/tool_workers/test_planning_grammar.py \
	tests/bench/measure/test_tap_cost.py tests/bench/measure/test_requests_at_once_and_aborts.py
# These share a PostgreSQL and a MariaDB of their own.
DATABASE_TESTS = tests/tool_workers/database
PROCESS_TESTS = tests/dispatcher tests/worker tests/conformance \
	$(wildcard tests/tool_workers/test_python*.py)
ignored = $(addprefix --ignore=,$(1))

types:
	.venv/bin/mypy
sglang-tests:
	SGLANG_PLATFORM=sgl_conveyor_cpu $(PYTEST) $(SGLANG_TESTS)
bench-tests:
	$(PYTEST) tests/bench $(call ignored,$(SGLANG_TESTS))
process-tests:
	$(PYTEST) -n 3 --dist loadfile $(PROCESS_TESTS)
database-tests:
	$(PYTEST) $(DATABASE_TESTS)
other-tests:
	$(PYTEST) -n 2 --dist loadfile \
		$(call ignored,tests/bench $(SGLANG_TESTS) $(PROCESS_TESTS) $(DATABASE_TESTS))

# And the tests with real servers: those that share one, one after the other, and beside them those that
# only start a part of SGLang.
test: check
	$(MAKE) --no-print-directory --jobs --keep-going --output-sync=line server-tests part-tests

server-tests:
	.venv/bin/pytest -m server tests/runtime
part-tests:
	.venv/bin/pytest -rs -m server --ignore=tests/runtime

# Five calls of each workload and mode, and the theory: under half an hour on two cores.
bench: setup
	.venv/bin/python -m bench.measure.workloads --repeat 5
	status=0; \
	.venv/bin/python -m bench.measure.theory --quick --runs bench/results/runs.json \
		--json bench/results/theory.json || status=1; \
	.venv/bin/python -m bench.report && exit $$status

# Twenty calls, the overhead, and many requests at once: about two hours. A figure that misses its
# limit does not keep the report from being written, but make fails.
bench-full: setup
	.venv/bin/python -m bench.measure.workloads --repeat 20
	.venv/bin/python -m bench.measure.workloads --cold --repeat 20 --json bench/results/cold.json
	.venv/bin/python -m bench.measure.concurrency
	.venv/bin/python -m bench.measure.early_abort --json bench/results/early_abort.json
	status=0; \
	.venv/bin/python -m bench.measure.theory --runs bench/results/runs.json \
		--json bench/results/theory.json || status=1; \
	.venv/bin/python -m bench.measure.overhead --json bench/results/overhead.json || status=1; \
	.venv/bin/python -m bench.report && exit $$status

# The same on a CUDA machine, with a model of 7B without weights: see bench/gpu.md. Two servers share the
# GPU and start at once, each with 15 GB of weights. SGLang gives the KV cache what is free after loading
# less (1 - fraction) of what was free before, and what the other server loads meanwhile counts as used:
# so the fraction is high, and the tokens limit the cache. What an earlier run left is deleted, so that it
# is not reported as this one's.
GPU = bench/results/gpu
GPU_FLAGS = --load-format dummy --mem-fraction-static 0.9 --max-total-tokens 16384
GPU_SERVERS = --server-flags="--model-path $(abspath $(GPU))/llama-7b-dummy $(GPU_FLAGS)"
REPEAT = 20

bench-gpu: setup
	.venv/bin/python -m bench.measure.gpu $(GPU)/llama-7b-dummy
	rm -f $(GPU)/*.json
	timeout 4h .venv/bin/python -m bench.measure.workloads --repeat $(REPEAT) \
		--json $(GPU)/runs.json $(GPU_SERVERS)
	-timeout 1h .venv/bin/python -m bench.measure.theory --runs $(GPU)/runs.json \
		--json $(GPU)/theory.json
	-timeout 1h .venv/bin/python -m bench.measure.concurrency --json $(GPU)/concurrency.json $(GPU_SERVERS)
	-timeout 3h .venv/bin/python -m bench.measure.overhead --json $(GPU)/overhead.json $(GPU_SERVERS)
	.venv/bin/python -m bench.report --results $(GPU) --out $(GPU)/REPORT.md \
		--figures $(GPU)/figures --summary $(GPU)/summary.json

# Pins every package again, after a change of pyproject.toml.
lock:
	uv=$$(command -v uv || echo .uv/bin/uv); \
	$$uv pip compile --quiet --all-extras --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --output-file requirements.lock pyproject.toml
