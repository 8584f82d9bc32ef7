open('/planted', 'w')
