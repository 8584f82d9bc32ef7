import threading, time
for _ in range(500):
    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
