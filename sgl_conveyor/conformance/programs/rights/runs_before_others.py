import os
if os.getpriority(os.PRIO_PROCESS, 0) == 19:
    os.nice(-1)
