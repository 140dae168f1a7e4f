"""The networks, their optimizers, and the step that moves them; `run.py` repeats it.

D steps on L_D, G on the supervised loss + w · L_G, where w is the adversarial weight. A batch may be computed in
pieces, one after the other (`accumulate`) or by several processes (`distributed.py`): what chance decides about its
rows is drawn for all of them by everyone, and losses are means over the cells of a piece, whoever computes them.
"""

import hashlib
import json
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from attrgan.errors import CatalogError
from attrgan.evaluation import hiding
from attrgan.evaluation.promise import Missing
from attrgan.evaluation.splits import HOLDOUT, Split, id_hashes, split
from attrgan.model.completion_model import CompletionModel
from attrgan.model.discriminator import Discriminator
from attrgan.model.folder import FORMAT
from attrgan.model.generator import Generator, Output, Size, encode_strings
from attrgan.model.inputs import Batch, Inputs, batch, tensor
from attrgan.model.neighbours import Index
from attrgan.model.regression import TextRegression
from attrgan.model.vocabulary import Vocabulary
from attrgan.schema import Schema
from attrgan.training import checkpoint, losses, transfer
from attrgan.training.distributed import ALONE, Workers
from attrgan.training.draws import Draws, Judgement

MIN_TRAIN_ROWS = 20


@dataclass(frozen=True)
class Options:
    """How to train. `epochs` and `batch_size` None: from the number of rows.

    `batch_size`: rows of a step, of all processes together; they go through in `accumulate` pieces. `calibrate_for`:
    what calibration cells stand for, see `attrgan.evaluation.promise`. `holdout`: share of the rows that nothing learns
    from, see `attrgan.evaluation.splits`. `refit`: whether to train again on all rows but the holdout, see `refit.py`.
    """

    seed: int = 0
    adversarial_weight: float = 0.1
    adversarial_loss: str = "standard"
    epochs: int | None = None
    batch_size: int | None = None
    accumulate: int = 1
    mixed_precision: str = "no"
    learning_rate: float = 2e-3
    wide_learning_rate: float = 0.15
    vector_learning_rate: float = 0.05
    bias_learning_rate: float = 0.02
    match_learning_rate: float = 0.1
    discriminator_learning_rate: float = 2e-3
    ema: float = 0.99
    patience: int = 4
    calibrate_for: Missing = "mcar"
    holdout: float = HOLDOUT
    refit: bool = True
    max_minutes: float | None = None
    log_every: int = 20
    size: Size = field(default_factory=Size)


@dataclass
class Data:
    """A catalog ready for training: all rows, and which of them serve what.

    `inputs` are those of all rows, in a process other than the first only those of `own`, the rows that it computes.
    """

    frame: pd.DataFrame
    features: pa.Table
    inputs: Inputs
    parts: Split
    known: np.ndarray
    own: np.ndarray | None = None

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Where rows stand in `inputs`."""
        return rows if self.own is None else np.searchsorted(self.own, rows)


def prepare(
    schema: Schema, frame: pd.DataFrame, options: Options, origin: transfer.Origin | None
) -> tuple[Split, Options]:
    """Which rows serve what, and the options with the origin's size; raises CatalogError where there are too few."""
    parts = split(frame[schema.id], options.holdout)
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
    return parts, options


