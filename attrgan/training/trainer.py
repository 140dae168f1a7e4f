"""One training run: the networks, their optimizers, and the steps that move them.

D steps on L_D, G on the supervised loss + w · L_G, where w is the adversarial weight. The weights that are kept are an
exponential moving average of G's, of the epoch with the lowest supervised loss on validation rows.
"""

import hashlib
import json
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from attrgan.errors import CatalogError
from attrgan.evaluation import calibration, hiding
from attrgan.evaluation.hiding import Mask
from attrgan.evaluation.promise import Missing
from attrgan.evaluation.splits import Split, id_hashes, split
from attrgan.model.completion_model import CompletionModel, hidden_rows
from attrgan.model.discriminator import Discriminator
from attrgan.model.generator import Generator, Size
from attrgan.model.inputs import Batch, Inputs, batch, tensor
from attrgan.model.neighbours import Index
from attrgan.model.vocabulary import VECTORS, Vocabulary
from attrgan.schema import Schema
from attrgan.training import checkpoint, losses, transfer

MIN_TRAIN_ROWS = 20
TEMPERATURES = (0.7, 1.0, 1.4, 2.0)
"""What epochs are compared at."""


@dataclass(frozen=True)
class Options:
    """How to train. `epochs` and `batch_size` None: from the number of rows.

    `calibrate_for`: what calibration cells stand for, see `attrgan.evaluation.promise`.
    """

    seed: int = 0
    adversarial_weight: float = 0.1
    adversarial_loss: str = "standard"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 2e-3
    wide_learning_rate: float = 0.15
    vector_learning_rate: float = 0.05
    bias_learning_rate: float = 0.02
    discriminator_learning_rate: float = 2e-3
    ema: float = 0.99
    patience: int = 4
    calibrate_for: Missing = "mcar"
    max_minutes: float | None = None
    log_every: int = 20
    size: Size = field(default_factory=Size)


@dataclass
class Data:
    """A catalog ready for training: all rows, and which of them serve what."""

    frame: pd.DataFrame
    features: pa.Table
    inputs: Inputs
    parts: Split
    known: np.ndarray


