"""A server that only says which session it is in, for `test_servers.py`."""

import os
import time

print(f"ready in session {os.getsid(0)}", flush=True)
time.sleep(60)
