"""A model in an HTML page, which computes it in a browser, without a network."""

import base64
import zlib

from charlstm.errors import CharlstmError
from charlstm.export.compact import CompactModel
from charlstm.network.layers.ngrams import symbol_codes
from charlstm.pages.playground import playground_with_model
from charlstm.system.wording import counted
from charlstm.text.lookalikes import LOOKALIKES
from charlstm.text.spelling import byte_named
from charlstm.text.vocab import Vocab

LARGEST_PAGE = 500_000_000  # bytes; browsers refuse texts of more than about 512 MB
# The settings of a model that the page needs to compute it.
CONFIG = ("cell", "hidden", "layers", "lines", "skip", "ngrams", "ngram_slots", "capped")


def html_page(compact: CompactModel, name: str) -> str:
    """Return a page with a model in it; CharlstmError if the page would be too large for browsers.

    name: the name of the run, which the page shows.
    """
    model = compact.model
    config, vocab = model.config, model.vocab
    # Weights hardly repeat: without a search for repetitions, compression is faster and no worse.
    compressor = zlib.compressobj(strategy=zlib.Z_HUFFMAN_ONLY)
    packed = compressor.compress(b"".join(compact.arrays.values())) + compressor.flush()
    size = len(packed) * 4 // 3  # base64 takes 4 bytes for 3
    if size > LARGEST_PAGE:
        smaller = "" if compact.weights == "int8" else ': `weights="int8"` makes it smaller'
        raise CharlstmError(
            f"a page of {size / 1e6:,.0f} MB would be too large for browsers{smaller}"
        )
    layers = f"{counted(config.layers, 'layer')} of {config.hidden} {config.cell.upper()} units"
    data = {
        "name": name,
        "facts": f"{layers}, {counted(len(vocab), f'distinct {vocab.unit}')}, "
        f"{model.parameters.count:,} weights. This page computes: what you write stays here.",
        "config": {key: getattr(config, key) for key in CONFIG},
        "level": vocab.level,
        "symbols": [] if vocab.level == "byte" else _symbols_in_page(vocab),
        "lookalikes": LOOKALIKES,
        "codes": symbol_codes(vocab.symbols).tolist() if config.ngrams else [0],
        "weights": compact.weights,
        "arrays": [(key, array.shape) for key, array in model.parameters.items()],
        "packed": base64.b64encode(packed).decode(),
    }
    return playground_with_model(data)


def _symbols_in_page(vocab: Vocab) -> list[str]:
    """Return the symbols as the scripts of the page have them: see pages/symbols.js."""
    bytes_ = [byte_named(symbol) if vocab.level == "char" else None for symbol in vocab.symbols]
    return [
        symbol if byte is None else chr(0xDC00 + byte)
        for symbol, byte in zip(vocab.symbols, bytes_, strict=True)
    ]
