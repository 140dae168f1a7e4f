"""One training run: epochs of steps, the epoch that is kept, checkpoints, and how a run ends before its time.

The weights that are kept are an exponential moving average of G's, of the epoch with the lowest supervised loss on
validation rows (of the last one where there are none). A checkpoint is written at the end of every epoch, within an
epoch every few minutes, and on SIGTERM, after which the run ends with `Interrupted`. What it does next always follows
from where it is: a resumed run ends with the weights of an undisturbed one, to the last bit on a CPU.
"""

import signal
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from attrgan.errors import Interrupted
from attrgan.training import checkpoint, validation
from attrgan.training.trainer import Trainer

OUT_OF_TIME = "the minutes that it may take are up"


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints lie (path or URL), whether to go on from the last, and after how many minutes one is due."""

    place: str | Path
    resume: bool = False
    minutes: float = 10.0


@dataclass
class Progress:
    """How far a run is: `step` steps of `epoch` are done; `history` is the log so far."""

    epoch: int = 1
    step: int = 0
    best: float = float("inf")
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


class Termination:
    """While it is entered, SIGTERM is noted instead of obeyed."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Termination":
        self.main = threading.current_thread() is threading.main_thread()
        if self.main:  # Python lets no other thread listen to signals
            self.before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self.main:
            signal.signal(signal.SIGTERM, self.before)

    def _note(self, *_: int | FrameType | None) -> None:
        self.asked = True


