import os
os.stat('/etc/shadow')
