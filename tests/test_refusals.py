"""What cannot be served, at start and in a request; and the flags for a CPU."""

from types import SimpleNamespace

import pytest

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.runtime.admission import call_of, refusal_of
from sgl_conveyor.runtime.refusals import check_environment, check_server_args, check_tokenizer
from sgl_conveyor.runtime.server import cpu_flags

RID = "0123456789abcdef" * 2


# --- the environment -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SGLANG_PLUGINS": "", "SGLANG_PLATFORM": ""},
        {"SGLANG_PLUGINS": "sgl_conveyor"},
        {"SGLANG_PLUGINS": "another, sgl_conveyor"},
        {"SGLANG_PLATFORM": "sgl_conveyor_cpu"},
    ],
)
def test_an_environment_that_loads_our_hooks_is_served(environment):
    check_environment(environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SGLANG_PLUGINS", "another"),
        ("SGLANG_PLUGINS", "sgl_conveyor_not,another"),
        ("SGLANG_PLATFORM", "another"),
    ],
)
def test_an_environment_that_keeps_our_hooks_out_is_refused_and_named(name, value):
    with pytest.raises(ConfigurationError, match=f"^{name}={value} keeps our hooks out"):
        check_environment({name: value})


# --- the server's flags ----------------------------------------------------------------------


def server_args(**changes):
    """SGLang's arguments, as far as they matter."""
    served = {
        "tokenizer_worker_num": 1,
        "disaggregation_mode": "null",
        "skip_tokenizer_init": False,
        "is_embedding": False,
        "grpc_mode": False,
        "use_ray": False,
        "api_key": None,
        "admin_api_key": None,
    }
    return SimpleNamespace(**{**served, **changes})


@pytest.fixture(autouse=True)
def python_server(monkeypatch):
    monkeypatch.delenv("SGLANG_RUST_SERVER", raising=False)


def test_a_plain_server_is_served():
    check_server_args(server_args())
    check_server_args(server_args(api_key="a", admin_api_key="b"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokenizer_worker_num": 2}, "--tokenizer-worker-num"),
        ({"disaggregation_mode": "prefill"}, "--disaggregation-mode"),
        ({"disaggregation_mode": "decode"}, "--disaggregation-mode"),
        ({"skip_tokenizer_init": True}, "--skip-tokenizer-init"),
        ({"grpc_mode": True}, "gRPC"),
        ({"use_ray": True}, "Ray"),
        ({"is_embedding": True}, "--is-embedding"),
        ({"admin_api_key": "secret"}, "--api-key as well"),
    ],
)
def test_what_the_tap_cannot_serve_is_refused_in_one_sentence(changes, named):
    with pytest.raises(ConfigurationError, match=named) as raised:
        check_server_args(server_args(**changes))
    assert "\n" not in str(raised.value)


def test_the_rust_server_is_refused(monkeypatch):
    monkeypatch.setenv("SGLANG_RUST_SERVER", "1")
    with pytest.raises(ConfigurationError, match="Rust"):
        check_server_args(server_args())


def test_a_tokenizer_needs_a_fast_form():
    class SlowTokenizer:
        pass

    check_tokenizer(SimpleNamespace(backend_tokenizer=object()))
    with pytest.raises(ConfigurationError, match="SlowTokenizer"):
        check_tokenizer(SlowTokenizer())


# --- a request -------------------------------------------------------------------------------


def request(params=None, **changes):
    """A request as SGLang's HTTP side holds it."""
    fields = {"sampling_params": {} if params is None else params, "text": "Hello", "rid": None}
    return SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize(
    "accepted",
    [
        request(),
        request({"n": 1, "stop": ["a"], "temperature": 0.5}),
        request({"n": None}),
        request(rid=RID),
        request(text=None, input_ids=[1, 2, 3]),
    ],
    ids=str,
)
def test_a_request_for_one_region_is_served(accepted):
    assert refusal_of(accepted) is None


@pytest.mark.parametrize(
    ("refused", "named"),
    [
        (request([{}, {}]), "one prompt"),
        (request(text=["a", "b"]), "one prompt"),
        (request(text=None, input_ids=[[1], [2]]), "one prompt"),
        (request({"n": 2}), "n > 1"),
        (request({"beam_width": 2}), "beam search"),
        (request({"ignore_eos": True}), "ignore_eos"),
        (request({"stop_regex": "a+"}), "stop_regex"),
        (request(rid="short"), "32 hex digits"),
        (request(rid=RID + "0"), "32 hex digits"),
        (request(rid=RID.upper()), "32 hex digits"),
        (request(rid=[RID]), "32 hex digits"),
    ],
    ids=str,
)
def test_what_a_region_cannot_have_is_refused_in_one_sentence(refused, named):
    refusal = refusal_of(refused)
    assert named in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    ("params", "call"),
    [
        (None, None),
        ({}, None),
        ({"custom_params": None}, None),
        ({"custom_params": {"another": 1}}, None),
        ({"custom_params": {"conveyor": {"call": "abc"}}}, "abc"),
        ([{}, {"custom_params": {"conveyor": {"call": "abc"}}}], "abc"),
    ],
)
def test_the_call_that_a_request_names(params, call):
    assert call_of(SimpleNamespace(sampling_params=params)) == call


@pytest.mark.parametrize("conveyor", [None, "abc", {}, {"call": 7}, ["abc"]])
def test_a_request_that_names_its_call_wrongly_is_noticed(conveyor):
    params = {"custom_params": {"conveyor": conveyor}}
    call = call_of(SimpleNamespace(sampling_params=params))
    assert call is not None
    assert not isinstance(call, str)


def test_an_object_without_sampling_parameters_names_no_call():
    assert call_of(object()) is None


# --- the flags for a CPU ---------------------------------------------------------------------


def test_a_cpu_gets_the_flags_that_were_not_given():
    flags, _ = cpu_flags(["--model-path", "x"], [0, 1])
    assert flags == ["--device", "cpu", "--max-total-tokens", "32768", "--sleep-on-idle"]


def test_given_flags_are_not_changed():
    given = ["--device=cuda", "--max-total-tokens", "100", "--sleep-on-idle"]
    assert cpu_flags(given, [0, 1])[0] == []


@pytest.mark.parametrize(("cores", "engine"), [([0, 1], "0"), ([0], "0"), ([2, 3, 5, 7], "2,3,5")])
def test_one_core_is_left_for_the_tools_where_there_are_two(cores, engine):
    variables = cpu_flags([], cores)[1]
    assert variables["SGLANG_CPU_OMP_THREADS_BIND"] == engine
    assert variables["OMP_NUM_THREADS"] == str(len(engine.split(",")))
    assert variables["SGLANG_PLATFORM"] == "sgl_conveyor_cpu"
