names = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]
if set(names) <= {'lo'}:
    raise FileNotFoundError('none but its own loopback')
