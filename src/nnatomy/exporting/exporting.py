"""`export`: a trained run as one ONNX or safetensors file, with what is needed to use it and a model card next to it.

All of it is made and checked before the first byte is written.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import __version__, backends
from nnatomy.data.kinds import ExportedInputs, InputSpec, kind_of
from nnatomy.errors import UserError, unknown_name
from nnatomy.exporting.card import model_card
from nnatomy.exporting.examples import Arrays, examples
from nnatomy.exporting.score_std import score_std
from nnatomy.interchange.onnx import TOLERANCE, check, to_onnx
from nnatomy.runs.folder import packed, write_together
from nnatomy.runs.prepare import Prepared
from nnatomy.runs.restore import plain_dataset, restore
from nnatomy.runs.trained import TrainedRun
from nnatomy.tasks import forward
from nnatomy.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]
FORMATS = ("onnx", "safetensors")
DESCRIPTION = "nnatomy export 1"
"""The prefix of an exported model's description; the number changes with its form."""
BATCHES = (1, 7)
"""Of how many examples the batches are that an exported model is checked on."""


@dataclass(frozen=True)
class Exported:
    """The written files, and the measured agreement."""

    model: Path
    files: tuple[Path, ...]
    """All files, the model first."""
    difference: float
    """The largest |a - b| / (1 + |b|) between the exported model and the run's, over all batches; 0 for safetensors."""
    checked_on: str
    """"test data", or "made-up examples" where the run's own data are missing, or "every weight" for safetensors."""

    def to_json(self) -> dict[str, Any]:
        """Return the values that `nnatomy export --json` prints."""
        return {
            "model": str(self.model), "files": [str(path) for path in self.files],
            "difference": self.difference, "checked_on": self.checked_on,
        }  # fmt: skip


