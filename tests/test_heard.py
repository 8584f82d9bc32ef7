"""What a worker says is bounded where it is heard: a model may have said it."""

from sgl_conveyor import messages as m
from sgl_conveyor.heard import event_of
from sgl_conveyor.timings import Span


def test_the_label_of_work_is_cut() -> None:
    event = event_of(m.Worked("call", Span("x" * 10_000_000, 1.0, 2.0, 0)))
    assert event.span == Span("x" * 200, 1.0, 2.0, 0)