class Trainer:
    """The networks, their optimizers, and one training run over them."""

    def __init__(
        self, schema: Schema, frame: pd.DataFrame, features: pa.Table, options: Options,
        origin: transfer.Origin | None = None,
    ) -> None:  # fmt: skip
        parts = split(frame[schema.id])
        if origin:
            options = replace(options, size=origin.model.generator.size)
            if origin.knows(schema):
                parts = transfer.set_aside(parts, id_hashes(frame[schema.id]), origin)
        if len(parts.train) < MIN_TRAIN_ROWS:
            raise CatalogError(
                f"the catalog has {len(frame)} rows, {len(parts.train)} of them to train on: expected at least "
                f"{MIN_TRAIN_ROWS} after validation, calibration and holdout rows are set aside; bring more rows"
            )
        if not hiding.known_cells(frame, schema)[parts.train].any():
            raise CatalogError(
                f"none of the {len(parts.train)} rows to train on knows any of the attributes "
                f"{', '.join(schema.attributes)}: bring rows whose cells are filled"
            )
        torch.manual_seed(options.seed)
        self.schema, self.options, self.origin = schema, options, origin
        train_rows = frame.iloc[parts.train].reset_index(drop=True)
        self.vocabulary = Vocabulary.fit(train_rows, features.take(pa.array(parts.train)), schema)
        if origin:
            self.vocabulary = transfer.inherit(self.vocabulary, schema, origin)
        self.generator = Generator(schema, self.vocabulary, options.size)
        self.generator.numbers.fit(train_rows[list(self.vocabulary.numbers)].to_numpy(np.float64))
        self.carried = transfer.carry(self.generator, self.vocabulary, origin) if origin else {}
        self.discriminator = Discriminator(len(schema.attributes), options.size.width)
        self.average = deepcopy(self.generator)
        self.model = CompletionModel(schema, self.vocabulary, self.average)
        self.data = Data(frame, features, self.model.inputs(frame, features), parts, hiding.known_cells(frame, schema))
        self._index()
        self.has_strangers = self.data.inputs.has_strangers(parts.train, self.vocabulary)
        rows = len(parts.train)
        self.batch_size = options.batch_size or int(np.clip(2 ** round(np.log2(rows / 40)), 16, 192))
        self.steps = max(-(-rows // self.batch_size), 1)
        self.epochs = options.epochs or int(np.clip(round(300 / self.steps), 6, 30))
        self._optimizers()

    def _index(self) -> None:
        """Training rows to look up; while training, a row finds neither itself nor its near-duplicates."""
        inputs, train = self.data.inputs, self.data.parts.train
        ids = [str(i) for i in self.data.frame[self.schema.id].iloc[train]]
        self.model.index = Index.of(inputs, train, ids, self.vocabulary)
        trained = np.zeros(len(inputs), bool)
        trained[train] = True
        inputs.neighbours = self.model.index.look_up(inputs.retrieval, trained)

    def _optimizers(self) -> None:
        generator, wide = self.generator, self.generator.wide
        vectors = [*wide.vectors.parameters(), wide.vote, wide.sharpness]
        numbers = generator.numbers
        biases = [generator.match, generator.value_bias, numbers.start]
        biases += [generator.spans.length] if generator.spans is not None else []
        apart = {id(p) for p in (wide.sparse.weight, *vectors, *biases)}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in generator.parameters() if id(p) not in apart]},
            {"params": vectors, "lr": self.options.vector_learning_rate},
            {"params": biases, "lr": self.options.bias_learning_rate},
        ]
        self.optimizers = {
            "deep": torch.optim.AdamW(groups, self.options.learning_rate, weight_decay=0.01),
            "wide": torch.optim.Adagrad([wide.sparse.weight], self.options.wide_learning_rate),
            "discriminator": torch.optim.AdamW(
                self.discriminator.parameters(), self.options.discriminator_learning_rate, betas=(0.5, 0.9)
            ),
        }
        total = self.steps * self.epochs

        def cosine(step: int) -> float:
            warm = min((step + 1) / max(min(50, total // 10), 1), 1.0)
            return float(warm * 0.5 * (1 + np.cos(np.pi * min(step / total, 1))) + 0.01)

        self.schedule = [torch.optim.lr_scheduler.LambdaLR(self.optimizers[o], cosine) for o in ("deep", "wide")]

    # --- one run ---------------------------------------------------------------------------------------------------

    def run(
        self, log: Callable[[dict[str, Any]], None], checkpoints: Path | None = None, resume: bool = False
    ) -> dict[str, Any]:
        """Trains to the end (or to `max_minutes`), and leaves the best averaged weights in `model`."""
        started, best, best_epoch, first = time.monotonic(), float("inf"), 0, 1
        best_state = deepcopy(self.average.state_dict())
        history: list[dict[str, Any]] = []
        mine = self.fingerprint() if checkpoints else None
        found = checkpoint.load(checkpoints) if resume and checkpoints else None
        if found and found[1].get("of") == mine:
            first, best, best_epoch, history = self._restore(*found, best_state)
            for record in history:
                log(record)
        stopped, epoch = "all epochs done", first - 1
        while epoch < self.epochs:
            if epoch and epoch - best_epoch >= self.options.patience:  # asked here, so that a resumed run asks it too
                stopped = f"no better validation loss for {self.options.patience} epochs"
                break
            epoch += 1
            done = self._epoch(epoch, log, history, started)
            loss = self.validation_loss()
            history.append({"epoch": epoch, "validation_loss": loss})
            log(history[-1])
            if loss < best:
                best, best_epoch, best_state = loss, epoch, deepcopy(self.average.state_dict())
            if checkpoints and done:  # an epoch that was cut short is repeated whole
                notes = {"epoch": epoch, "best": best, "best_epoch": best_epoch, "history": history, "of": mine}
                checkpoint.save(checkpoints, epoch, self._states(best_state), notes)
            if not done:
                stopped = f"stopped after {self.options.max_minutes} minutes"
                break
        self.average.load_state_dict(best_state)
        return {
            "validation_loss": best,
            "best_epoch": best_epoch,
            "epochs": epoch,
            "stopped": stopped,
        }

    def _epoch(
        self, epoch: int, log: Callable[[dict[str, Any]], None], history: list[dict[str, Any]], started: float
    ) -> bool:
        """One pass over the training rows; False when the time is up."""
        torch.manual_seed(self.options.seed * 1_000_003 + epoch)
        rng = np.random.default_rng([self.options.seed, epoch])
        order = rng.permutation(self.data.parts.train)
        self.generator.train()
        for step in range(self.steps):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            record = self._step(rows, rng)
            if (step + 1) % self.options.log_every == 0 or step + 1 == self.steps:
                named = {"epoch": epoch, "epochs": self.epochs, "step": step + 1, "steps": self.steps, **record}
                history.append(named)
                log(named)
            limit = self.options.max_minutes
            if limit is not None and time.monotonic() - started > limit * 60:
                return False
        return True

    def _step(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        """One step of G and one of D on a batch."""
        tensors = batch(self.data.inputs, rows, self.vocabulary)
        hidden = losses.hidden_cells(hiding.for_training(self.data.known[rows], self.schema, rng))
        hidden.unlisted = losses.choose_unlisted(tensors, self.generator, self.vocabulary, rng)
        if self.schema.text:
            hidden.text = tensor(rng.random(len(rows)) < 0.05)
        dropped = {level: tensor(rng.random(len(rows)) < 0.1) for level in VECTORS}
        hidden.levels = {name: dropped[name.split()[0]] for name in self.generator.vectors}
        z = torch.randn(len(rows), len(self.schema.attributes), self.options.size.noise)
        output = self.generator(tensors, hidden, z, self._train_strangers())
        target = losses.targets(tensors, self.generator, torch.ones_like(hidden.cells), hidden.unlisted)
        target.unlisted = losses.choose_composed(self.generator, len(rows), rng)
        loss, _ = losses.supervised(output, target)
        real, fake, known, judged = self._adversarial(tensors, hidden.cells, output, rng)
        context = output.context.detach()
        adversarial = loss.new_zeros(())
        if judged.any():
            critic, kind = self._critic(context, known, judged), self.options.adversarial_loss
            adversarial = losses.of_generator(critic, real, fake, judged, kind)
        for name in ("deep", "wide"):
            self.optimizers[name].zero_grad(set_to_none=True)
        (loss + self.options.adversarial_weight * adversarial).backward()
        torch.nn.utils.clip_grad_norm_(self.optimizers["deep"].param_groups[0]["params"], 1.0)
        for name, schedule in zip(("deep", "wide"), self.schedule, strict=True):
            self.optimizers[name].step()
            schedule.step()
        self.generator.wide.forget_own()
        self._average()
        loss_d, accuracy = self._discriminate(self._critic(context, known, judged), real, fake.detach(), judged)
        loss_g = float(adversarial.detach())
        return {
            "loss_d": loss_d, "loss_g": loss_g, "loss": loss_d + loss_g,
            "supervised": float(loss.detach()), "d_accuracy": accuracy,
        }  # fmt: skip

    def _adversarial(
        self, tensors: Batch, hidden: torch.Tensor, output: Any, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Real and generated value embeddings (B, A, D), known cells and judged cells (B, A)."""
        values = output.values.detach()
        real, known = losses.real_values(tensors, self.generator, values)
        judged = hidden & known & tensor(rng.random(tuple(hidden.shape)) < 0.7)
        generated = losses.generated_values(output, self.generator, self.vocabulary, values)
        return real, torch.where(judged[..., None], generated, real), known, judged

    def _critic(self, context: torch.Tensor, known: torch.Tensor, judged: torch.Tensor) -> losses.Critic:
        return lambda values: self.discriminator(context, values, known, judged)

    def _discriminate(
        self, critic: losses.Critic, real: torch.Tensor, fake: torch.Tensor, judged: torch.Tensor
    ) -> tuple[float, float]:
        """A step of D; L_D and the share of cells it judged rightly before the step."""
        if not judged.any():
            return 0.0, 0.5
        optimizer = self.optimizers["discriminator"]
        optimizer.zero_grad(set_to_none=True)
        loss, penalty, accuracy = losses.of_discriminator(critic, real, fake, judged, self.options.adversarial_loss)
        (loss + penalty).backward()
        optimizer.step()
        return float(loss.detach()), accuracy

    @torch.no_grad()
    def _average(self) -> None:
        decay = self.options.ema
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def _train_strangers(self) -> torch.Tensor | None:
        """Embeddings of values outside the vocabulary, where training rows have any (past the cap on values)."""
        if not self.has_strangers:
            return None
        return CompletionModel(self.schema, self.vocabulary, self.generator).strangers(self.data.inputs)

    # --- validation ------------------------------------------------------------------------------------------------

    def _validation_masks(self) -> list[Mask]:
        rows = np.zeros(len(self.data.frame), bool)
        rows[self.data.parts.validation] = True
        rng = np.random.default_rng([self.options.seed, 7])
        return list(hiding.each_once(self.data.known & rows[:, None], self.schema, rng))

    @torch.inference_mode()
    def validation_scores(self) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
        """Attribute → logits (n, V) and right candidates, as in `Targets`, of the validation cells, batch by batch."""
        self.average.eval()
        values = self.average.values()
        strangers = self.model.strangers(self.data.inputs)
        scores: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {n: ([], []) for n in self.schema.attributes}
        rows = self.data.parts.validation
        for mask in self._validation_masks():
            for start in range(0, len(rows), 512):
                at = rows[start : start + 512]
                tensors, hidden = batch(self.data.inputs, at, self.vocabulary), hidden_rows(mask, at, len(scores))
                z = torch.zeros(len(at), len(scores), self.options.size.noise)
                output = self.average(tensors, hidden, z, strangers, values)
                target = losses.targets(tensors, self.average, hidden.cells)
                for name, right in target.index.items():
                    asked = target.asked(name)
                    if asked.any():
                        scores[name][0].append(output.logits[name][asked].cpu().numpy())
                        scores[name][1].append(right[asked].cpu().numpy())
        return scores

    def validation_loss(self) -> float:
        """Mean negative log-likelihood of the validation cells, each attribute counting alike, at the best temperature.

        Temperatures are fitted after training: an epoch that is right more often must not lose for being too sure.
        """
        scores = [(self.cost(name), *cells) for name, cells in self.validation_scores().items() if cells[1]]

        def loss(temperature: float) -> float:
            each = [np.concatenate([cost(s / temperature, r) for s, r in zip(logits, right, strict=True)])
                    for cost, logits, right in scores]  # fmt: skip
            return float(np.mean([cells.mean() for cells in each])) if each else 0.0

        return min(loss(temperature) for temperature in TEMPERATURES)

    def cost(self, name: str) -> calibration.Cost:
        """The negative log-likelihood of an attribute's cells, of whole sets where they are sets."""
        sets = self.generator.sets.get(name)
        if sets is None:
            return calibration.cross_entropy

        def of_sets(logits: np.ndarray, right: np.ndarray) -> np.ndarray:
            return sets.negative_log_likelihood(tensor(logits).double(), tensor(right) > 0).cpu().numpy()

        return of_sets

    @torch.inference_mode()
    def discriminator_accuracy(self) -> float | None:
        """The share of validation cells that D judges rightly: one half means it cannot tell real from generated."""
        rows = self.data.parts.validation
        rng = np.random.default_rng([self.options.seed, 11])
        torch.manual_seed(self.options.seed)
        mask = hiding.for_training(self.data.known[rows], self.schema, rng)
        tensors, hidden = batch(self.data.inputs, rows, self.vocabulary), losses.hidden_cells(mask)
        self.average.eval()
        z = torch.randn(len(rows), len(self.schema.attributes), self.options.size.noise)
        output = self.average(tensors, hidden, z, self.model.strangers(self.data.inputs))
        real, fake, known, judged = self._adversarial(tensors, hidden.cells, output, rng)
        if not judged.any():
            return None
        on_real = self.discriminator(output.context, real, known, judged)
        on_fake = self.discriminator(output.context, fake, known, judged)
        return losses.judged_rightly(on_real, on_fake, judged, self.options.adversarial_loss)

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def _states(self, best_state: dict[str, torch.Tensor]) -> dict[str, dict[str, Any]]:
        states: dict[str, dict[str, Any]] = {name: o.state_dict() for name, o in self.optimizers.items()}
        return states | {
            "generator": self.generator.state_dict(), "average": self.average.state_dict(), "best": best_state,
            "critic": self.discriminator.state_dict(),
        }  # fmt: skip

    def fingerprint(self) -> str:
        """What a checkpoint must share with this training to be gone on from: options, origin, schema and rows."""
        decides = asdict(self.options) | {"max_minutes": None, "log_every": None, "epochs": self.epochs}
        if self.origin:
            decides["started_from"] = self.origin.model.version
        digest = hashlib.sha256(json.dumps([decides, self.schema.hash, self.vocabulary.strings()]).encode())
        inputs = self.data.inputs
        members = [array for of in inputs.sets.values() for array in of]
        texts = (inputs.tokens["hash"], inputs.token_offsets, inputs.wide)
        for array in (inputs.codes, *members, inputs.numbers, *texts):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    def _restore(
        self, states: dict[str, dict[str, torch.Tensor]], notes: dict[str, Any], best_state: dict[str, torch.Tensor]
    ) -> tuple[int, float, int, list[dict[str, Any]]]:
        self.generator.load_state_dict(states["generator"])
        self.average.load_state_dict(states["average"])
        self.discriminator.load_state_dict(states["critic"])
        best_state.update(states["best"])
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer, states.get(name, {}))
        for schedule in self.schedule:
            schedule.last_epoch = notes["epoch"] * self.steps
            for group, base in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
                group["lr"] = base * schedule.lr_lambdas[0](schedule.last_epoch)
        return notes["epoch"] + 1, notes["best"], notes["best_epoch"], notes["history"]
