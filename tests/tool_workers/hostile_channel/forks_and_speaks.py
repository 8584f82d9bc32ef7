"""Speaks from thirty processes at once, each into the others' frames."""
import os
frame = framed(m.encode(m.Emitted(r.call, "x" * 1000)))
for _ in range(30):
    if os.fork() == 0:
        for _ in range(2000):
            s.sendall(frame[:500])
            s.sendall(frame[500:])
        os._exit(0)
time.sleep(5)
