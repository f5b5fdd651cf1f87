"""MODEL.md: the card of an exported model, from the run's records and the architecture's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from nnatomy.data.kinds import kind_of
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run
from nnatomy.runs.page import flat
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.records import ResultRecord

if TYPE_CHECKING:
    from nnatomy.exporting.exporting import Exported

MOST = 40  # inputs that are listed


def model_card(prepared: Prepared, run: Run, exported: Exported, description: dict[str, Any], deviations: str = "") -> str:
    """Return the text of MODEL.md; `deviations`: a sentence on the variation of the scores."""
    architecture, saved = prepared.architecture, run.record()
    sections = [
        ("Data", _data(prepared)),
        ("Training", f"```bash\n{saved.command}\n```\n\n" + _table(("setting", "value"), flat(saved.recipe))),
        ("Scores", _scores(prepared, run, deviations)),
        ("Limits", _limits(prepared)),
        ("Use", _weights(exported) if exported.model.suffix == ".safetensors" else _onnx(exported, description)),
        ("Where it was trained", _table(("what", "version"), flat(run.read_json("environment.json")))),
    ]
    head = (
        f"# {architecture.front['title']} on {prepared.dataset.name}\n\n"
        f"{architecture.front['idea']} {architecture.front['paper']}\n\n"
        f"{prepared.model.count_parameters():,} parameters; task: {description['task']}; written by nnatomy "
        f"{description['nnatomy']}."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections)]) + "\n"


def _data(prepared: Prepared) -> str:
    dataset, saved = prepared.dataset, prepared.dataset.preprocessing.to_json()
    lines = [f"{dataset.name}: {dataset.description}."]
    if dataset.classes:
        lines.append(f"Classes: {', '.join(map(str, dataset.classes))}.")
    if saved.get("target") or saved.get("targets"):
        lines.append(f"Target: {saved.get('target') or ', '.join(saved['targets'])}.")
    return " ".join(lines)


def _scores(prepared: Prepared, run: Run, deviations: str) -> str:
    """The test scores that the run wrote down, and their spread where it is known."""
    try:
        result = run.read_as("result.json", ResultRecord, other_keys=True)
    except UserError:
        return "The run wrote down no scores: it was not finished. `nnatomy evaluate` measures it."
    rows = [(name, f"{value:.4g}" if isinstance(value, float) else str(value)) for name, value in result.metrics.items()]
    length = f"epochs: {result.epochs}, seconds: {result.seconds:.0f}"
    return (
        f"{_table(('metric', 'test'), rows)}\n\nMeasured on the test split, which took no part in training or in choosing the "
        f"best epoch ({length}). They are those of one run, with seed {prepared.request.seed}"
        + (f".\n\n{deviations}" if deviations else ": their spread over seeds and splits is not on record.")
    )


def _limits(prepared: Prepared) -> str:
    """Return the preprocessing's treatment of new inputs, and the architecture's own limits, as text."""
    found = re.search(r"^## 6 [^\n]*\n(.*?)(?=^## )", prepared.architecture.page, re.DOTALL | re.MULTILINE)
    known = kind_of(prepared.dataset).limits(prepared.dataset)
    return known + (f"\n\nOf the architecture, {prepared.architecture.name}:\n\n{found[1].strip()}" if found else "")


def _weights(exported: Exported) -> str:
    name = exported.model.name
    return (
        f"`{name}` holds the weights by name; architecture, data and preprocessing are its metadata, as JSON.\n\n```python\n"
        f'from safetensors.numpy import load_file\n\nweights = load_file("{name}")  # {{name: array}}\n```'
    )


def _onnx(exported: Exported, description: dict[str, Any]) -> str:
    name, inputs, outputs = exported.model.name, description["inputs"], description["outputs"]
    rows = [
        (way, f"`{end['name']}`", end["type"], " × ".join(map(str, end["shape"])), end["holds"])
        for way, ends in (("in", inputs[:MOST]), ("out", outputs)) for end in ends
    ]  # fmt: skip
    shown = "\n".join(f"    {json.dumps(end['name'], ensure_ascii=False)}: {_typical(end)}," for end in inputs)
    more = len(inputs) - MOST
    rest = f"\n\n{more} more inputs are listed in {exported.model.with_suffix('.json').name}." if more > 0 else ""
    return (
        f"```bash\nnnatomy predict {name} --data FILE\n```\n\nor any program with ONNX Runtime, for batches of any size:\n\n"
        f"```python\nimport numpy as np\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession({json.dumps(name)})\n"
        f"inputs = {{  # one example\n{shown}\n}}\n{outputs[0]['name']}, *others = session.run(None, inputs)\n```\n\n"
        f"{_table(('', 'name', 'type', 'shape', 'what it holds'), rows)}{rest}\n\n"
        f"Held against the model it was made of, in ONNX Runtime, on batches of 1 and 7 ({exported.checked_on}): the largest "
        f"difference was {exported.difference:.1e}."
    )


def _typical(end: dict[str, Any]) -> str:
    """One example of an input, as Python writes it."""
    if end["type"] == "string":
        return f"np.array([[{json.dumps(end['typical'], ensure_ascii=False)}]])"
    return f"np.full({(1, *end['shape'][1:])}, {end['typical']!r}, np.{end['type']})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(header), ["---"] * len(header), *cells])
