"""The system calls that what a model wrote may make: an allowlist, as bubblewrap takes it.

Made with libseccomp (Debian's libseccomp2, which apt and systemd bring along) by ctypes: it knows
the numbers of the calls on each processor, and no Python binding of it is kept up. What is in
neither list does not exist (ENOSYS), so that the C library falls back as on an old kernel; what is
refused is refused as to a user without rights (EPERM), which programs understand.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import tempfile

from sgl_conveyor.errors import ConfigurationError

#: As libseccomp calls it.
THIS_PROCESSOR = 0

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_CMP_EQ, _CMP_MASKED_EQ = 4, 7
_AF_UNIX = 1
#: An attribute of a filter, and its value for one that is looked through by halves.
_OPTIMIZE, _BINARY_TREE = 8, 2
#: The flags of `clone` that make namespaces.
_NEW_NAMESPACES = 0x7E020080
#: Requests of `ioctl`: is it a terminal, what can be read, and flags of a descriptor.
_REQUESTS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
_LOW_HALF = 0xFFFFFFFF

#: What an interpreter, numpy, matplotlib, threads, forks and subprocesses need.
_ALLOWED = """
access alarm arch_prctl brk capget chdir chmod chown clock_getres clock_gettime clock_nanosleep
close close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat
faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync
fgetxattr flistxattr flock fork fstat fstatfs fsync ftruncate futex futex_waitv getcpu getcwd
getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp getpid
getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname
getsockopt get_robust_list gettid gettimeofday getuid getxattr inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lgetxattr link linkat listxattr llistxattr lseek lstat madvise
membarrier mincore mkdir mkdirat mlock mlock2 mmap mprotect mremap msync munlock munmap nanosleep
newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 poll ppoll prctl
pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read readahead readlink
readlinkat readv recvfrom recvmmsg recvmsg rename renameat renameat2 restart_syscall rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getparam sched_getscheduler sched_setaffinity sched_yield select sendfile sendmmsg sendmsg
sendto set_robust_list set_tid_address setitimer setpgid setpriority setrlimit shutdown
sigaltstack signalfd signalfd4 splice stat statfs statx symlink symlinkat sync_file_range sysinfo
tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat
utime utimensat utimes vfork wait4 waitid write writev
""".split()  # noqa: SIM905  (a list of words)
#: What exists, and is nobody's business in a sandbox; programs that try it should hear so.
_REFUSED = """
accept accept4 acct add_key adjtimex bind bpf chroot clock_adjtime clock_settime connect
delete_module fanotify_init fanotify_mark finit_module fsconfig fsmount fsopen fspick init_module
io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl
listen lookup_dcookie mbind memfd_create memfd_secret migrate_pages mknod mknodat modify_ldt mount
mount_setattr move_mount move_pages mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend
mq_unlink msgctl msgget msgrcv msgsnd name_to_handle_at nfsservctl open_by_handle_at open_tree
perf_event_open personality pidfd_getfd pivot_root process_madvise process_mrelease
process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot remap_file_pages request_key
seccomp semctl semget semop semtimedop set_mempolicy set_mempolicy_home_node setdomainname
setfsgid setfsuid setgid setgroups sethostname setns setregid setresgid setresuid setreuid setsid
setsockopt settimeofday setuid shmat shmctl shmdt shmget socket swapoff swapon syslog umount2
unshare uselib userfaultfd vhangup vmsplice
""".split()  # noqa: SIM905  (a list of words)


class _Version(ctypes.Structure):
    """libseccomp's `struct scmp_version`."""

    _fields_ = tuple((name, ctypes.c_uint) for name in ("major", "minor", "micro"))


class _Comparison(ctypes.Structure):
    """libseccomp's `struct scmp_arg_cmp`."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def library_version() -> str:
    """The version of libseccomp.

    Raises:
        ConfigurationError: it is not there.
    """
    library = _library()
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    version = library.seccomp_version().contents
    return f"{version.major}.{version.minor}.{version.micro}"


@functools.cache
def compiled_filter(processor: int = THIS_PROCESSOR) -> bytes:
    """The filter for a kind of processor, as the kernel takes it.

    Args:
        processor: its number in the kernel's `AUDIT_ARCH_` names.

    Raises:
        ConfigurationError: libseccomp is not there, or cannot make it.
    """
    library = _library()
    context = library.seccomp_init(_ERRNO | errno.ENOSYS)
    if not context:
        raise ConfigurationError("libseccomp made no filter: is its version 2.5 or newer?")
    try:
        # What cannot be added is this one, by its own number: it is there already.
        if library.seccomp_arch_add(context, processor) == 0:
            library.seccomp_arch_remove(context, THIS_PROCESSOR)
        library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)
        for name in _ALLOWED:
            _add(library, context, _ALLOW, name)
        for name in _REFUSED:
            _add(library, context, _ERRNO | errno.EPERM, name)
        _add(library, context, _ALLOW, "socketpair", _Comparison(0, _CMP_EQ, _AF_UNIX, 0))
        _add(library, context, _ALLOW, "clone", _Comparison(0, _CMP_MASKED_EQ, _NEW_NAMESPACES, 0))
        for request in _REQUESTS:
            only_if = _Comparison(1, _CMP_MASKED_EQ, _LOW_HALF, request)
            _add(library, context, _ALLOW, "ioctl", only_if)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise ConfigurationError(
            "the sandbox needs libseccomp: install the Debian package libseccomp2 "
            "(apt-get install libseccomp2), or pass --unsafe-no-sandbox at your risk"
        ) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    for change in (library.seccomp_arch_add, library.seccomp_arch_remove):
        change.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def _add(library: ctypes.CDLL, context: int, action: int, name: str, *only_if: _Comparison) -> None:
    """Say what is done at a system call; one that this processor has not needs nothing."""
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return
    comparisons = (_Comparison * len(only_if))(*only_if)
    result = library.seccomp_rule_add_array(
        context, action, number, len(only_if), comparisons if only_if else None
    )
    if result != 0:
        raise ConfigurationError(f"libseccomp refused the rule of {name}: error {-result}")


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    with tempfile.TemporaryFile() as file:
        result = library.seccomp_export_bpf(context, file.fileno())
        if result != 0:
            raise ConfigurationError(f"libseccomp could not write the filter: error {-result}")
        file.seek(0)
        return file.read()
