open('/usr/planted', 'w')
