# Signal 0 only asks whether a signal could be sent.
import os

def ancestors(pid):
    found = []
    while pid > 0:
        found.append(pid)
        status = dict(line.split(':', 1) for line in open(f'/proc/{pid}/status'))
        pid = int(status['PPid'])
    return found

strangers = []
for pid in [int(name) for name in os.listdir('/proc') if name.isdigit()]:
    try:
        if pid not in ancestors(os.getpid()) and os.getpid() not in ancestors(pid):
            os.kill(pid, 0)
            strangers.append(pid)
    except OSError:
        pass
if not strangers:
    raise ProcessLookupError('there is nobody')
