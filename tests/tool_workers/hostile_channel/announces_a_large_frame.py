"""Announces 1 GiB, and sends as much of it as it is let."""
s.sendall((2**30).to_bytes(4))
while True:
    s.sendall(bytes(65536))
