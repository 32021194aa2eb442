"""charlstm: character-level language models from your own text, on the CPU.

run = charlstm.train("corpus.txt", minutes=3)   # as `charlstm train` does
model = charlstm.load(run.path)
print(model.sample(500, prime="Once"))
print(model.score("To be, or not to be").bits_per_character)
"""

if not __name__:  # Never true: only editors that look for the names here read these lines.
    from charlstm.analysis.evaluation import Evaluation, evaluate  # noqa: F401
    from charlstm.analysis.novelty import Comparison, Novelty, novelty  # noqa: F401
    from charlstm.analysis.stretches import Stretch  # noqa: F401
    from charlstm.config import ModelConfig, TrainConfig  # noqa: F401
    from charlstm.errors import (  # noqa: F401
        ArgumentError,
        CharlstmError,
        UnknownOptionError,
        UnwritableError,
    )
    from charlstm.network.model import CharModel  # noqa: F401
    from charlstm.network.scoring import Loss, Score  # noqa: F401
    from charlstm.runs.folder import load, save  # noqa: F401
    from charlstm.runs.result import TrainedRun  # noqa: F401
    from charlstm.runs.start import train  # noqa: F401
    from charlstm.text.vocab import Vocab  # noqa: F401
    from charlstm.training.trainer import Trainer  # noqa: F401

__version__ = "0.1.0"

# The names of the library, each with its module, which is imported when the name is first used.
# `import charlstm` is thus quick, and the command line can handle signals before NumPy is imported.
# Type checkers read __init__.pyi instead, which scripts/api_page.py makes.
MODULES = {
    "ArgumentError": "charlstm.errors",
    "CharModel": "charlstm.network.model",
    "CharlstmError": "charlstm.errors",
    "Comparison": "charlstm.analysis.novelty",
    "Evaluation": "charlstm.analysis.evaluation",
    "Loss": "charlstm.network.scoring",
    "ModelConfig": "charlstm.config",
    "Novelty": "charlstm.analysis.novelty",
    "Score": "charlstm.network.scoring",
    "Stretch": "charlstm.analysis.stretches",
    "TrainConfig": "charlstm.config",
    "TrainedRun": "charlstm.runs.result",
    "Trainer": "charlstm.training.trainer",
    "UnknownOptionError": "charlstm.errors",
    "UnwritableError": "charlstm.errors",
    "Vocab": "charlstm.text.vocab",
    "evaluate": "charlstm.analysis.evaluation",
    "load": "charlstm.runs.folder",
    "novelty": "charlstm.analysis.novelty",
    "save": "charlstm.runs.folder",
    "train": "charlstm.runs.start",
}

__all__ = sorted([*MODULES, "__version__"])


def __getattr__(name: str) -> object:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = getattr(import_module(MODULES[name]), name)
    return globals()[name]


def __dir__() -> list[str]:
    return __all__  # completion in an editor shows the library and nothing else
