"""Sends hundreds of open files along with its frames, for the dispatcher to keep."""
import array, os
files = array.array("i", [os.open("/dev/null", os.O_RDONLY) for _ in range(100)])
for _ in range(50):
    s.sendmsg([framed(m.encode(m.Emitted(r.call, "x")))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
