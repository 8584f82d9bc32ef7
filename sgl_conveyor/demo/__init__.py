"""The demo: one program, sequentially and partially in turn, watched and measured."""

from sgl_conveyor.demo.run import run_demo

__all__ = ["run_demo"]
