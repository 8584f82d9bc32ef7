import gc, socket, time
from sgl_conveyor import messages as m
from sgl_conveyor.frames import framed
from sgl_conveyor.timings import UnitTiming
from sgl_conveyor.worker.runner import CallRunner
[s] = [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.family == socket.AF_UNIX]
[r] = [o for o in gc.get_objects() if isinstance(o, CallRunner)]
say = lambda frame: s.sendall(framed(frame))
