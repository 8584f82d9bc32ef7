"""The sandbox of a worker that runs what a model wrote: bubblewrap, an own user, limits.

As root two bubblewraps are nested. The outer one, which still may, mounts what the worker can
see (an interpreter below root's home included). Then `setpriv` changes to an unprivileged user
of the worker's own, since a process limit never holds for root. The inner one makes a last user
namespace, in which no further one can be made. An ordinary user needs only one.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.processes import file_of
from sgl_conveyor.syscall_filter import compiled_filter
from sgl_conveyor.worker.scratch import mount_scratch

_CHECK_LIMIT_S = 30.0

#: A program could take back through it the share of the cores that the host gave its session.
#: Only the last bubblewrap can do this: it writes there itself before.
_READ_ONLY_PROC = ("--remount-ro", "/proc")

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
          "/etc/localtime", "/etc/fonts", "/etc/mime.types")  # fmt: skip


def command(
    inside: list[str], *, module: str, environment: dict[str, str], syscall_filter: int
) -> list[str]:
    """The command that runs another one in a sandbox; for `exec`, or a child with our descriptors.

    What this process can inherit, the command inside inherits too. This process gets a mount
    namespace of its own.

    Args:
        inside: the command; its program must be visible inside.
        module: the module that defines the tool; its package is visible inside.
        syscall_filter: the descriptor of the system calls that it may make.
        environment: all the variables that the worker has, besides a minimum.

    Raises:
        ConfigurationError: bubblewrap or setpriv is not installed, or nothing can be mounted.
    """
    mounts = _mounts(module, mount_scratch(_python_paths(module)))
    view = [*_namespaces(), *mounts, *_environment(module, environment)]
    view += ["--remount-ro", "/"]
    bwrap = _program("bwrap", "bubblewrap")
    last = ["--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    last += ["--seccomp", str(syscall_filter)]
    if os.getuid() != 0:
        view += [*last, "--uid", "65534", "--gid", "65534", *_READ_ONLY_PROC]
        return [bwrap, "--args", _descriptor_of(view), "--", *inside]
    user = str(_unused_user())
    view += ["--cap-drop", "ALL"]
    for capability in ("SETUID", "SETGID", "SETPCAP"):
        view += ["--cap-add", f"CAP_{capability}"]
    become = [
        _program("setpriv", "util-linux"), "--reuid", user, "--regid", user, "--clear-groups",
        "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--pdeathsig", "KILL",
    ]  # fmt: skip
    return [
        bwrap, "--args", _descriptor_of(view), "--", *become,
        bwrap, "--die-with-parent", *last, "--dev-bind", "/", "/", *_READ_ONLY_PROC,
        "--", *inside,
    ]  # fmt: skip


def _descriptor_of(arguments: list[str]) -> str:
    """The number of a descriptor that bubblewrap reads arguments from.

    They hold the worker's environment, which a command line would show to every user.
    """
    data = b"".join(argument.encode() + b"\0" for argument in arguments)
    descriptor = file_of("bwrap-arguments", data)
    os.set_inheritable(descriptor, True)
    return str(descriptor)


def check() -> None:
    """Make a sandbox and run this interpreter in it.

    Raises:
        ConfigurationError: it cannot be made here; the message says why and what to do.
    """
    inside = [sys.executable, "-c", "import sgl_conveyor.worker, msgspec"]
    allowed = file_of("syscall-filter", compiled_filter())
    os.set_inheritable(allowed, True)
    argv = command(inside, module="sgl_conveyor", environment={}, syscall_filter=allowed)
    try:
        run = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            timeout=_CHECK_LIMIT_S,
            check=False,
            close_fds=False,
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"a sandbox did not start within {_CHECK_LIMIT_S:g} s") from None
    if run.returncode != 0:
        reason = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[-1]
        raise ConfigurationError(
            f"a sandbox cannot be made here: {reason}. It needs user namespaces, and an "
            f"interpreter that this user can read ({sys.executable} and what belongs to it; "
            "PYTHON=... ./setup.sh takes another); the server's --unsafe-no-sandbox goes without"
        )


def _namespaces() -> list[str]:
    # As root the user namespace comes last, when the user has been changed.
    unshare = ["pid", "net", "ipc", "uts", "cgroup-try"] if os.getuid() == 0 else ["all"]
    flags = [f"--unshare-{name}" for name in unshare]
    return ["--die-with-parent", "--new-session", *flags, "--hostname", "sandbox", "--clearenv"]


def _mounts(module: str, scratch: dict[str, Path]) -> list[str]:
    # Memory first: an environment that lies below /tmp is mounted into it.
    mounts = [
        "--proc", "/proc", "--dev", "/dev",
        *(part for to, folder in scratch.items() for part in ("--bind", str(folder), to)),
        "--remount-ro", "/dev",
    ]  # fmt: skip
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            mounts += ["--symlink", os.readlink(path), name]
        elif path.is_dir():
            mounts += ["--ro-bind", name, name]
    for name in _FILES:
        if Path(name).exists():
            mounts += [*_directories(Path(name).parent), "--ro-bind", name, name]
    for path in _python_paths(module):
        mounts += [*_directories(path.parent), "--ro-bind", str(path), str(path)]
    return mounts


def _python_paths(module: str) -> list[Path]:
    """What an interpreter needs to be seen: its installation, the environment, our packages."""
    wanted = [Path(sys.base_prefix), Path(sys.prefix), Path(sys.executable).resolve().parent.parent]
    wanted += [
        _location(name) for name in ("sgl_conveyor", "tool_workers", module.partition(".")[0])
    ]
    seen: list[Path] = []
    for path in wanted:
        if path != Path("/") and not any(path.is_relative_to(p) for p in [Path("/usr"), *seen]):
            seen.append(path)
    return seen


def _location(module: str) -> Path:
    """The folder of a package, or the file of a module."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ConfigurationError(f"the sandbox cannot show the module {module!r}: it has no file")
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def _environment(module: str, environment: dict[str, str]) -> list[str]:
    roots = {
        str(_location(n).parent): None
        for n in ("sgl_conveyor", "tool_workers", module.partition(".")[0])
    }
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    return [part for name, value in variables.items() for part in ("--setenv", name, value)]


def _directories(path: Path) -> list[str]:
    """Make the parents of a mount point so that the sandbox's user may pass through them."""
    there = (Path("/"), Path("/tmp"))
    inside = [p for p in [path, *path.parents] if p not in there and not p.is_relative_to("/usr")]
    return [part for p in reversed(inside) for part in ("--perms", "0755", "--dir", str(p))]


def _unused_user() -> int:
    """A user id that nobody has, high up in what this user namespace can map."""
    ranges = [
        [int(n) for n in line.split()]
        for line in Path("/proc/self/uid_map").read_text().splitlines()
    ]
    first, _, count = max(ranges, key=lambda r: r[2])
    if count > 2**20:
        return first + 2**19 + secrets.randbelow(min(count, 2**31 - 1 - first) - 2**19)
    return first + count // 2 + secrets.randbelow(max(1, count // 2 - 1))


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"the sandbox needs {name}: install the Debian package {package} "
            f"(apt-get install {package}), or pass --unsafe-no-sandbox at your risk"
        )
    return found
