import os
descriptor = os.memfd_create('hidden')
for _ in range(8):
    os.write(descriptor, bytes(64 * 2**20))
