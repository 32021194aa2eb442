"""Hostile texts and events of runs, written as by a stranger."""

import json

INJECTIONS = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "<!--<script>",
    "]]><svg onload=document.title=1>",
    "\u2028\u2029document.title=1//",
    "\x1b[2J\x1b]0;broken\x07",
    "\u202egnp.exe\u2066",
    "'-alert(1)-'`${document.title=1}`",
    "&lt;b&gt; &amp; \"quoted\" 'single'",
    "\udc80\ud800\x00\x7f\x9b",
    "javascript:document.title=1",
    "@SCRIPT@@DATA@@STYLE@",
    "__proto__",
    "a" * 5_000,
]


def event(kind, step, **facts):
    """A line of metrics.jsonl."""
    return json.dumps({"event": kind, "step": step, "epoch": 0, "seconds": step / 10, **facts})


def hostile_lines(text):
    """The events of a run in which every entry that may be a text is this one."""
    model = {"cell": text, "hidden": text, "layers": 10**400, "dtype": text}
    return [
        event("start", 0, format=1, run=text, unit=text, kernels=text, precision=text,
              machine=text, versions={text: text}, notices=[text, 3, None], model=model,
              config={"lr": text, "clip": text, "seed": text}, given={"seed": text, text: text},
              corpus={"paths": [text, 3], "encoding": text}, origin={"path": text, "step": text},
              train_characters=text, windows_per_pass=0, vocabulary=-1, total_steps=text),
        event("train", 1, train_loss=text, learning_rate=float("nan"), gradient_norm=[text]),
        event("train", 2, train_loss=2.5, learning_rate=0.1, gradient_norm=1e308 * 10),
        event("eval", 2, train_loss=2.5, val_loss=2.25, weights=text, mix_val_loss=text),
        event("eval", 3, train_loss={}, val_loss=True, weights=3),
        event("sample", 3, text=text),
        event("sample", 3, text={"text": text}),
        event("recovery", 3, cause=text, rate_factor=text),
        event("unknown " + text, 4),
        event("eval", -5, val_loss=1.0),
        event("eval", 10**30, val_loss=1.0),
        event("notice", 4, text=text),
        "not json", json.dumps([text]), json.dumps({"event": "eval", "step": text}),
        event("stop", 4, reason="unknown " + text, warnings=[text, {}], best_val_loss=text),
    ]  # fmt: skip


def write_run(folder, lines):
    """Write events into a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
