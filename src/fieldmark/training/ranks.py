"""Process groups: the same training loop runs under plain python and under torchrun."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fieldmark.core.errors import PlanError


@dataclass(frozen=True)
class Ranks:
    """The rank of this process in a distributed training.

    Attributes:
        rank: Rank, 0 to ``world - 1``. Rank 0 writes the files.
        world: Number of processes.
        device: Device of this process.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return this process's slice of the ``n`` items of a batch. Adjacent items stay together.

        Raises:
            PlanError: The batch cannot be divided evenly.
        """
        if n % self.world:
            raise PlanError(
                "batch: the batch cannot be divided evenly among the processes.",
                got=f"batch of {n}, {self.world} processes",
                fix=f"choose a batch that is a multiple of {self.world}.",
            )
        size = n // self.world
        return slice(self.rank * size, (self.rank + 1) * size)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes, in one all-reduce."""
        if self.world == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= self.world
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of a small vector over the processes."""
        if self.world > 1:
            dist.all_reduce(values)
            values = values / self.world
        return values

    def gather(self, values: Tensor) -> Tensor:
        """Return the complete (step, slot) matrix from each process's share of the slots, in the order of ``share``."""
        if self.world == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts, dim=1)

    def from_first(self, values: Tensor) -> Tensor:
        """Return the tensor of the first process. The others pass a tensor of the same shape and type."""
        if self.world == 1:
            return values
        there = values.to(self.device)
        dist.broadcast(there, src=0)
        return there.cpu()

    def average_buffers(self, network: nn.Module) -> None:
        """Replace the batch-norm statistics of all processes by their mean."""
        if self.world > 1:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    dist.all_reduce(buffer)
                    buffer.div_(self.world)

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.world > 1:
            dist.barrier()


def ranks(device: str = "auto", *, wait_s: float = 600.0) -> Ranks:
    """Return the rank of this process, and join the process group if torchrun started it.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        wait_s: Time in seconds after which the group gives up on a process that does not respond.

    Raises:
        PlanError: The device does not exist.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if world > 1 and not dist.is_initialized():
        # After a restart by torchrun, the store still has the keys of the old group: each try has its own prefix.
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        wait = dt.timedelta(seconds=wait_s)
        agent_store = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        store = dist.TCPStore(host, port, world, is_master=rank == 0 and not agent_store, timeout=wait)
        tries = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        dist.init_process_group(
            "nccl" if chosen.type == "cuda" else "gloo",
            store=dist.PrefixStore(f"try{tries}", store),
            rank=rank,
            world_size=world,
            timeout=wait,
        )
    return Ranks(rank=rank, world=world, device=chosen)


def _device(name: str, *, local_rank: int) -> torch.device:
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device(f"cuda:{local_rank}" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise PlanError(
            "--device: there is no device of this name.", got=name, fix="use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    if (device.type == "cuda" and not cuda) or (device.type == "mps" and not mps):
        raise PlanError(
            f"--device: this machine has no {device.type} device that torch can use.", got=name, fix="use --device cpu."
        )
    return device
