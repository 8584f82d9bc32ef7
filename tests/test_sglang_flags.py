"""Our flags beside all of SGLang's."""

from __future__ import annotations

import argparse

from sglang.srt.server_args import ServerArgs

from sgl_conveyor.launcher.flags import build_parser, check_flag


def test_no_flag_of_sglang_and_no_abbreviation_that_it_takes_is_refused() -> None:
    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    assert "--tool-call-parser" in flags
    taken = {
        flag[:end]
        for flag in flags
        for end in range(3, len(flag) + 1)
        if end == len(flag) or sum(other.startswith(flag[:end]) for other in flags) == 1
    }
    for flag in sorted(taken - set(build_parser()._option_string_actions)):
        check_flag(flag)
