"""An out-of-tree SGLang platform that serves on a plain CPU, without `sgl_kernel`."""

from __future__ import annotations

import sys
from typing import Any

from sglang.srt.platforms.cpu import CpuDeviceMixin
from sglang.srt.platforms.device_mixin import PlatformEnum
from sglang.srt.platforms.interface import SRTPlatform

# SGLang imports FlashInfer's CUDA kernels wherever they are installed: a quarter of the time that
# each of its processes takes to load, for nothing that a CPU runs.
sys.modules.setdefault("flashinfer", None)  # type: ignore[arg-type]


class ConveyorCpuPlatform(CpuDeviceMixin, SRTPlatform):  # type: ignore[misc]
    """The real scheduler, RadixAttention and xgrammar over torch's own attention and sampling."""

    _enum = PlatformEnum.OOT

    def apply_server_args_defaults(self, server_args: Any) -> None:
        server_args.attention_backend = server_args.attention_backend or "torch_native"
        server_args.sampling_backend = server_args.sampling_backend or "pytorch"

    def get_default_attention_backend(self) -> str:
        return "torch_native"
