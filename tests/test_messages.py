"""Messages: what was sent is what arrives, and everything else is a ProtocolError."""

import contextlib
import types
import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_conveyor import messages as m
from sgl_conveyor.errors import ProtocolError
from tests.support import quick

DIRECTIONS = {
    "from_tap": (m.from_tap(), m.FromTap),
    "from_http": (m.from_http(), m.FromHttp),
    "to_http": (m.to_http(), m.ToHttp),
    "to_worker": (m.to_worker(), m.ToWorker),
    "from_worker": (m.from_worker(), m.FromWorker),
}
KINDS = [
    pytest.param(decoder, kind, id=f"{name}-{kind.__name__}")
    for name, (decoder, union) in DIRECTIONS.items()
    for kind in typing.get_args(union)
]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS)
every_kind = pytest.mark.parametrize(("decoder", "kind"), KINDS)

texts = st.text(st.sampled_from("ab é你🎉\n\x00"), max_size=8)
few = settings(quick, max_examples=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
PLAIN = {
    str: texts,
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    types.NoneType: st.none(),
    typing.Any: json_values,
}


def values_of(hint):
    """A strategy for the values of a type annotation."""
    if hint in PLAIN:
        return PLAIN[hint]
    if typing.get_origin(hint) is list:
        return st.lists(values_of(*typing.get_args(hint)), max_size=3)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return st.one_of([values_of(one) for one in typing.get_args(hint)])
    fields = typing.get_type_hints(hint)
    return st.builds(hint, **{name: values_of(fields[name]) for name in hint.__struct_fields__})


def messages_of(union):
    return st.one_of([values_of(kind) for kind in typing.get_args(union)])


def smallest(kind):
    """One message of a kind, without chance."""
    plain = {str: "x", int: 1, float: 1.0, bool: True, bytes: b"1", typing.Any: None}

    def value(hint):
        if typing.get_origin(hint) is list:
            return []
        if typing.get_origin(hint) in (typing.Union, types.UnionType):
            return value(typing.get_args(hint)[0])
        return plain[hint] if hint in plain else smallest(hint)

    hints = typing.get_type_hints(kind)
    return kind(**{name: value(hints[name]) for name in kind.__struct_fields__})


def pack(*elements):
    """A frame of ours that holds these elements."""
    return bytes((m.VERSION,)) + msgspec.msgpack.encode(elements)


def unpack(message):
    """The elements of a message on the wire."""
    return msgspec.msgpack.decode(m.encode(message)[1:])


# --- what was sent arrives -------------------------------------------------------------------


@every_direction
@few
@given(data=st.data())
def test_a_message_arrives_as_it_was_sent(direction, data):
    decoder, union = DIRECTIONS[direction]
    message = data.draw(messages_of(union))
    assert decoder.decode(m.encode(message)) == message


@every_kind
def test_each_kind_arrives_as_itself(decoder, kind):
    message = smallest(kind)
    arrived = decoder.decode(m.encode(message))
    assert type(arrived) is kind
    assert arrived == message


def test_no_two_kinds_of_a_direction_have_the_same_tag():
    for _, union in DIRECTIONS.values():
        tags = [kind.__struct_config__.tag for kind in typing.get_args(union)]
        assert len(tags) == len(set(tags))


# --- everything else is refused --------------------------------------------------------------


@every_kind
def test_another_version_is_refused_and_named(decoder, kind):
    frame = m.encode(smallest(kind))
    with pytest.raises(ProtocolError, match="another version"):
        decoder.decode(bytes((m.VERSION + 1,)) + frame[1:])


@every_kind
def test_a_truncated_frame_is_refused(decoder, kind):
    frame = m.encode(smallest(kind))
    for size in range(len(frame)):
        with pytest.raises(ProtocolError):
            decoder.decode(frame[:size])


@every_kind
def test_a_frame_that_goes_on_is_refused(decoder, kind):
    with pytest.raises(ProtocolError):
        decoder.decode(m.encode(smallest(kind)) + b"\x00")


@every_kind
def test_an_extra_field_is_refused(decoder, kind):
    with pytest.raises(ProtocolError):
        decoder.decode(pack(*unpack(smallest(kind)), "extra"))


@every_kind
def test_a_field_of_another_type_is_refused(decoder, kind):
    tag, *fields = unpack(smallest(kind))
    hints = list(typing.get_type_hints(kind).values())
    for at, hint in enumerate(hints):
        wrong = 1.5 if hint is not float else "1.5"
        with pytest.raises(ProtocolError):
            decoder.decode(pack(tag, *fields[:at], wrong, *fields[at + 1 :]))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes((m.VERSION,)), id="only a version"),
        pytest.param(pack(), id="no tag"),
        pytest.param(pack("unknown", 1), id="unknown tag"),
        pytest.param(pack(1, 1), id="a tag that is no text"),
        pytest.param(bytes((m.VERSION,)) + msgspec.msgpack.encode({"pid": 1}), id="a map"),
        pytest.param(bytes((m.VERSION,)) + b"\x91" * 100_000, id="nested without end"),
        pytest.param(bytes((m.VERSION,)) + b"\xdd\xff\xff\xff\xff", id="a length that lies"),
        pytest.param(b"\x80\x05\x95", id="pickle"),
    ],
)
@every_direction
def test_what_is_no_message_is_refused(direction, frame):
    with pytest.raises(ProtocolError):
        DIRECTIONS[direction][0].decode(frame)


def test_a_message_of_another_direction_is_refused():
    for direction, (decoder, union) in DIRECTIONS.items():
        own = {kind.__struct_config__.tag for kind in typing.get_args(union)}
        for other, (_, others) in DIRECTIONS.items():
            for kind in typing.get_args(others):
                if other != direction and kind.__struct_config__.tag not in own:
                    with pytest.raises(ProtocolError):
                        decoder.decode(m.encode(smallest(kind)))


def test_text_that_is_no_utf8_is_refused():
    frame = m.encode(m.AbortCall("call", "reason")).replace(b"reason", b"\xff\xfeason")
    with pytest.raises(ProtocolError):
        m.to_worker().decode(frame)


@pytest.mark.parametrize("key", [{"a": 1}, [{"a": 1}], [1], None], ids=repr)
def test_a_value_with_a_strange_key_is_a_message_or_refused(key):
    outcome = b"\x81\xa5value\x81" + msgspec.msgpack.encode(key) + b"\x01"
    message = msgspec.structs.replace(smallest(m.CallView))
    fields = [msgspec.msgpack.encode(field) for field in unpack(message)[:-1]]
    frame = bytes((m.VERSION, 0x90 + len(fields) + 1)) + b"".join(fields) + outcome
    with contextlib.suppress(ProtocolError):
        assert isinstance(m.to_http().decode(frame), m.CallView)


@every_direction
@few
@given(noise=st.binary(max_size=60))
def test_random_bytes_are_a_message_or_refused(direction, noise):
    decoder, union = DIRECTIONS[direction]
    for frame in (noise, bytes((m.VERSION,)) + noise):
        with contextlib.suppress(ProtocolError):
            assert isinstance(decoder.decode(frame), union)


@every_direction
@few
@given(data=st.data(), at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_frame_is_a_message_or_refused(direction, data, at, byte):
    decoder, union = DIRECTIONS[direction]
    frame = bytearray(m.encode(data.draw(messages_of(union))))
    frame[at % len(frame)] = byte
    with contextlib.suppress(ProtocolError):
        assert isinstance(decoder.decode(bytes(frame)), union)
