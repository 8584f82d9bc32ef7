status = dict(line.split(':', 1) for line in open('/proc/self/status'))
if int(status['NoNewPrivs']) == 1:
    raise PermissionError('it cannot: no_new_privs')
