import os
for pid in range(200, 100000):
    if pid != os.getpid():
        os.kill(pid, 0)
