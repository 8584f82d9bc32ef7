import glob, os
seen = repr(dict(os.environ)).encode()
for name in glob.glob('/proc/*/environ'):
    try:
        seen += open(name, 'rb').read()
    except OSError:
        pass
if b'HOST_SECRET' not in seen:
    raise PermissionError('it is in no environment')
