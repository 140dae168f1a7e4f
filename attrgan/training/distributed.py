"""Several processes that train one model together: who they are, what they add up, what they tell one another.

`torchrun` starts them and says so in the environment (`RANK`, `WORLD_SIZE`, `LOCAL_RANK`); accelerate connects them:
gloo between CPUs, NCCL between GPUs. Choices (`docs/adr/0013-distributed-training.md`):
- Gradients are added up after the backward pass, in one piece, not by hooks of `DistributedDataParallel`: G is used in
  parts, D twice in a step, the linear part has sparse gradients, and what is averaged are cells, not processes.
- Sparse gradients travel as the rows that they touch: as a dense matrix they would be a hundred times the rest.
- Process 0 alone fits, validates, calibrates, writes and speaks. What the others must know it sends them, as
  safetensors and JSON: nothing is pickled.
"""

import json
import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import torch

WAIT = timedelta(hours=6)
"""How long processes wait for one another: process 0 reads the whole catalog before the others hear of it."""
MIXED_PRECISION = ("no", "bf16")


class Workers:
    """The processes of a training, seen from one of them.

    Attributes:
        rank: which process this is, 0 the first; count: how many there are; device: what this one computes on.
    """

    def __init__(self, device: str = "cpu", accelerator: Any = None) -> None:
        self.accelerator = accelerator
        self.rank = accelerator.process_index if accelerator else 0
        self.count = accelerator.num_processes if accelerator else 1
        self.device = device if accelerator is None or device == "cpu" else str(accelerator.device)

    @property
    def first(self) -> bool:
        """Whether this is the process that fits, writes and speaks."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """A forward pass in mixed precision, where that was asked for."""
        return self.accelerator.autocast() if self.accelerator else nullcontext()

    def owns(self, places: np.ndarray) -> np.ndarray:
        """bool (n,): which training rows, given by their place among them, this process computes."""
        return places % self.count == self.rank

    def own(self, rows: np.ndarray) -> np.ndarray:
        """The training rows that this process computes, of all of them."""
        return rows[self.rank :: self.count]

    # --- what is added up ------------------------------------------------------------------------------------------

    def total(self, numbers: Iterable[float]) -> list[float]:
        """The sum over the processes of each number."""
        numbers = [float(n) for n in numbers]
        if self.count == 1:
            return numbers
        return [float(n) for n in self._sum(torch.tensor(numbers, dtype=torch.float64, device=self.device))]

    def add_gradients(
        self, dense: Iterable[torch.Tensor], sparse: Iterable[torch.Tensor] = ()
    ) -> None:  # fmt: skip
        """Puts the sum over the processes in the place of every gradient; one that no process has stays None."""
        if self.count == 1:
            return
        parameters = list(dense)
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=self.device)
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        summed = self._sum(torch.cat([there, *parts]))
        at = len(parameters)
        for parameter, found in zip(parameters, summed[:at].tolist(), strict=True):
            part = summed[at : at + parameter.numel()]
            parameter.grad = part.view_as(parameter).clone() if found else None
            at += parameter.numel()
        for parameter in sparse:
            self._add_sparse(parameter)

    def _add_sparse(self, parameter: torch.Tensor) -> None:
        """The same for a gradient whose rows are sparse: the rows of all processes, one process after the other."""
        if parameter.grad is None:
            rows = torch.zeros(0, dtype=torch.int64, device=self.device)
            values = parameter.new_zeros(0, *parameter.shape[1:])
        else:
            own = parameter.grad.coalesce()
            rows, values = own.indices()[0], own.values()
        counts = self.gather(torch.tensor([len(rows)], device=self.device)).tolist()
        lacking = max(counts) - len(rows)
        all_rows = self.gather(torch.cat([rows, rows.new_zeros(lacking)])).view(self.count, -1)
        all_values = self.gather(torch.cat([values, values.new_zeros(lacking, *values.shape[1:])]))
        all_values = all_values.view(self.count, -1, *values.shape[1:])
        rows = torch.cat([of[:n] for of, n in zip(all_rows, counts, strict=True)])
        values = torch.cat([of[:n] for of, n in zip(all_values, counts, strict=True)])
        parameter.grad = torch.sparse_coo_tensor(rows[None], values, parameter.shape).coalesce()

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes, all of one shape, one after the other along their first dimension."""
        if self.count == 1:
            return tensor
        return self.accelerator.gather(tensor.to(self.device).contiguous())

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor, "sum")

    # --- what process 0 tells the others ---------------------------------------------------------------------------

    def send(self, data: bytes = b"") -> bytes:
        """What process 0 gives, in every process."""
        if self.count == 1:
            return data
        from accelerate.utils import broadcast

        length = broadcast(torch.tensor([len(data)], device=self.device))
        content = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if self.first and data:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device)
        return bytes(broadcast(content).cpu().numpy())

    def tell(self, data: Any = None) -> Any:
        """The same for plain data, as JSON."""
        return data if self.count == 1 else json.loads(self.send(json.dumps(data).encode()))

    def close(self) -> None:
        """Takes leave of the others, which go on or have gone."""
        if self.count > 1:
            self.accelerator.end_training()


ALONE = Workers()


def connect(device: str, mixed_precision: str = "no") -> Workers:
    """This process among those that torchrun started, or alone; `device` is `cpu` or `cuda`."""
    if mixed_precision == "no" and not started_by_torchrun():
        return Workers(device)
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    patience = InitProcessGroupKwargs(timeout=WAIT)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed_precision, kwargs_handlers=[patience])
    return Workers(device, accelerator)


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and {"RANK", "LOCAL_RANK"} <= set(os.environ)
