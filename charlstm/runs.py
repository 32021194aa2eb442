"""One run in its folder: train to the end, evaluate, save, keep metrics.

best.safetensors   the weights of the lowest validation loss (the latest, without validation)
last.safetensors   all that it takes to go on
metrics.jsonl      one event a line
step-N.safetensors with keep_every
stdin-N.txt        the corpus, if it came from standard input
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import kernels
from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from .config import config_to_json
from .corpus import Corpus
from .defaults import CorpusOptions, evaluate_every
from .errors import CharlstmError
from .files import written_whole
from .interruption import Interruption
from .model import CharModel
from .pace import Pace
from .scorer import evaluate
from .trainer import Trainer

BEST, LAST, METRICS = "best.safetensors", "last.safetensors", "metrics.jsonl"
VALIDATION_CHARACTERS = 1_000_000  # at most so many are evaluated during training
SAMPLE_CHARACTERS = 150
LOGS_PER_EVALUATION = 20
LOG_EVERY = 50  # steps, while the end is not known

Event = dict[str, Any]
Observer = Callable[[Event], None]


@dataclass(frozen=True)
class TrainedRun:
    """What training leaves.

    path: the run's folder. best_val_loss: the lowest validation loss in nats a character, None
    without validation text. reason: "finished", or the name of the signal that ended it early.
    """

    path: Path
    best_val_loss: float | None
    steps: int
    reason: str

    @property
    def model(self) -> CharModel:
        """The best model."""
        return load(self.path)


def load(path: str | Path) -> CharModel:
    """The model of a run's folder (its best so far), or of a checkpoint file."""
    return load_checkpoint(checkpoint_path(Path(path))).model


def checkpoint_path(path: Path) -> Path:
    """The file to read for a run's folder: best, or last before there is a best."""
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    raise CharlstmError(f"{path}: no run in this folder (it has no {BEST})")


def describe(path: Path) -> dict[str, Any]:
    """What a run's folder or a checkpoint file holds, as a JSON object."""
    file = path / LAST if (path / LAST).exists() else checkpoint_path(path)
    checkpoint = load_checkpoint(file)
    vocab = checkpoint.model.vocab
    about: dict[str, Any] = {
        "path": str(path),
        "bytes": file.stat().st_size,
        "model": config_to_json(checkpoint.model.config),
        "parameters": len(checkpoint.model.parameters.vector),
        "level": vocab.level,
        "vocabulary": len(vocab),
        "symbols": "".join(vocab.symbols) if vocab.level == "char" else "all bytes",
        "progress": checkpoint.progress,
        "kernels": kernels.BACKEND,
    }
    if checkpoint.training:
        about["training"] = checkpoint.training["config"]
        about["corpus"] = checkpoint.training["corpus"]
    return about


def newest_run(root: Path = Path("runs")) -> Path:
    """The folder under `root` whose checkpoint was written last."""
    checkpoints = [*root.glob(f"*/{LAST}"), *root.glob(f"*/{BEST}")]
    if not checkpoints:
        raise CharlstmError(f"no run under {root}/: name one with -r, or begin with charlstm train")
    return max(checkpoints, key=lambda path: path.stat().st_mtime_ns).parent


def split(corpus: Corpus, text: CorpusOptions) -> tuple[Any, Any]:
    """The ids to train on and those to validate on: contiguous, the last part for validation."""
    if text.val_file:
        border = corpus.train_characters
    else:
        border = int(corpus.characters * (1 - text.val_frac))
    return corpus.ids[:border], corpus.ids[border:]


