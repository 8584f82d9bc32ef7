with open('/proc/self/autogroup', 'w') as file:
    file.write('0')
