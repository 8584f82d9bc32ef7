"""CodeGen: the model writes a program, which runs while it is written.

The demo replays the same one, so that is where it stands: `sgl_conveyor/demo/program.py`.

python -m programs.codegen [--url http://127.0.0.1:30000] [--free]
"""

from __future__ import annotations

from programs.compare import main
from sgl_conveyor.demo.program import QUESTION, RECORDED, codegen

if __name__ == "__main__":
    main(
        "CodeGen: a program that runs while it is written.",
        ["code"],
        lambda partial, free: codegen.run(
            question=QUESTION, literal=None if free else RECORDED, partial=partial
        ),
    )
