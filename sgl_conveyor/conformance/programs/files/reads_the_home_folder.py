# The interpreter may lie below it: then the way to that is all that is seen.
import os, sys
home = 'HOST_HOME'
paths = [os.path.relpath(path, home) for path in (sys.prefix, sys.base_prefix, *sys.path) if path]
ways = {path.split(os.sep)[0] for path in paths}
seen = set(os.listdir(home)) - ways
if not seen:
    raise FileNotFoundError('nothing of it')
