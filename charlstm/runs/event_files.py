"""Event files of TensorBoard, made from the events of a run."""

import os
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.runs.history import History, Table
from charlstm.system.terminal import visible_lines

# The name that TensorBoard looks for. It usually ends with the name of the machine.
NAME = "events.out.tfevents.0.charlstm"
TAGS = {
    "train_loss": "loss/training",
    "val_loss": "loss/validation",
    "mix_val_loss": "loss/validation, mixed-in text",
    "learning_rate": "training/learning rate",
    "gradient_norm": "training/gradient norm",
    "characters_per_second": "training/characters per second",
}


def write_event_file(history: History, folder: Path, ends: float) -> Path:
    """Write the numbers and the samples of a run as an event file; return the path of the file.

    An earlier event file of charlstm in the folder is replaced, because a run that is resumed, or
    that goes back to an earlier state, changes its history.

    folder: is made if it is missing. ends: the time of the newest event, in seconds since 1970.
    """
    try:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import RecordWriter
        from tensorboardX.summary import text as text_summary
    except ImportError as error:
        raise CharlstmError(
            "event files need tensorboardX: pip install 'charlstm[tensorboard]'"
        ) from error
    begins = ends - (history.seconds or 0)
    events = [Event(wall_time=begins, file_version="brain.Event:2")]

    def add(table: Table, columns: tuple[str, ...]) -> None:
        for k, step in enumerate(table["step"]):
            values = [(TAGS[name], table[name][k]) for name in columns]
            known: list[Any] = [
                Summary.Value(tag=tag, simple_value=value)
                for tag, value in values
                if value is not None
            ]
            time = begins + (table["seconds"][k] or 0)
            if known:
                events.append(Event(wall_time=time, step=step, summary=Summary(value=known)))

    add(history.train, ("train_loss", "learning_rate", "gradient_norm", "characters_per_second"))
    add(history.evaluations, ("val_loss", "mix_val_loss"))
    for step, text in history.samples:
        # TensorBoard shows Markdown, in which four spaces begin a text as it is.
        shown = "".join(f"    {line}\n" for line in visible_lines(text).split("\n"))
        events.append(Event(wall_time=ends, step=step, summary=text_summary("sample", shown)))
    path = folder / NAME
    temporary = path.with_name(f"{NAME}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = RecordWriter(str(temporary))
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()
        temporary.replace(path)
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
