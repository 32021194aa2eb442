"""CharModel: the network with the texts that it writes and scores."""

from collections.abc import Iterator, Sequence
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.sampling import Sampling, stream_texts
from charlstm.network.scoring import Score, score_texts
from charlstm.network.stack import RecurrentStack


class CharModel(RecurrentStack):
    """A character-level language model: a network, its vocabulary, and what to do with both.

    A model holds nothing but its parameters: state goes in and comes out of every call, so one
    model may serve several threads at once.
    """

    def stream(
        self,
        length: int = 0,
        *,
        prime: str = "",
        temperature: float = Sampling.temperature,
        top_k: int = Sampling.top_k,
        top_p: float = Sampling.top_p,
        min_p: float = Sampling.min_p,
        stop: Sequence[str] = (),
        unknown: str = "error",
        seed: int | None = None,
    ) -> Iterator[str]:
        """Generate text piece by piece, `length` symbols without the prime; 0: without end.

        temperature: 0 takes the likeliest symbol each time, 1 draws from the model's own
            distribution, above 1 flattens it. top_k, top_p, min_p: see sampler.Sampling.
        stop: the text ends before the first of these strings.
        unknown: "error", "skip" or "replace", for characters of the prime unknown to the model.
        """
        pieces = stream_texts(
            self,
            length=length,
            prime=prime,
            unknown=unknown,
            sampling=Sampling(temperature, top_k, top_p, min_p),
            stops=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=seed,
        )
        return (piece for (piece,) in pieces)

    def sample(self, length: int, **options: Any) -> str:
        """`length` new characters (or bytes, at that level); the options are those of stream."""
        if length < 1:
            raise CharlstmError(f"length must be 1 or more, not {length}")
        return "".join(self.stream(length, **options))

    def score(self, text: str, unknown: str = "error") -> Score:
        """How well the model predicts `text`, as if it followed a line end."""
        return next(score_texts(self, [text], unknown))


def copy_weights(source: CharModel, target: CharModel) -> None:
    """Copy weights between models of one shape; rows and columns of symbols go by the symbol.

    What only the target knows keeps its fresh weights.
    """
    old = {symbol: k for k, symbol in enumerate(source.vocab.symbols)}
    new = {symbol: k for k, symbol in enumerate(target.vocab.symbols)}
    common = sorted(old.keys() & new.keys())
    from_ids, to_ids = [old[s] for s in common], [new[s] for s in common]
    for name, array in source.parameters.items():
        if name == "layers.0.Wx" or name.endswith(".Wi"):
            target.parameters[name][to_ids] = array[from_ids]
        elif name.startswith("head.") or name == NGRAM_TABLE:
            target.parameters[name][..., to_ids] = array[..., from_ids]
        else:
            target.parameters[name] = array
