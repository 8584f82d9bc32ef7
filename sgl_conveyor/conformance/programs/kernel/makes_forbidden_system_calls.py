# With arguments that do no harm: none maps, mounts or traces anything, even if it could.
import ctypes, errno, os
X86 = {
    'ptrace': 101, 'shmget': 29, 'semget': 64, 'msgget': 68, 'personality': 135, 'modify_ldt': 154,
    'mq_open': 240, 'add_key': 248, 'request_key': 249, 'mbind': 237, 'unshare': 272,
    'perf_event_open': 298, 'process_vm_readv': 310, 'kcmp': 312, 'memfd_create': 319,
    'bpf': 321, 'userfaultfd': 323, 'io_uring_setup': 425, 'pidfd_getfd': 438, 'memfd_secret': 447,
}
ARM = {
    'ptrace': 117, 'shmget': 194, 'semget': 190, 'msgget': 186, 'personality': 92, 'mq_open': 180,
    'add_key': 217, 'request_key': 218, 'mbind': 235, 'unshare': 97, 'perf_event_open': 241,
    'process_vm_readv': 270, 'kcmp': 272, 'memfd_create': 279, 'bpf': 280, 'userfaultfd': 282,
    'io_uring_setup': 425, 'pidfd_getfd': 438, 'memfd_secret': 447,
}
numbers = {'x86_64': X86, 'aarch64': ARM}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
made = []
for name, number in numbers.items():
    result = libc.syscall(number, *[ctypes.c_long(-1)] * 5)
    if result >= 0 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        made.append(name)
if not made:
    raise PermissionError('not one')
raise SystemExit(f'makes {made}')
