# Where sockets are: not among what an interpreter is made of, which may be a great deal.
import os, stat, sys
python = [os.path.realpath(path) for path in {sys.prefix, sys.base_prefix, *sys.path} if path]
found = []
for root, folders, files in os.walk('/'):
    if root in ('/proc', '/usr', '/sys', *python):
        folders.clear()
        continue
    for name in files:
        path = os.path.join(root, name)
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            found.append(path)
if not found:
    raise FileNotFoundError('there is none')
