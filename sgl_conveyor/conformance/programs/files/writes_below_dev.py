open('/dev/planted', 'w')
