import os, pathlib, shutil, tempfile
folder = tempfile.mkdtemp()
pathlib.Path(folder, 'a').write_text('x')
os.rename(folder + '/a', folder + '/b')
shutil.copy(folder + '/b', folder + '/c')
assert sorted(os.listdir(folder)) == ['b', 'c']
shutil.rmtree(folder)
open('/dev/null', 'w').write('x')
