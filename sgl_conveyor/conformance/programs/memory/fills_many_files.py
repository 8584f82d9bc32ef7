for number in range(40):
    open(f'/tmp/big{number}', 'wb').write(bytes(8 * 2**20))
