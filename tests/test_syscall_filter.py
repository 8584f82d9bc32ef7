"""The filter of system calls, as the kernel would run it, for both kinds of processors."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest

from sgl_conveyor.syscall_filter import compiled_filter

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
ALLOW, ERRNO, KILL_THREAD, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0, 0x80000000
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS

_resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name_arch


def number_of(name: str, processor: int) -> int:
    number = _resolve(ctypes.c_uint32(processor), name.encode())
    assert number >= 0, f"{name} is none of this processor's"
    return int(number)


def verdict(program: bytes, processor: int, number: int, *arguments: int) -> int:
    """What the program returns for a system call (kernel documentation, "Seccomp BPF")."""
    given = list(arguments) + [0] * (6 - len(arguments))
    data = struct.pack("<iIQ6Q", number, processor, 0, *given)
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator = at = 0
    while True:
        code, if_true, if_false, k = instructions[at]
        at += 1
        match code:
            case 0x20:  # load a word
                [accumulator] = struct.unpack_from("<I", data, k)
            case 0x54:  # and
                accumulator &= k
            case 0x05:  # jump
                at += k
            case 0x15:
                at += if_true if accumulator == k else if_false
            case 0x25:
                at += if_true if accumulator > k else if_false
            case 0x35:
                at += if_true if accumulator >= k else if_false
            case 0x45:
                at += if_true if accumulator & k else if_false
            case 0x06:  # return
                return int(k)
            case _:
                raise AssertionError(f"an instruction that no filter of ours has: {code:#x}")


@pytest.mark.parametrize("processor", [X86_64, AARCH64], ids=["x86-64", "aarch64"])
class TestVerdicts:
    @pytest.mark.parametrize(
        "name", ["read", "openat", "mmap", "futex", "execve", "exit_group", "wait4", "prlimit64"]
    )
    def test_what_programs_need_is_allowed(self, processor: int, name: str) -> None:
        program = compiled_filter(processor)
        assert verdict(program, processor, number_of(name, processor)) == ALLOW

    @pytest.mark.parametrize(
        "name",
        [
            "socket", "connect", "bind", "io_uring_setup", "userfaultfd", "memfd_create",
            "memfd_secret", "shmget", "msgget", "mq_open", "kcmp", "personality", "mbind",
            "perf_event_open", "keyctl", "add_key", "ptrace", "bpf", "unshare", "setns", "mount",
            "process_vm_readv", "open_by_handle_at", "seccomp", "setsid",
        ],
    )  # fmt: skip
    def test_what_is_nobodys_business_is_refused(self, processor: int, name: str) -> None:
        program = compiled_filter(processor)
        assert verdict(program, processor, number_of(name, processor)) == EPERM

    def test_what_is_unknown_does_not_exist(self, processor: int) -> None:
        program = compiled_filter(processor)
        assert verdict(program, processor, 9999) == ENOSYS
        assert verdict(program, processor, number_of("clone3", processor)) == ENOSYS

    def test_arguments_decide(self, processor: int) -> None:
        program = compiled_filter(processor)
        pair = number_of("socketpair", processor)
        assert verdict(program, processor, pair, 1) == ALLOW
        assert verdict(program, processor, pair, 2) == ENOSYS
        clone = number_of("clone", processor)
        assert verdict(program, processor, clone, 17) == ALLOW
        assert verdict(program, processor, clone, 0x10000000 | 17) == ENOSYS
        ioctl = number_of("ioctl", processor)
        assert verdict(program, processor, ioctl, 1, 0x5401) == ALLOW
        # The kernel looks at the low half only, and so do we.
        assert verdict(program, processor, ioctl, 1, 0xFFFFFFFF00005401) == ALLOW
        assert verdict(program, processor, ioctl, 1, 0x5412) == ENOSYS

    def test_a_call_in_another_processors_way_is_none(self, processor: int) -> None:
        program = compiled_filter(processor)
        assert verdict(program, 0x40000003, 3) in (KILL_THREAD, KILL_PROCESS)  # i386
