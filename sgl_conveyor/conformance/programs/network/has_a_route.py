# Some systems put devices into each network namespace, which lead nowhere: a route would.
routes = open('/proc/net/route').readlines()[1:]
if not routes:
    raise FileNotFoundError('none leads anywhere')
