# At most 512 KiB in each of 2,400 pairs, however large the system's buffers are.
import os, socket, time
for _ in range(24):
    if os.fork() == 0:
        pairs = [socket.socketpair() for _ in range(100)]
        for one, other in pairs:
            one.setblocking(False)
            try:
                for _ in range(8):
                    one.send(bytes(64 * 1024))
            except BlockingIOError:
                pass
        time.sleep(4)
        os._exit(0)
for _ in range(24):
    os.wait()
