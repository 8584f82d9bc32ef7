import sqlite3
connection = sqlite3.connect('/tmp/x.db')
connection.execute('create table t (a)')
connection.commit()
assert connection.execute('select * from t').fetchall() == []
