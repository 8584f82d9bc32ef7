"""Calls another tool, which no sandbox may."""
say(m.encode(m.CallTool(r.call, 0, "python", "print(1)")))
time.sleep(5)
