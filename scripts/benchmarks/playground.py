#!/usr/bin/env python3
"""A model in an HTML page: the size of the page, the cost of its weights, and its speed.

    .venv/bin/python scripts/benchmarks/playground.py runs/first

For each kind of weights, `charlstm export` writes the page of the run. The time to open counts from
the request until the model can write. The speed is that of the page in headless Chromium, which
shows each character while it writes 2,000 of them: the median and the best of 7 times.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

try:
    from common import ROOT, machine, markdown_table
    from tqdm import tqdm

    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from browser import browser_in

    from charlstm.export.compact import WEIGHTS
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/playground.py RUN"
    )

TIMES, LENGTH = 7, 2_000
READY = "document.body.dataset.state === 'ready' && !running"


def main() -> None:
    """Export a run, open the pages, write, and print a table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of the run")
    run = parser.parse_args().run
    print(machine(), file=sys.stderr)
    rows = []
    with TemporaryDirectory() as temporary, browser_in(Path(temporary)) as browser:
        for weights in tqdm(WEIGHTS):
            page = Path(temporary) / f"{weights}.html"
            command = [sys.executable, "-m", "charlstm", "export", "-r", run, page]
            made = subprocess.run(
                [*command, "--weights", weights, "--json"], check=True, stdout=subprocess.PIPE
            )
            facts = json.loads(made.stdout)
            began = time.perf_counter()
            tab = browser.open(page)
            tab.wait_for(READY)
            opened = time.perf_counter() - began
            speeds = []
            for seed in range(TIMES):
                tab.evaluate(f"$('length').value = {LENGTH}; $('seed').value = {seed}; write()")
                tab.wait_for(READY)
                speeds.append(int(tab.evaluate("document.body.dataset.speed")))
            cost = facts["exported_loss"] - facts["loss"] if "loss" in facts else float("nan")
            size = f"{facts['bytes'] / 1e6:.1f} MB"
            speed = f"{median(speeds):,.0f} ({max(speeds):,})"
            rows.append([weights, size, f"{cost:.5f}", f"{opened:.1f} s", speed])
    headings = ["weights", "page", "cost in nats", "opened in", "characters a second (best)"]
    print(markdown_table(headings, rows))


if __name__ == "__main__":
    main()
