"""Small trainers on a small text."""

from corpus_files import make_text

from charlstm import CharModel, ModelConfig, TrainConfig, Trainer, Vocab

TEXT = make_text(60)
VOCAB = Vocab.from_text(TEXT)
IDS = VOCAB.encode(TEXT)


def make_trainer(ids=IDS, hidden=11, layers=2, dtype="float32", skip=False, **options):
    """A trainer of a fresh model, always the same for the same options."""
    config = ModelConfig(hidden=hidden, layers=layers, dtype=dtype, skip=skip)
    model = CharModel(config, VOCAB, seed=1)
    options = {
        "batch_size": 5,
        "seq_length": 9,
        "workers": 1,
        "seed": 4,
        "precision": "float32",
    } | options
    return Trainer(model, ids, TrainConfig(**options))


def take_steps(steps, **options):
    """Make a trainer and take steps; return the losses and the trainer."""
    trainer = make_trainer(**options)
    losses = [trainer.step() for _ in range(steps)]
    trainer.close()
    return losses, trainer
