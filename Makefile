.PHONY: setup demo test lock

setup:
	./setup.sh

demo: setup
	.venv/bin/sgl-conveyor demo

test: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest

# Pins every package again, after a change of pyproject.toml.
lock:
	uv=$$(command -v uv || echo .uv/bin/uv); \
	$$uv pip compile --quiet --all-extras --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --output-file requirements.lock pyproject.toml