def export(
    run: str | Path | TrainedRun, to: str = "onnx", out: str | Path | None = None, comparison: str | Path | None = None
) -> Exported:
    """Write the trained model of a run, a folder or what `nn.load_run` returned, for use elsewhere.

    "onnx": model.onnx, which takes what users have (pixels, cells of a table, rows of a series) and gives what they want;
    model.json, which describes it and holds what ONNX cannot say; and MODEL.md. "safetensors": model.safetensors, the weights
    by name with the description as metadata; and MODEL.md. `out`: the model's file, <run>/<format>/model.<format> if None.
    `comparison`: the folder of a finished one with this architecture on the same data, whose spread of scores the card gives.
    Raises UserError where a file exists, or where the exported model's outputs differ from those of the run's model.
    """
    if to not in FORMATS:
        raise unknown_name("format", to, FORMATS)
    prepared, opened = restore(run)
    path = opened.folder / to / f"model.{to}" if out is None else Path(out).expanduser()
    if path.suffix != f".{to}":
        right = path.with_suffix(f".{to}") if path.name.strip(".") else f"model.{to}"
        raise UserError(f"--out names the model's file, which ends in .{to}. Received {str(path)!r}. Use --out {right}.")
    card = path.with_name("MODEL.md")
    files = (path, path.with_suffix(".json"), card) if to == "onnx" else (path, card)
    for file in files:
        if file.exists():
            raise UserError(
                f"Nothing is overwritten. Received {file}, which exists. Choose another --out, in a separate folder."
            )
    known = "" if comparison is None else score_std(comparison, prepared)
    prepared = replace(prepared, model=copy.deepcopy(prepared.model))  # a run that was loaded keeps its precision
    taken = inputs_of(prepared) if to == "onnx" else None
    description = describe(prepared, () if taken is None else taken.inputs)
    state = prepared.model.state_dict()
    with backends.backend("numpy"):
        prepared.model.load_state_dict(state)
        if taken is not None:
            prepared.model.astype("float32")
            made, difference, checked_on = _as_onnx(prepared, taken, description)
            contents: tuple[bytes | str, ...] = (made, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
        else:
            contents, difference, checked_on = (_as_safetensors(prepared, description),), 0.0, "every weight"
    exported = Exported(path, files, difference, checked_on)
    card_text = model_card(prepared, opened, exported, description, known)
    write_together(dict(zip(files, (*contents, card_text), strict=True)))
    return exported


def inputs_of(prepared: Prepared) -> ExportedInputs:
    """Return the inputs of the exported model: the task's, else the data as users have them."""
    return prepared.task.export_inputs() or kind_of(prepared.dataset).exported(prepared.dataset)


def describe(prepared: Prepared, specs: Sequence[InputSpec]) -> dict[str, Any]:
    """A model in plain values: its architecture and task, its inputs and outputs, the data's classes, the preprocessing."""
    dataset, task = prepared.dataset, prepared.task
    taken = {name for name, _ in (*prepared.model.named_parameters(), *prepared.model.named_buffers())}
    inputs = [{**asdict(end), "name": _free(end.name, taken), "shape": ["batch", *end.shape]} for end in specs]
    outputs = [{"name": _free(name, taken), "holds": holds} for name, holds in task.gives]
    return {
        "format": DESCRIPTION,
        "nnatomy": __version__,
        "architecture": prepared.architecture.key,
        "task": task.name,
        "inputs": inputs,
        "outputs": outputs,
        "dataset": plain_dataset(dataset),
        "preprocessing": dataset.preprocessing.to_json(),
    }


def _free(name: str, taken: set[str]) -> str:
    """The name, or with "_" after it where something else in the graph has it."""
    name = name or "column"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _as_onnx(prepared: Prepared, taken: ExportedInputs, description: dict[str, Any]) -> tuple[bytes, float, str]:
    """The checked file, the largest difference that was found, and what it was checked on."""
    model, recipe, task, preprocessing = prepared.model, prepared.recipe, prepared.task, prepared.dataset.preprocessing
    own = task.export_inputs() is not None

    def answered(outputs: Any, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
        decided = recipe.decide(outputs)
        return (task.interpret(decided, inputs), decided)[: len(description["outputs"])]

    def exported(*raw: Tensor) -> tuple[Any, ...]:
        inputs = taken.encode(*raw)
        return answered(model(*inputs), inputs)

    def expected(*raw: Array) -> tuple[Any, ...]:
        inputs = raw if own else preprocessing.prepare(*raw)
        return answered(forward(model, inputs), tuple(map(wrap, inputs)))

    raw, real = examples(prepared, taken, max(BATCHES))
    names = [[end["name"] for end in description[ends]] for ends in ("inputs", "outputs")]
    facts = {key: description[key] for key in ("architecture", "task", "nnatomy")} | {"data": prepared.dataset.name}
    if prepared.dataset.classes:
        facts["classes"] = json.dumps(prepared.dataset.classes)
    made = to_onnx(model, *raw, function=exported, inputs=names[0], outputs=names[1], metadata=facts)
    for end, value in zip(description["outputs"], made.graph.output, strict=True):
        sizes = value.type.tensor_type.shape.dim
        end |= {"shape": [size.dim_param or size.dim_value for size in sizes], "type": "float32"}
    batches = [tuple(a[:count] for a in raw) for count in BATCHES]
    difference = check(made, expected, *batches, taken.awkward(raw))
    if taken.pads_ends:
        _reads_forwards(prepared, raw)
    return made.SerializeToString(), difference, "test data" if real else "made-up examples"


def _reads_forwards(prepared: Prepared, raw: Arrays) -> None:
    """Check that later tokens do not change earlier outputs, since prompts shorter than the window are padded at the end."""
    tokens = raw[0]
    half = tokens.shape[1] // 2
    whole, part = (forward(prepared.model, (t,)).data for t in (tokens, tokens[:, :half]))
    if not np.allclose(whole[:, :half], part, rtol=TOLERANCE, atol=TOLERANCE):
        raise UserError(
            "A model that is to continue texts must read them from left to right. Received one that looks ahead. Export it to "
            "safetensors instead."
        )


def _as_safetensors(prepared: Prepared, description: dict[str, Any]) -> bytes:
    """The file, read again and found the same."""
    from safetensors.numpy import load

    state = prepared.model.state_dict()
    made = packed(state, {key: value for key, value in description.items() if key not in ("inputs", "outputs")})
    again = load(made)
    if again.keys() != state.keys() or any(again[name].tobytes() != state[name].tobytes() for name in state):
        raise UserError("Weights must be read back as they were written. Received others. Please report it.")
    return made
