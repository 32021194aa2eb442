"""A program that uses every name of the library, in the ways that its types allow.

test_typed_library.py runs it, and gives it to type checkers, which must find no error.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import charlstm


def use_runs(corpus: Path, folder: Path) -> charlstm.CharModel:
    """Train, resume and load."""
    events: list[dict[str, Any]] = []
    run: charlstm.TrainedRun = charlstm.train(
        corpus, folder / "run", cell="gru", lines=True, hidden=8, layers="auto", lr=1e-3, steps=2,
        dropout=0, seq_length=8, schedule="cosine", val_frac=0.2, workers=1, seed=3,
        observer=events.append,
    )  # fmt: skip
    run = charlstm.train(run=run.path, resume=True, steps=3, quiet=True)
    text: tuple[str, int, float | None, float | None, str, tuple[str, ...]]
    text = (run.reason, run.steps, run.best_val_loss, run.best_val_bits, run.unit, run.warnings)
    again = charlstm.train(
        [str(corpus)], str(folder / "again"), init_from=run.path, overwrite=True, val_file=corpus,
        steps=1, precision="float32", started=None,
    )  # fmt: skip
    print(charlstm.__version__, text, again.model, len(events))
    return charlstm.load(run.path)


def use_model(model: charlstm.CharModel, file: Path) -> None:
    """Sample, score, compute losses and gradients, and save."""
    text: str = model.sample(5, prime="the", temperature=0.8, top_k=3, top_p=0.9, min_p=0.01)
    lines: Iterator[str] = model.sample_lines(2, known={"a"}, unique=True, length=9, seed=1)
    pieces: Iterator[str] = model.stream(3, stop=["x"], unknown="skip", seed=1, errors="replace")
    score: charlstm.Score = model.score(text + "".join(pieces), unknown="replace")
    loss: charlstm.Loss = score.loss
    scores: list[charlstm.Score] = model.score(["the", "cat"], workers=1)
    texts: list[str] = model.sample(5, count=2, seed=1, workers="auto")
    figures: list[float] = [
        loss.nats, loss.nats_per_character, loss.bits_per_character, loss.perplexity,
        loss.bits_per_byte(9), score.bits_per_character, score.perplexity, float(score.nats[0]),
    ]  # fmt: skip
    state = model.initial_state(1)
    ids = model.vocab.encode("the cat")
    log_probs, state = model.step(ids[:1], model.read(ids, state))
    window = ids[:-1, None], ids[1:, None]
    losses, state = model.losses(*window, state)
    mean, gradients, state = model.loss_and_gradients(*window)
    activations = model.new_activations(len(ids) - 1, 1)
    after = model.forward(window[0], state, activations)
    total = model.parameters.zeros_like()
    model.backward(window[1], activations, total, 1.0)
    model.forward(window[0], state, activations)
    model.backward_activations(window[1], activations, 1.0)
    for task in model.weight_gradients(activations, total):
        task()
    if model.config.ngrams:
        print(model.context_rows(window[0], state, state).shape)
    charlstm.save(model, file)
    print(text, list(lines), texts, len(scores), score.text, score.characters)
    print(loss.characters, figures, after.shape, mean)
    print(log_probs.shape, losses.shape, sorted(gradients), model.parameters.count)


def use_analysis(model: charlstm.CharModel, text: str) -> None:
    """Measure the loss of a text, and compare a sample with the training text."""
    result: charlstm.Evaluation = charlstm.evaluate(model, text, window=8, batch_size=2, workers=1)
    adapting = charlstm.evaluate(model, text, dynamic=True, dynamic_rate=1e-3, unknown="skip")
    figures: tuple[float, float, float | None, float] = (
        result.nats_per_character, result.bits_per_character, result.bits_per_byte,
        result.perplexity,
    )  # fmt: skip
    print(result.characters, result.to_dict(), figures, adapting.loss, adapting.dynamic)
    sample = model.sample(50, count=2, seed=1)
    found: charlstm.Novelty = charlstm.novelty(sample, text, held_out=text[:40], level="char")
    own: charlstm.Comparison = found.texts
    stretch: charlstm.Stretch = found.stretches[0]
    print(found.to_dict(), own.to_dict(), own.longest, stretch.text, stretch.overlaps(stretch))


def use_vocabulary(text: str) -> charlstm.Vocab:
    """Make vocabularies, and turn text into ids and back."""
    spelling = charlstm.Vocab.from_characters("ab", spelled="日本")
    print(spelling.lacking("本x"), spelling.continues(spelling.encode("日a")))
    vocab = charlstm.Vocab.from_text(text).union(spelling)
    vocab = vocab.extended(["é"])
    ids = vocab.encode("a cat ☃", unknown="skip", offset=0)
    codes = vocab.encode_codes(ids * 0 + ord("a"))
    decoder = vocab.decoder()
    print(vocab.decode(ids, errors="replace"), decoder.feed(int(ids[0])), decoder.finish(), codes)
    words = charlstm.Vocab.from_words(["a", "cat"])
    print(words.encode_words(["a"]), charlstm.Vocab.bytes().unit, vocab.level, vocab.symbols)
    print(vocab.characters, vocab.dtype, vocab.replacements("é☃"), len(vocab))
    print(vocab.count_characters(ids))
    return charlstm.Vocab.from_dict(vocab.to_dict())


def use_trainer(vocab: charlstm.Vocab, text: str) -> charlstm.CharModel:
    """Write a training loop, and save and restore its state."""
    config = charlstm.ModelConfig(cell="lstm", hidden=8, layers=1, capped=True)
    model = charlstm.CharModel(config, vocab, seed=1)
    settings = charlstm.TrainConfig(batch_size=2, seq_length=8, workers=1, optimizer="sgd")
    trainers = [charlstm.Trainer(model, vocab.encode(text), settings) for _ in range(2)]
    first, second = trainers
    loss: float = first.step()
    second.load_arrays(first.arrays())
    second.load_dict(first.to_dict())
    shapes = {name: array.shape for name, array in model.parameters.items()}
    print(loss, first.epoch, first.learning_rate, first.symbols_per_step, first.is_finite())
    print(charlstm.Trainer.array_shapes(config, shapes, first.config), config.layers_seen)
    print(settings.to_dict(), charlstm.TrainConfig.from_dict({}), first.gradient_norm)
    for trainer in trainers:
        trainer.close()
    print(first.averaged, first.state.shape)
    return first.model


def main(corpus: Path, folder: Path) -> None:
    """Use all of the library. corpus: a text file. folder: where files may be written."""
    model = use_runs(corpus, folder)
    use_model(model, folder / "model.safetensors")
    text = corpus.read_text(encoding="utf-8")
    use_analysis(use_trainer(use_vocabulary(text), text), text)
    try:
        charlstm.load(folder / "none")
    except (charlstm.ArgumentError, charlstm.UnwritableError) as error:
        print(error, isinstance(error, charlstm.UnknownOptionError))
    except charlstm.CharlstmError as error:
        print(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
