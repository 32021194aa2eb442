#!/usr/bin/env python3
"""Prints the losses of dynamic evaluation under several rates and decays.

    .venv/bin/python scripts/benchmarks/dynamic_evaluation.py runs/first
        five rates by five decays: half an hour
    .venv/bin/python scripts/benchmarks/dynamic_evaluation.py runs/first --segment 10 --rates 5e-4
        segments of another length, one rate

The losses are those of the run's validation part. Once settings are chosen by the losses on the
validation part, that part is unfit for reporting a loss. Therefore set aside a text for the report
before training, and train on the rest. The defaults of DynamicConfig were chosen on the first 90 %
of tiny Shakespeare:

    head -c 1003854 data/tinyshakespeare.txt > first.txt
    charlstm train first.txt -r runs/first
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from itertools import product
from pathlib import Path

try:
    from common import markdown_table
    from tqdm import tqdm

    from charlstm import CharlstmError, load
    from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation
    from charlstm.analysis.segment_gradients import gradient_rms, own_text
    from charlstm.network.scoring import evaluate
    from charlstm.runs.texts import training_and_validation_ids
    from charlstm.system.threads import Workers, available_cores
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/dynamic_evaluation.py"
    )

DEFAULT = DynamicConfig()


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    add = parser.add_argument
    add("--rates", type=float, nargs="+", default=[5e-4, 7e-4, 1e-3, 1.4e-3, 2e-3])
    add("--decays", type=float, nargs="+", default=[0, 5e-4, 1e-3, 2e-3, 5e-3])
    add("--segment", type=int, default=DEFAULT.segment)
    add("--epsilon", type=float, default=DEFAULT.epsilon)
    add("--ngram-lr", type=float, default=DEFAULT.ngram_lr)
    add(
        "--characters",
        type=int,
        default=50_000,
        help="characters of the validation part to read [default: 50,000]",
    )
    options = parser.parse_args(arguments)
    workers = Workers(available_cores())
    try:
        model = load(options.run)
        ids = training_and_validation_ids(options.run).validation[: options.characters + 1]
        static = evaluate(model, ids, workers=workers).nats_per_character
        own = own_text(model, options.segment)
        rms = gradient_rms(model, own, options.segment, workers=workers)
        losses = {}
        for rate, decay in tqdm(list(product(options.rates, options.decays)), unit="setting"):
            config = DynamicConfig(options.segment, rate, decay, options.epsilon, options.ngram_lr)
            dynamic = DynamicEvaluation(model, rms, config)
            losses[rate, decay] = dynamic.evaluate(ids, workers=workers).nats_per_character
    except CharlstmError as error:
        sys.exit(f"{parser.prog}: {error}")
    headings = ("rate \\ decay", *(f"{decay:g}" for decay in options.decays))
    rows = [
        [f"{rate:g}", *(f"{losses[rate, decay]:.4f}" for decay in options.decays)]
        for rate in options.rates
    ]
    print(markdown_table(headings, rows))
    print(f"\nnats per character over {len(ids) - 1:,}; with fixed weights: {static:.4f}")


if __name__ == "__main__":
    main()
