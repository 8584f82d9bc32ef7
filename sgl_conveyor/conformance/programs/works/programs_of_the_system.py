import subprocess
run = subprocess.run(['sh', '-c', 'echo $((6 * 7))'], capture_output=True, check=True)
assert run.stdout == b'42\n'
