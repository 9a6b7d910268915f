"""One process or many: the same loop under plain python and under torchrun."""

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
    """This process's place among those that train together.

    Attributes:
        rank: 0 to ``world - 1``; rank 0 writes.
        world: How many processes.
        device: Where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and tells progress."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of ``n`` items of a batch: neighbours stay together.

        Raises:
            PlanError: The batch cannot be shared evenly.
        """
        if n % self.world:
            raise PlanError(
                "The batch cannot be shared evenly among the processes.",
                got=f"batch of {n}, {self.world} processes",
                fix=f"choose a batch that is a multiple of {self.world}.",
            )
        size = n // self.world
        return slice(self.rank * size, (self.rank + 1) * size)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes (one message for all of them)."""
        if self.world == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        dist.all_reduce(flat)
        flat /= self.world
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a small vector over the processes."""
        if self.world > 1:
            dist.all_reduce(values)
            values = values / self.world
        return values

    def gather(self, values: Tensor) -> Tensor:
        """What all processes have of a (step, slot) matrix, each its share of the slots, in the order of ``share``."""
        if self.world == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.world)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts, dim=1)

    def from_first(self, values: Tensor) -> Tensor:
        """What the first process has; the others bring a tensor of the same shape and type."""
        if self.world == 1:
            return values
        there = values.to(self.device)
        dist.broadcast(there, src=0)
        return there.cpu()

    def average_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their batch-norm statistics."""
        if self.world > 1:
            for buffer in network.buffers():
                if buffer.is_floating_point():
                    dist.all_reduce(buffer)
                    buffer.div_(self.world)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()


def ranks(device: str = "auto", *, wait_s: float = 600.0) -> Ranks:
    """This process's ranks; joins the group if torchrun started it.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        wait_s: How long to wait for a process that does not answer before the group gives up.

    Raises:
        PlanError: The device is not there.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    chosen = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    if world > 1 and not dist.is_initialized():
        # After a restart by torchrun the old store still holds the dead group's keys: each try has its own prefix.
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
            "There is no device of that name.", got=name, fix="use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    if (device.type == "cuda" and not cuda) or (device.type == "mps" and not mps):
        raise PlanError(
            f"This machine has no {device.type} device that torch can use.", got=name, fix="use --device cpu."
        )
    return device
