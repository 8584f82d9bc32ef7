import os
for number in range(20_000):
    os.close(os.open(f'/tmp/empty{number}', os.O_CREAT | os.O_WRONLY))
