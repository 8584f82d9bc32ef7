# Of each family: unix, inet, inet6, netlink, packet, alg, vsock. None is connected to anything.
import socket
made = []
for family in (1, 2, 10, 16, 17, 38, 40):
    try:
        made.append(socket.socket(family, socket.SOCK_DGRAM).family)
    except OSError:
        pass
if not made:
    raise PermissionError('of no family')
