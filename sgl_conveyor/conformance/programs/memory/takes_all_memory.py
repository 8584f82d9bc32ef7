held = [bytearray(64 * 2**20) for _ in range(64)]
