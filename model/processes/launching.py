"""How processes find each other and share gradients: Accelerate, with every value said, none from outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import (
    DDPCommunicationHookType,
    DistributedType,
    GradientAccumulationPlugin,
    TorchDynamoPlugin,
)

from ...errors import WrongUseError
from .ranks import PATIENCE

Compression = Literal["none", "bf16"]

# Set by `accelerate launch` for other ways to share a model, each with mathematics of its own.
_OTHER_WAYS = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}
_TYPES = (
    DistributedType.NO,
    DistributedType.MULTI_CPU,
    DistributedType.MULTI_GPU,
    DistributedType.MULTI_XPU,
)


def launch(out: Path, *, compression: Compression, tracker: str = "none") -> Accelerator:
    """Find the other processes, if `torchrun` or `accelerate launch` started some.

    compression: of gradients on their way between processes; "bf16" halves it. tracker: by its name there.
    Raises WrongUseError where the launcher was configured for anything but one model on each device.
    """
    for variable, name in _OTHER_WAYS.items():
        if os.environ.get(variable, "false").lower() in ("true", "1", "yes"):
            raise WrongUseError(
                f"{variable} asks for {name}: dimtool trains one whole model a device; launch it with "
                "`torchrun`, or choose plain multi-GPU in `accelerate config`"
            )
    hook = DDPCommunicationHookType.BF16 if compression == "bf16" else DDPCommunicationHookType.NO
    accelerator = Accelerator(
        # Unless it is told so, torchrun's processes on CPUs do not find each other.
        cpu=not torch.accelerator.is_available(),
        mixed_precision="no",  # the step has its own
        log_with=None if tracker == "none" else tracker,
        project_dir=out,
        # Not by number: the environment's would win over it, and scale the gradients.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_plugin=TorchDynamoPlugin(backend="no"),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=PATIENCE),
            # Buffers are constants here.
            DistributedDataParallelKwargs(
                gradient_as_bucket_view=True, broadcast_buffers=False, comm_hook=hook
            ),
        ],
    )
    if accelerator.distributed_type not in _TYPES:
        raise WrongUseError(
            f"{accelerator.distributed_type.value} is no way to train here: launch with `torchrun`, or "
            "choose plain multi-GPU in `accelerate config`"
        )
    if compression == "bf16" and accelerator.num_processes > 1 and accelerator.device.type == "cpu":
        raise WrongUseError("--gradient-compression bf16 works between GPUs alone: leave it out on CPUs")
    return accelerator