class Trainer:
    """The networks, their optimizers, and one training step.

    Args:
        features: of all rows of the frame; in a process other than the first only of the training rows that it owns.
        parts: which row serves what; None: by the hash of its id.
    """

    def __init__(
        self, schema: Schema, frame: pd.DataFrame, features: pa.Table, options: Options,
        origin: transfer.Origin | None = None, workers: Workers = ALONE, parts: Split | None = None,
    ) -> None:  # fmt: skip
        default, options = prepare(schema, frame, options, origin)
        parts = parts or default
        torch.manual_seed(options.seed)
        self.schema, self.options, self.origin, self.workers = schema, options, origin, workers
        self.own = None if workers.first else workers.own(parts.train)
        if workers.first:
            train_rows = frame.iloc[parts.train].reset_index(drop=True)
            train_features = features.take(pa.array(parts.train))
            self.vocabulary = Vocabulary.fit(train_rows, train_features, schema)
            if origin:
                self.vocabulary = transfer.inherit(self.vocabulary, schema, origin)
        else:
            self.vocabulary, index, regression, said = _receive(workers)
        self.generator = Generator(schema, self.vocabulary, options.size)
        numbers = frame[list(self.vocabulary.numbers)].iloc[parts.train].to_numpy(np.float64)
        scores = self.generator.numbers.standardise(numbers)
        if workers.first:
            regression, said = TextRegression.fit(train_features, scores)
            del train_features
        self.generator.numbers.correlate(scores, said)
        self.carried = transfer.carry(self.generator, self.vocabulary, origin) if origin and workers.first else {}
        self.discriminator = Discriminator(len(schema.attributes), options.size.width)
        self.average = deepcopy(self.generator)
        self.model = CompletionModel(schema, self.vocabulary, self.average, regression=regression)
        rows = frame if self.own is None else frame.iloc[self.own].reset_index(drop=True)
        inputs, known = self.model.inputs(rows, features), hiding.known_cells(frame, schema)
        self.data = Data(frame, features, inputs, parts, known, self.own)
        if workers.first:
            ids = [str(i) for i in frame[schema.id].iloc[parts.train]]
            index = Index.of(inputs, parts.train, ids, self.vocabulary)
            _send(workers, self.vocabulary, index, regression, said)
        self._look_up(index)
        own = parts.train if self.own is None else self.own
        # a training row hears a regression that has not seen it
        inputs.said[self.data.at(own)] = said[np.searchsorted(parts.train, own)]
        count = len(parts.train)
        self.batch_size = options.batch_size or int(np.clip(2 ** round(np.log2(count / 40)), 16, 192))
        self.steps = max(-(-count // self.batch_size), 1)
        self.epochs = options.epochs or int(np.clip(round(300 / self.steps), 6, 30))
        self.noise: torch.Generator | None = None
        self._optimizers()

    def _look_up(self, index: Index) -> None:
        """Training rows to look up; while training, a row finds neither itself nor its near-duplicates."""
        inputs = self.data.inputs
        self.model.index = index
        trained = np.zeros(len(inputs), bool)
        trained[self.data.at(self.data.parts.train if self.own is None else self.own)] = True
        inputs.neighbours = index.look_up(inputs.retrieval, trained)

    def _optimizers(self) -> None:
        generator, wide = self.generator, self.generator.wide
        vectors = [*wide.vectors.parameters(), wide.vote, wide.sharpness]
        numbers = generator.numbers
        biases = [generator.value_bias, numbers.start]
        biases += [generator.spans.length] if generator.spans is not None else []
        apart = {id(p) for p in (wide.sparse.weight, *vectors, *biases, generator.match)}
        groups: list[dict[str, Any]] = [
            {"params": [p for p in generator.parameters() if id(p) not in apart]},
            {"params": vectors, "lr": self.options.vector_learning_rate},
            {"params": biases, "lr": self.options.bias_learning_rate},
            {"params": [generator.match], "lr": self.options.match_learning_rate},
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

    # --- one step --------------------------------------------------------------------------------------------------

    def seed(self, epoch: int) -> np.random.Generator:
        """Starts the random numbers of an epoch: the torch ones, and those returned.

        Several processes share the latter and `noise`; what is left, dropout and Gumbel noise, each draws by itself.
        """
        start = self.options.seed * 1_000_003 + epoch
        torch.manual_seed(start)
        if self.workers.count > 1:
            self.noise = torch.Generator(self.workers.device).manual_seed(start)
            torch.manual_seed((start * 65_537 + self.workers.rank + 1) % 2**63)
        return np.random.default_rng([self.options.seed, epoch])

    def step(self, rows: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
        """One step of G and one of D on a batch; returns this process's share of the losses."""
        known = self.data.known[rows]
        draws = Draws.of_rows(known, self.schema, self.generator, self.vocabulary, rng, self.noise)
        mine = self.workers.owns(np.searchsorted(self.data.parts.train, rows))
        pieces = [p for p in np.array_split(np.arange(len(rows)), self.options.accumulate) if len(p)]
        for name in ("deep", "wide"):
            self.optimizers[name].zero_grad(set_to_none=True)
        supervised, loss_g, judgements = 0.0, 0.0, []
        for piece in pieces:
            at = piece[mine[piece]]
            loss, adversarial, judged = self._piece(rows[at], draws.of(at), len(piece) / len(rows))
            supervised, loss_g = supervised + loss, loss_g + adversarial
            judgements += judged
        self.workers.add_gradients(
            (p for group in self.optimizers["deep"].param_groups for p in group["params"]),
            [self.generator.wide.sparse.weight],
        )
        torch.nn.utils.clip_grad_norm_(self.optimizers["deep"].param_groups[0]["params"], 1.0)
        for name, schedule in zip(("deep", "wide"), self.schedule, strict=True):
            self.optimizers[name].step()
            schedule.step()
        self.generator.wide.forget_own()
        if self.workers.first:
            self._average()
        loss_d, accuracy = self._discriminate(judgements)
        return {
            "loss_d": loss_d, "loss_g": loss_g, "loss": loss_d + loss_g, "supervised": supervised,
            "d_accuracy": accuracy,
        }  # fmt: skip

    def _piece(
        self, rows: np.ndarray, draws: Draws, weight: float
    ) -> tuple[float, float, list[tuple[Judgement, float]]]:
        """The gradients of G on a piece of a batch: of `weight` times the mean over the cells that all processes have.

        Returns:
            This process's share of the supervised loss and of L_G, and what D judges, with its share.
        """
        if not len(rows):
            self.workers.total((0, 0))  # the others wait for it
            return 0.0, 0.0, []
        with self.workers.autocast():
            loss, cells, judgement = self._forward(rows, draws)
            judged = int(judgement.judged.sum())
            all_cells, all_judged = self.workers.total((cells, judged))
            adversarial = loss.new_zeros(())
            if judged:
                critic, kind = self.critic(judgement), self.options.adversarial_loss
                adversarial = losses.of_generator(critic, judgement.real, judgement.fake, judgement.judged, kind)
        share, share_judged = weight * cells / max(all_cells, 1), weight * judged / max(all_judged, 1)
        loss, adversarial = loss * share, adversarial * share_judged
        total = loss + self.options.adversarial_weight * adversarial
        if total.requires_grad:  # a piece may have no cell to ask about
            total.backward()
        judgement.fake = judgement.fake.detach()
        kept = [(judgement, share_judged)] if judged else []
        return float(loss.detach()), float(adversarial.detach()), kept

    def _forward(self, rows: np.ndarray, draws: Draws) -> tuple[torch.Tensor, int, Judgement]:
        """The supervised loss, its number of cells, and what D is to judge."""
        tensors = batch(self.data.inputs, self.data.at(rows), self.vocabulary)
        hidden = losses.hidden_cells(draws.hidden)
        hidden.unlisted = losses.choose_unlisted(tensors, self.generator, self.vocabulary, draws.unlisted)
        hidden.text = None if draws.text is None else tensor(draws.text)
        dropped = {level: tensor(of) for level, of in draws.levels.items()}
        hidden.levels = {name: dropped[name.split()[0]] for name in self.generator.vectors}
        output = self.generator(tensors, hidden, draws.z, self._strangers(tensors))
        target = losses.targets(tensors, self.generator, torch.ones_like(hidden.cells), hidden.unlisted)
        target.unlisted = {name: tensor(of) for name, of in draws.composed.items()}
        loss, _, cells = losses.supervised(output, target)
        judgement = self.judgement(tensors, hidden.cells, output, draws.judged)
        judgement.context = judgement.context.detach()
        return loss, cells, judgement

    def judgement(self, tensors: Batch, hidden: torch.Tensor, output: Output, chances: np.ndarray) -> Judgement:
        """What D judges: hidden cells that have a value, those of `chances`, bool (B, A)."""
        values = output.values.detach()
        real, known = losses.real_values(tensors, self.generator, values)
        judged = hidden & known & tensor(chances)
        generated = losses.generated_values(output, self.generator, self.vocabulary, values)
        return Judgement(output.context, real, torch.where(judged[..., None], generated, real), known, judged)

    def critic(self, of: Judgement) -> losses.Critic:
        """D given everything but the values."""
        return lambda values: self.discriminator(of.context, values, of.known, of.judged)

    def _discriminate(self, judgements: list[tuple[Judgement, float]]) -> tuple[float, float]:
        """A step of D; this process's share of L_D and of the cells that D judged rightly before the step."""
        if not self.workers.total([len(judgements)])[0]:
            return 0.0, 0.5 / self.workers.count
        optimizer, loss_d, right = self.optimizers["discriminator"], 0.0, 0.0
        optimizer.zero_grad(set_to_none=True)
        for of, share in judgements:
            with self.workers.autocast():
                loss, penalty, accuracy = losses.of_discriminator(
                    self.critic(of), of.real, of.fake, of.judged, self.options.adversarial_loss
                )
            loss, right = loss * share, right + accuracy * share
            (loss + penalty * share).backward()
            loss_d += float(loss.detach())
        self.workers.add_gradients(self.discriminator.parameters())
        optimizer.step()
        return loss_d, right

    @torch.no_grad()
    def _average(self) -> None:
        decay = self.options.ema
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - decay)

    def _strangers(self, items: Batch) -> torch.Tensor | None:
        """Embeddings of the items' values outside the vocabulary (past the cap on values); their codes now lead there.

        A catalog may have most of its model numbers out there, a batch has a few.
        """
        generator, strings = self.generator, self.data.inputs.strangers
        if not strings:
            return None
        sizes = dict(zip([*generator.categorical, *generator.conditions], generator.value_sizes, strict=True))
        columns = dict(zip(sizes, items.codes.unbind(1), strict=True)) | items.sets
        outside = {name: columns[name] >= size for name, size in sizes.items()}
        found = torch.cat([columns[name][there] - sizes[name] for name, there in outside.items()])
        if not len(found):
            return None
        once, which = found.unique(return_inverse=True)
        parts = which.split([int(there.sum()) for there in outside.values()])
        for (name, there), part in zip(outside.items(), parts, strict=True):
            columns[name][there] = sizes[name] + part
        return generator.embed_strings(*encode_strings([strings[i] for i in once.tolist()], self.vocabulary))

    # --- checkpoints -----------------------------------------------------------------------------------------------

    def states(self) -> dict[str, dict[str, Any]]:
        """Everything that steps change, but for random numbers."""
        states: dict[str, dict[str, Any]] = {name: o.state_dict() for name, o in self.optimizers.items()}
        return states | {
            "generator": self.generator.state_dict(), "average": self.average.state_dict(),
            "critic": self.discriminator.state_dict(),
        }  # fmt: skip

    def restore(self, states: dict[str, dict[str, torch.Tensor]], steps: int) -> None:
        """Puts states back, as they were after a number of steps."""
        self.generator.load_state_dict(states["generator"])
        self.average.load_state_dict(states["average"])
        self.discriminator.load_state_dict(states["critic"])
        for name, optimizer in self.optimizers.items():
            checkpoint.restore_optimizer(optimizer, states.get(name, {}))
        for schedule in self.schedule:
            schedule.last_epoch = steps
            for group, base in zip(schedule.optimizer.param_groups, schedule.base_lrs, strict=True):
                group["lr"] = base * schedule.lr_lambdas[0](steps)

    def random_states(self) -> dict[str, torch.Tensor]:
        """The states of the torch generators: of every process its own (processes, n), and the one they share."""
        states = {"own": self.workers.gather(torch.get_rng_state()[None])}
        if self.workers.device != "cpu":
            states["gpu"] = self.workers.gather(torch.cuda.get_rng_state()[None])
        if self.noise:
            states["shared"] = self.noise.get_state()
        return states

    def restore_random(self, states: dict[str, torch.Tensor]) -> None:
        """Puts them back; where there were another number of processes, those of the epoch's beginning stay."""
        if len(states["own"]) != self.workers.count:
            return
        # copies, since torch reads states in words, and a row of a file that was read need not begin at one: it crashed
        torch.set_rng_state(states["own"][self.workers.rank].clone())
        if self.workers.device != "cpu" and "gpu" in states:
            torch.cuda.set_rng_state(states["gpu"][self.workers.rank].clone())
        if self.noise:
            self.noise.set_state(states["shared"].clone())

    def fingerprint(self) -> str:
        """What a checkpoint must share with this training to be gone on from: options, origin, schema, rows and their
        parts."""
        decides = asdict(self.options) | {
            "max_minutes": None,
            "log_every": None,
            "epochs": self.epochs,
            "format": FORMAT,
        }
        if self.origin:
            decides["started_from"] = self.origin.model.version
        digest = hashlib.sha256(json.dumps([decides, self.schema.hash, self.vocabulary.strings()]).encode())
        inputs, parts = self.data.inputs, self.data.parts
        members = [array for of in inputs.sets.values() for array in of]
        texts = (inputs.tokens["hash"], inputs.tokens["look"], inputs.token_offsets, inputs.wide)
        levels = [array for of in (*inputs.sequences.values(), *inputs.vectors.values()) for array in of]
        levels += [] if inputs.word_vectors is None else [inputs.word_vectors]
        served = [parts.train, parts.validation, parts.calibration, parts.holdout]
        ids = id_hashes(self.data.frame[self.schema.id])
        for array in (inputs.codes, *members, inputs.numbers, *texts, *levels, *served, ids):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def _send(workers: Workers, vocabulary: Vocabulary, index: Index, regression: TextRegression, said: np.ndarray) -> None:
    """What the other processes cannot know from their own rows."""
    if workers.count > 1:
        arrays = {f"vocabulary.{k}": np.ascontiguousarray(v) for k, v in vocabulary.arrays().items()}
        arrays |= {f"regression.{k}": v for k, v in regression.arrays().items()} | {"said": said}
        workers.send(save_arrays(arrays | {"index.vectors": index.vectors, "index.codes": index.codes}))
        workers.tell({"strings": vocabulary.strings(), "ids": index.ids})


def _receive(workers: Workers) -> tuple[Vocabulary, Index, TextRegression, np.ndarray]:
    arrays, told = load_arrays(workers.send()), workers.tell()
    of_vocabulary, of_regression = (
        {name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)}
        for part in ("vocabulary.", "regression.")
    )
    index = Index(arrays["index.vectors"], arrays["index.codes"], told["ids"])
    vocabulary = Vocabulary.restore(told["strings"], of_vocabulary)
    return vocabulary, index, TextRegression(**of_regression), arrays["said"]
