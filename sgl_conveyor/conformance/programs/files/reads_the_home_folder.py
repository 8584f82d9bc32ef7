# The interpreter may lie below it: then the way to that is all that is seen.
import os
seen = [name for name in os.listdir('HOST_HOME') if name.startswith(('.ssh', '.bash', '.profile'))]
if not seen:
    raise FileNotFoundError('nothing of it')
