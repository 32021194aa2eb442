"""The texts of a folder in Hugging Face's layout, beside the checkpoint `model.safetensors`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charlstm.network.model import CharModel

CONFIG, MODEL, CARD = "config.json", "model.safetensors", "README.md"


def config_json(model: CharModel) -> str:
    """Return the content of config.json, which names the library and the shape of the model."""
    about = {
        "model_type": "charlstm",
        "architectures": ["CharModel"],
        "vocab_size": len(model.vocab),
        **model.config.to_dict(),
    }
    return json.dumps(about, indent=2) + "\n"


def model_card(model: CharModel, name: str, facts: Mapping[str, Any]) -> str:
    """Return the content of README.md: a model card with the metadata that the Hub reads.

    facts: the result of runs.folder.describe.
    """
    config, vocab = model.config, model.vocab
    texts = ", ".join(Path(text).name for text in facts.get("texts", ())) or "not recorded"
    loss = facts["summary"].get("best_val_loss")
    losses = f"{loss:.4f} nats per {vocab.unit}" if isinstance(loss, float) else "not recorded"
    parts = [f"{config.layers} layers of {config.hidden} units", f"{len(vocab):,} {vocab.unit}s"]
    parts += ["capped input gates"] * config.capped + ["skip connections"] * config.skip
    parts += [f"a table of n-grams of up to {config.ngrams} {vocab.unit}s"] * bool(config.ngrams)
    return f"""---
library_name: charlstm
pipeline_tag: text-generation
license: unknown # of the model and of the text that it learned; please fill in
tags: [charlstm, {config.cell}, character-level]
---

# {name}

A language model that predicts a text {vocab.unit} by {vocab.unit}.

| fact | value |
| --- | --- |
| model | {config.cell.upper()}, {", ".join(parts)}; {model.parameters.count:,} parameters |
| trained on | {texts} |
| validation loss | {losses} |

```sh
pip install charlstm
charlstm sample -r {name}
```

```python
import charlstm

model = charlstm.load("{name}")  # the path of this folder
print(model.sample(500, temperature=0.8))
```

The model can give away parts of the text that it was trained on.
"""
