"""What a call leaves behind: bounded, whatever its tool says."""

from sgl_conveyor.record import MAX_EMITTED_BYTES, CallRecord


def test_output_is_collected():
    record = CallRecord(partial=True, start=100.0)
    record.emitted("a")
    record.emitted("b")
    assert record.outcome.emitted == "ab"


def test_output_that_is_too_long_is_dropped_and_says_so():
    record = CallRecord(partial=True, start=100.0)
    record.emitted("x" * (MAX_EMITTED_BYTES - 1))
    record.emitted("yz")
    kept, _, note = record.outcome.emitted.partition("y")
    assert kept == "x" * (MAX_EMITTED_BYTES - 1)
    assert "was dropped" in note
    before = record.outcome.emitted
    record.emitted("more")
    assert record.outcome.emitted == before


def test_output_that_exactly_filled_the_room_says_so_too_when_more_comes():
    record = CallRecord(partial=True, start=100.0)
    record.emitted("x" * MAX_EMITTED_BYTES)
    record.emitted("y")
    note = record.outcome.emitted[MAX_EMITTED_BYTES:]
    assert "was dropped" in note


def test_the_limit_of_the_output_counts_bytes():
    record = CallRecord(partial=True, start=100.0)
    record.emitted("🎉" * (MAX_EMITTED_BYTES // 2))
    size = len(record.outcome.emitted.encode())
    assert size < MAX_EMITTED_BYTES + 100
