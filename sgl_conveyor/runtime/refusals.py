"""What SGLang can be asked to be and our tap cannot serve: refused before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.runtime.environment import CPU_PLATFORM, PLUGIN


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuse an environment in which SGLang would not load our hooks.

    Args:
        environment: the variables that SGLang will see.

    Raises:
        ConfigurationError: naming the variable.
    """
    plugins = environment.get("SGLANG_PLUGINS", "")
    if plugins and PLUGIN not in [name.strip() for name in plugins.split(",")]:
        raise ConfigurationError(
            f"SGLANG_PLUGINS={plugins} keeps our hooks out: unset it, or add {PLUGIN} to it"
        )
    platform = environment.get("SGLANG_PLATFORM", "")
    if platform and platform != CPU_PLATFORM:
        raise ConfigurationError(
            f"SGLANG_PLATFORM={platform} keeps our hooks out: unset it, or set it to {CPU_PLATFORM}"
        )


def check_server_args(config: Any) -> None:
    """Refuse what the tap cannot see.

    Args:
        config: SGLang's resolved arguments.

    Raises:
        ConfigurationError: naming the flag.
    """
    reasons = {
        "--tokenizer-worker-num > 1: our routes live in one HTTP process": (
            config.tokenizer_worker_num > 1
        ),
        "the Rust server (SGLANG_RUST_SERVER): it takes requests past our hooks": (
            os.environ.get("SGLANG_RUST_SERVER", "").lower() in ("1", "true", "yes")
        ),
        "--disaggregation-mode: prefill and decode run in different servers": (
            config.disaggregation_mode != "null"
        ),
        "--skip-tokenizer-init: tools are fed text": config.skip_tokenizer_init,
        "a gRPC or Ray or encoder-only server: our routes need SGLang's HTTP server": any(
            getattr(config, name, False)
            for name in ("grpc_mode", "smg_grpc_mode", "use_ray", "encoder_only")
        ),
        "--admin-api-key alone: it keeps nobody from the tools; give --api-key as well": (
            bool(config.admin_api_key) and not config.api_key
        ),
        "--is-embedding: there is no text to feed a tool": config.is_embedding,
    }
    for reason, refused in reasons.items():
        if refused:
            raise ConfigurationError(f"SGL Conveyor does not serve with {reason}")


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot be decoded outside of transformers.

    Raises:
        ConfigurationError: it has no fast form.
    """
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ConfigurationError(
            f"SGL Conveyor does not serve with {type(tokenizer).__name__}: it has no fast form "
            "(a tokenizer.json), which the dispatcher decodes with"
        )
