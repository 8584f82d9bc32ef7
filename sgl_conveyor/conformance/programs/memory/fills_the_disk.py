file = open('/tmp/big', 'wb')
for _ in range(200):
    file.write(bytes(2**20))
