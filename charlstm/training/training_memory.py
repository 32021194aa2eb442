"""The memory that a training run needs; it is checked before the run allocates anything."""

from charlstm.config import ModelConfig, TrainConfig
from charlstm.network.memory_needs import activation_bytes, parameter_bytes
from charlstm.network.parameters import parameter_shapes
from charlstm.system.memory import require_memory
from charlstm.text.batches import STEPS_MULTIPLE, fit_batch
from charlstm.training.optimizers import OPTIMIZERS
from charlstm.training.trainer import worker_count


def require_memory_to_train(
    characters: int, symbols: int, model: ModelConfig, config: TrainConfig
) -> None:
    """Raise CharlstmError if a lower bound of the memory that training needs is not available.

    characters: the length of the training text, in symbols.
    symbols: the number of distinct symbols.
    """
    batch_size, seq_length = fit_batch(characters, config.batch_size, config.seq_length)
    if model.lines:  # all lines may be short: only the shortest window is certain to be needed
        batch_size = min(config.batch_size, characters)
        seq_length = min(config.seq_length, STEPS_MULTIPLE)
    # The vectors as long as the weights: weights, each worker's gradients, moments, average.
    moments = OPTIMIZERS[config.optimizer].MOMENTS
    vectors = 1 + worker_count(config, batch_size) + len(moments) + bool(config.average)
    require_memory(
        parameter_bytes(parameter_shapes(model, symbols), model, vectors)
        + batch_size * seq_length * activation_bytes(model, symbols),
        f"training {model.layers} x {model.hidden} units on {symbols:,} distinct symbols",
        "take smaller --hidden, --layers, --ngram-slots, --batch-size or --seq-length, or "
        "--level byte",
    )
