import socket
socket.create_connection(('10.0.0.1', 80), 2)