class Run:
    """A training from its beginning, or from its last checkpoint, to its end.

    Args:
        log: gets every record of the training log; say: gets sentences for people.
        checkpoints: None keeps none.
        after: epochs that an earlier run of the same training has made, for the log.
    """

    def __init__(
        self, trainer: Trainer, log: Callable[[dict[str, Any]], None], say: Callable[[str], None] = print,
        checkpoints: Checkpoints | None = None, after: int = 0,
    ) -> None:  # fmt: skip
        self.after = after
        self.trainer, self.workers, self.say = trainer, trainer.workers, say
        self.log, self.checkpoints = log, checkpoints if trainer.workers.first else None
        self.at = Progress()
        self.best: dict[str, torch.Tensor] = {}
        self.random: dict[str, Any] | None = None
        self.started = self.saved = time.monotonic()
        self.termination = Termination()
        self.mine = trainer.fingerprint() if self.checkpoints else None

    def to_the_end(self) -> dict[str, Any]:
        """Trains (at most `max_minutes`), and leaves the best averaged weights in the trainer's model.

        Raises:
            Interrupted: SIGTERM came; a checkpoint is written, where there is a place for it.
        """
        with self.termination:
            self._begin()
            stopped = self._epochs()
        self.trainer.average.load_state_dict(self.best)
        return {
            "validation_loss": self.at.best if np.isfinite(self.at.best) else None, "best_epoch": self.at.best_epoch,
            "epochs": self.at.epoch, "stopped": stopped,
        }  # fmt: skip

    def _epochs(self) -> str:
        """Runs epochs until there is a reason to stop, which it returns."""
        at, trainer = self.at, self.trainer
        done = at.epoch - (at.step < trainer.steps)
        while done < trainer.epochs:
            if done and done - at.best_epoch >= trainer.options.patience:  # a resumed run asks it too
                return f"no better validation loss for {trainer.options.patience} epochs"
            if at.step == trainer.steps:
                at.epoch, at.step = done + 1, 0
            in_time = self._epoch()
            self._validate()
            done = at.epoch
            if not in_time:
                return OUT_OF_TIME
            self._save()  # an epoch that was cut short is repeated whole
            if self.workers.total([self.termination.asked])[0]:
                self._interrupt()
        return "all epochs done"

    def _epoch(self) -> bool:
        """The steps of an epoch that are left; False when the time is up."""
        trainer, at = self.trainer, self.at
        rng = trainer.seed(at.epoch)
        order = rng.permutation(trainer.data.parts.train)
        if self.random:  # in the middle of an epoch
            rng.bit_generator.state = self.random["numpy"]
            trainer.restore_random(self.random["torch"])
            self.random = None
        trainer.generator.train()
        while at.step < trainer.steps:
            rows = order[at.step * trainer.batch_size : (at.step + 1) * trainer.batch_size]
            record = trainer.step(rows, rng)
            at.step += 1
            *losses, asked, due, late = self.workers.total([*record.values(), *self._signals()])
            if at.step % trainer.options.log_every == 0 or at.step == trainer.steps:
                named = {"epoch": self.after + at.epoch, "epochs": self.after + trainer.epochs}
                named |= {"step": at.step, "steps": trainer.steps}
                self._record(named | dict(zip(record, losses, strict=True)))
            if late:
                return False
            if (asked or due) and at.step < trainer.steps:
                self._save(rng)
                if asked:
                    self._interrupt()
        return True

    def _signals(self) -> tuple[bool, bool, bool]:
        """Whether SIGTERM came; whether, by the clock of the first process, a checkpoint is due, and the time is up."""
        now, limit = time.monotonic(), self.trainer.options.max_minutes
        due = self.checkpoints is not None and now - self.saved > self.checkpoints.minutes * 60
        late = self.workers.first and limit is not None and now - self.started > limit * 60
        return self.termination.asked, due, late

    def _validate(self) -> None:
        loss = validation.loss(self.trainer) if self.workers.first else 0.0
        (loss,) = self.workers.total([loss])  # the others hear it, and so decide alike
        if np.isnan(loss):
            self.at.best_epoch, self.best = self.at.epoch, deepcopy(self.trainer.average.state_dict())
            return
        self._record({"epoch": self.at.epoch, "validation_loss": loss})
        if loss < self.at.best:
            self.at.best, self.at.best_epoch = loss, self.at.epoch
            self.best = deepcopy(self.trainer.average.state_dict())

    def _record(self, record: dict[str, Any]) -> None:
        self.at.history.append(record)
        self.log(record)

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Starts afresh or from the last checkpoint; all processes from what the first one has."""
        trainer = self.trainer
        self.best = deepcopy(trainer.average.state_dict())
        found = self._found(self.checkpoints) if self.checkpoints else None
        if self.workers.count > 1:
            states, notes = found or (trainer.states() | {"best": self.best}, asdict(self.at))
            packed = checkpoint.pack(states, notes) if self.workers.first else b""
            found = checkpoint.unpack(self.workers.send(packed))
        if not found:
            return
        states, notes = found
        self.at = Progress(**{name: notes[name] for name in asdict(self.at)})
        trainer.restore(states, (self.at.epoch - 1) * trainer.steps + self.at.step)
        self.best = states["best"]
        if "random" in states:
            self.random = {"numpy": notes["numpy"], "torch": states["random"]}
        for record in self.at.history:
            self.log(record)

    def _found(self, checkpoints: Checkpoints) -> tuple[checkpoint.States, dict[str, Any]] | None:
        """The last checkpoint of this training; where there is none, those that are there make room."""
        found = checkpoint.load(checkpoints.place, self.say) if checkpoints.resume else None
        if found and found[1].get("of") == self.mine:
            self.say(
                f"Goes on from the checkpoint after step {found[1]['step']} of epoch {self.after + found[1]['epoch']}."
            )
            return found
        if found:
            self.say("The checkpoints are of other options, another catalog or another version: starts anew.")
        checkpoint.clear(checkpoints.place)
        return None

    def _save(self, rng: np.random.Generator | None = None) -> None:
        """Writes a checkpoint; within an epoch with its generators."""
        states: checkpoint.States = {} if rng is None else {"random": self.trainer.random_states()}
        self.saved = time.monotonic()
        if not self.checkpoints:
            return
        notes = asdict(self.at) | {"of": self.mine}
        notes |= {} if rng is None else {"numpy": rng.bit_generator.state}
        states |= self.trainer.states() | {"best": self.best}
        try:
            checkpoint.save(self.checkpoints.place, self.at.epoch, self.at.step, states, notes)
        except Exception as error:  # whatever the client of an object store raises: hours of training outweigh it
            reason = str(error) or type(error).__name__
            self.say(f"No checkpoint could be written to {self.checkpoints.place} ({reason}): training goes on.")

    def _interrupt(self) -> None:
        """Ends the run, once the first process has written."""
        self.workers.total([0])
        left = "no checkpoint was asked for, what was learned is lost"
        if self.checkpoints:
            left = (
                f"a checkpoint is in {self.checkpoints.place}; the same command with --resume goes on from the last one"
            )
        elif not self.workers.first:
            left = "the first process says where its checkpoint is"
        raise Interrupted(
            f"training was interrupted (SIGTERM) after step {self.at.step} of {self.trainer.steps} in epoch "
            f"{self.after + self.at.epoch}: {left}"
        )
