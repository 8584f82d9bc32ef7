import ctypes, os
number = {'x86_64': 250, 'aarch64': 219}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(number, 0, ctypes.c_long(-3), 0) < 0:
    raise OSError(ctypes.get_errno(), 'keyctl')
