#!/usr/bin/env python3
"""The cost of the report of a run: its share of the training's time, its size, the time to open it.

    .venv/bin/python scripts/benchmarks/report_cost.py
        runs of 1 and 3 minutes, and a page of 1,000,000 steps: 6 minutes
    .venv/bin/python scripts/benchmarks/report_cost.py --only steps
        the rows of the table whose name has this word

The share is measured inside a run, by the clock of the class that writes the report: a thousandth
of the time cannot be seen in the durations of whole runs on a machine with other tenants.

The time to open a page counts from the request to the first frame after the script has drawn the
page, in headless Chromium: the median of 5 times. The events of the run of 1,000,000 steps are
written here: 20,000 log lines, and 1,000 evaluations, each with a sample.
"""

import json
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

try:
    from common import ROOT, find_text, machine, markdown_table
    from tqdm import tqdm

    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from browser import browser_in

    import charlstm
    from charlstm.runs import run as run_module
    from charlstm.runs.report import report_page, run_data
    from charlstm.runs.report_writer import ReportWriter
except ImportError as error:
    sys.exit(
        f"{error}: run ./scripts/setup test, then "
        ".venv/bin/python scripts/benchmarks/report_cost.py"
    )

# Training chooses smaller models for a minute: reading takes longer with those of 512 and 1024.
RUNS = {
    "chosen, 1 minute": {"minutes": 1.0},
    "1×512 units, 1 minute": {"minutes": 1.0, "hidden": 512, "layers": 1},
    "1×1024 units, 1 minute": {"minutes": 1.0, "hidden": 1024, "layers": 1},
    "chosen, 3 minutes": {"minutes": 3.0},
}
LONG = "1,000,000 steps"
LOG_LINES, EVALUATIONS, STEPS_BETWEEN = 20_000, 1_000, 50
OPENINGS = 5
DRAWN = """addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {
  window.drawn = performance.now();
})))"""


def main() -> None:
    """Train, write the pages, open them, and print a table."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="measure a part of the rows")
    chosen = [name for name in (*RUNS, LONG) if parser.parse_args().only in name]
    print(machine(), file=sys.stderr)
    rows, pages = [], []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in tqdm(chosen):
            place = folder / name
            page, cells = written(place) if name == LONG else trained(place, RUNS[name])
            rows.append([name, *cells, f"{page.stat().st_size / 1000:,.0f} kB"])
            pages.append(page)
        for row, seconds in zip(rows, opening_times(folder, pages), strict=True):
            row.append(f"{seconds:.2f} s")
    headings = ["run", "pages", "time of the report", "share of the run", "size", "opened in"]
    print(markdown_table(headings, rows))


def trained(folder: Path, options: dict[str, float]) -> tuple[Path, list[str]]:
    """Train a run; return its page, and the cells of the table about it."""
    writers = []

    class Counting(ReportWriter):
        """Counts the pages, and can be asked for its time after the run."""

        pages = 0

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            writers.append(self)

        def _write(self, state: str) -> None:
            super()._write(state)
            self.pages += 1

    original, run_module.ReportWriter = run_module.ReportWriter, Counting
    try:
        run = charlstm.train(find_text("tinyshakespeare.txt"), folder, **options)
    finally:
        run_module.ReportWriter = original
    (writer,) = writers
    seconds = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    share = f"{100 * writer.seconds / seconds:.2f} %"
    return run.path / "report.html", [str(writer.pages), f"{writer.seconds:.2f} s", share]


def written(folder: Path) -> tuple[Path, list[str]]:
    """Write the events of a long run and its page; return the page, and the cells about it."""
    rng = np.random.default_rng(0)
    losses = 1.2 + 2 / np.sqrt(np.arange(1, LOG_LINES + 1)) + rng.normal(0, 0.02, LOG_LINES)
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:

        def write(kind: str, step: int, **facts: object) -> None:
            stamp = {"event": kind, "step": step, "epoch": step / 500, "seconds": step / 25}
            file.write(json.dumps(stamp | facts) + "\n")

        write("start", 0, format=1, train_characters=10**6, windows_per_pass=500)
        for k, loss in enumerate(losses.tolist(), 1):
            facts = {"learning_rate": 0.02 / k, "gradient_norm": loss / 3}
            step = STEPS_BETWEEN * k
            write("train", step, train_loss=loss, characters_per_second=900_000 + k, **facts)
            if k % (LOG_LINES // EVALUATIONS) == 0:
                write("eval", step, train_loss=loss, val_loss=loss + 0.1, weights="average")
                write("sample", step, text="To be, or not to be: that is the question. " * 4)
    page = folder / "report.html"
    page.write_text(report_page([run_data(folder)[0]]), encoding="utf-8")
    return page, ["1", "", ""]


def opening_times(folder: Path, pages: list[Path]) -> list[float]:
    """Return the median time in seconds from the request for each page to its first frame."""
    with browser_in(folder) as browser:
        tab = browser.open(pages[0])
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=DRAWN)
        found: list[float] = []
        for page in pages:
            times = []
            for _ in range(OPENINGS):
                tab.call("Page.navigate", url="about:blank")
                tab.call("Page.navigate", url=page.resolve().as_uri())
                tab.wait_for("location.protocol === 'file:' && window.drawn > 0")
                times.append(tab.evaluate("window.drawn") / 1000)
            found.append(median(times))
        return found


if __name__ == "__main__":
    main()
