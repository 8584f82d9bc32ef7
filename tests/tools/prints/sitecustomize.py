"""On PYTHONPATH: the dispatcher prints, at its start and from then on, as a library may."""

import sys
import threading
import time


def print_for_ever() -> None:
    while True:
        print("a stray line")
        sys.stdout.flush()
        time.sleep(0.01)


if "sgl_conveyor.dispatcher" in sys.orig_argv:
    print("a stray line at the start", "x" * 200_000)
    print('{"type": "Nonsense"}', flush=True)
    sys.stdout.buffer.write(b'{"type": "caf\xe9"}\n')
    threading.Thread(target=print_for_ever, daemon=True).start()