class Run:
    """The training of one model, from where it stands to its end.

    started: the time.monotonic() at which it would have begun, had it never been interrupted.
    extended: whether the vocabulary came from another run's beside the corpus.
    """

    def __init__(
        self,
        folder: Path,
        text: CorpusOptions,
        corpus: Corpus,
        trainer: Trainer,
        *,
        started: float,
        extended: bool = False,
    ) -> None:
        self.folder, self.text, self.corpus, self.trainer = folder, text, corpus, trainer
        self.started, self.extended = started, extended
        self.notices: list[str] = []
        self.observer: Observer = lambda event: None
        train_ids, validation_ids = split(corpus, text)
        self.train_characters = len(train_ids)
        # one character has nothing to be predicted from
        self.validation_ids = validation_ids[:VALIDATION_CHARACTERS]
        self.validates = len(validation_ids) > 1
        self.pace = Pace(trainer.characters_per_step)
        self.eval_every: int | None = None
        self.best_val_loss: float | None = None
        self.val_loss: float | None = None
        self._losses: list[float] = []  # since the last evaluation
        self._logged = 0  # how many of them are in the metrics

    # -- its life ---------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without the time between interruption and resumption."""
        return time.monotonic() - self.started

    def finished(self) -> bool:
        total = self.trainer.total_steps
        return total is not None and self.trainer.steps_done >= total

    def clear(self) -> None:
        """Remove what another run left in the folder, but for the text of this one."""
        for pattern in (BEST, LAST, METRICS, "step-*.safetensors", "stdin-*.txt"):
            for path in self.folder.glob(pattern):
                if str(path.absolute()) not in self.text.paths:
                    path.unlink()

    def go(self) -> TrainedRun:
        """Train to the end; a signal ends the current step, saves and returns early."""
        self._event("start", **self._description())
        if self.finished():
            return self._stop("finished", again=True)
        if self.trainer.steps_done == 0:
            self._save_last()
        with Interruption() as interruption:
            while not (self.finished() or interruption.signal_name):
                self._step()
            if not self.finished():
                self._save_last()
                return self._stop(interruption.signal_name)
        return self._stop("finished")

    def _step(self) -> None:
        trainer, config = self.trainer, self.trainer.config
        rate = trainer.learning_rate
        began = time.monotonic()
        loss = trainer.step()
        self.pace.count_step(time.monotonic() - began)
        if not math.isfinite(loss + trainer.gradient_norm):
            raise CharlstmError(
                f"{self.folder}: the loss of step {trainer.steps_done} is not a finite number; "
                f"the last good state is kept. Begin anew with a lower --lr than {config.lr:g}"
            )
        self._losses.append(loss)
        step = trainer.steps_done
        self.observer({"event": "step", "step": step, "train_loss": loss,
                       "total_steps": trainer.total_steps,
                       "characters": trainer.characters_per_step})  # fmt: skip
        log_every = LOG_EVERY
        if self.eval_every is not None:
            log_every = max(1, self.eval_every // LOGS_PER_EVALUATION)
        if step % log_every == 0 or self.finished():
            self._log(rate)
            self._plan()
        elif self.eval_every is None:
            self._plan()
        if config.keep_every and step % config.keep_every == 0:
            self._save(f"step-{step:06d}.safetensors")
        if self.finished() or (self.eval_every and step % self.eval_every == 0):
            self._evaluate()

    def _plan(self) -> None:
        """Fit the end to the time budget, once the speed is known, and again and again."""
        config, trainer = self.trainer.config, self.trainer
        if not self.pace.known and not self.finished():
            return
        if config.minutes is not None:
            budget = config.minutes * 60
            self.pace.guess_evaluation(len(self.validation_ids))
            steps = self.pace.steps_within(budget - self.elapsed, self.eval_every)
            trainer.total_steps = trainer.steps_done + steps
        if self.eval_every is None and trainer.total_steps is not None:
            self.eval_every = evaluate_every(config, trainer.total_steps)
            remaining = trainer.total_steps - trainer.steps_done
            self.observer({"event": "plan", "total_steps": trainer.total_steps,
                           "epochs": trainer.total_steps / trainer.lanes.windows_per_pass,
                           "seconds": remaining * self.pace.seconds_per_step})  # fmt: skip

    def _evaluate(self) -> None:
        began = time.monotonic()
        trainer, model = self.trainer, self.trainer.model
        train_loss = sum(self._losses) / len(self._losses)
        is_best = not self.validates
        if self.validates:
            self.val_loss = evaluate(
                model, self.validation_ids, workers=trainer.workers
            ).nats_per_character
            trainer.schedule.observe(self.val_loss)
            is_best = self.best_val_loss is None or self.val_loss < self.best_val_loss
            if is_best:
                self.best_val_loss = self.val_loss
        self._losses, self._logged = [], 0
        self._event("eval", train_loss=train_loss, val_loss=self.val_loss, is_best=is_best)
        sample = model.sample(SAMPLE_CHARACTERS, seed=trainer.steps_done)
        self.observer({"event": "sample", "text": sample})
        if is_best:
            self._save(BEST)
        self._save_last()
        self.pace.count_evaluation(time.monotonic() - began)

    def _stop(self, reason: str, again: bool = False) -> TrainedRun:
        if not again:
            self._event("stop", reason=reason, best_val_loss=self.best_val_loss)
        return TrainedRun(self.folder, self.best_val_loss, self.trainer.steps_done, reason)

    # -- its files --------------------------------------------------------------------------

    def _progress(self) -> dict[str, Any]:
        return {
            "step": self.trainer.steps_done,
            "total_steps": self.trainer.total_steps,
            "epoch": self.trainer.epoch,
            "seconds": round(self.elapsed, 3),
            "val_loss": self.val_loss,
            "best_val_loss": self.best_val_loss,
            "train_characters": self.train_characters,
        }

    def _save(self, name: str) -> None:
        save_checkpoint(self.folder / name, Checkpoint(self.trainer.model, self._progress()))
        self._event("save", file=name)

    def _save_last(self) -> None:
        arrays, progress = self.trainer.saved()
        training = {
            "config": config_to_json(self.trainer.config),
            "corpus": asdict(self.text),
            "digest": self.corpus.digest,
            "extended": self.extended,
            "trainer": progress,
            "eval_every": self.eval_every,
            "best_val_loss": self.best_val_loss,
            "val_loss": self.val_loss,
            "seconds": self.elapsed,
            "pace": self.pace.saved(),
            "losses": self._losses,
        }
        checkpoint = Checkpoint(self.trainer.model, self._progress(), training, arrays)
        save_checkpoint(self.folder / LAST, checkpoint)
        self._event("save", file=LAST)

    def restore(self, training: dict[str, Any]) -> None:
        """Go on from the `training` record of a `last` checkpoint."""
        self.eval_every = training["eval_every"]
        self.best_val_loss, self.val_loss = training["best_val_loss"], training["val_loss"]
        self.pace.restore(training["pace"])
        self._losses = [float(loss) for loss in training["losses"]]
        self._logged = len(self._losses)
        self._forget_later_metrics()

    def _forget_later_metrics(self) -> None:
        """Drop what was written after the state that the run goes on from, and a torn last line."""
        path = self.folder / METRICS
        lines = path.read_bytes().splitlines() if path.exists() else []
        with written_whole(path) as file:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if event.get("step", 0) <= self.trainer.steps_done:
                    file.write(line + b"\n")

    # -- what it tells ----------------------------------------------------------------------

    def _description(self) -> dict[str, Any]:
        model, trainer = self.trainer.model, self.trainer
        return {
            "run": str(self.folder),
            "resumed": trainer.steps_done > 0,
            "finished": self.finished(),
            "characters": self.corpus.characters,
            "vocabulary": len(self.corpus.vocab),
            "train_characters": self.train_characters,
            "validation_characters": self.corpus.characters - self.train_characters,
            "parameters": len(model.parameters.vector),
            "total_steps": trainer.total_steps,
            "windows_per_pass": trainer.lanes.windows_per_pass,
            "kernels": kernels.BACKEND,
            "notices": self.notices,
            "model": config_to_json(model.config),
            "config": config_to_json(trainer.config),
            "best_val_loss": self.best_val_loss,
        }

    def _log(self, rate: float) -> None:
        recent = self._losses[self._logged :]
        self._logged = len(self._losses)
        self._event(
            "train",
            train_loss=sum(recent) / len(recent),
            learning_rate=rate,
            gradient_norm=self.trainer.gradient_norm,
            characters_per_second=round(self.pace.characters_per_second),
            total_steps=self.trainer.total_steps,
        )

    def _event(self, kind: str, **about: Any) -> None:
        event = {
            "event": kind,
            "step": self.trainer.steps_done,
            "epoch": self.trainer.epoch,
            "seconds": round(self.elapsed, 3),
            **about,
        }
        try:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            raise CharlstmError(
                f"{self.folder / METRICS}: cannot be written: {error.strerror}"
            ) from error
        self.observer(event)
