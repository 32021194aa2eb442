"""A check that the machine has the memory for a training run, before the run allocates any."""

from charlstm import kernels
from charlstm.config import ModelConfig, TrainConfig
from charlstm.network.memory_needs import activation_bytes, parameter_bytes
from charlstm.network.parameters import parameter_shapes
from charlstm.network.precision import resolve_precision
from charlstm.system.memory import require_memory
from charlstm.text.batches import STEPS_MULTIPLE, fit_batch
from charlstm.text.mixed_batches import fit_mixed_batch
from charlstm.training.optimizers import OPTIMIZERS
from charlstm.training.trainer import worker_count


def require_memory_to_train(
    length: int, vocab_size: int, model: ModelConfig, config: TrainConfig, mixed: int = 0
) -> None:
    """Raise CharlstmError if the machine has less memory than training needs at the least.

    length: the length of the training text, in symbols.
    vocab_size: the number of distinct symbols.
    mixed: the length of the second training text; 0 if there is none.
    """
    batch_size, seq_length = config.batch_size, config.seq_length
    if mixed:
        first, second, seq_length = fit_mixed_batch(
            (length, mixed), batch_size, seq_length, config.mix_share
        )
        batch_size = first + second
    else:
        batch_size, seq_length = fit_batch(length, batch_size, seq_length)
    if model.lines:  # All lines may be short, so only the shortest window is sure to be needed.
        batch_size = min(config.batch_size, length)
        seq_length = min(config.seq_length, STEPS_MULTIPLE)
    # These vectors are all as long as the weights: the weights themselves, their gradients (of each
    # worker, unless the step is native), the moments of the optimizer, and the average of the
    # weights.
    precision = resolve_precision(config.precision, model)
    gradients = 1 if kernels.can_train(model, precision) else worker_count(config, batch_size)
    moments = OPTIMIZERS[config.optimizer].MOMENTS
    vectors = 1 + gradients + len(moments) + bool(config.average)
    require_memory(
        parameter_bytes(parameter_shapes(model, vocab_size), model, vectors)
        + batch_size * seq_length * activation_bytes(model, vocab_size),
        f"training {model.layers} x {model.hidden} units on {vocab_size:,} distinct symbols",
        "take smaller `hidden`, `layers`, `ngram_slots`, `batch_size` or `seq_length`, or "
        '`level="byte"`',
    )
