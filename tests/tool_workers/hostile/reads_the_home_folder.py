import os
os.listdir('HOME/.ssh')
