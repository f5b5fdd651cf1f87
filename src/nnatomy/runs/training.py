"""Training an architecture: from a name and some data to a model, its scores and the folder that holds them."""

from __future__ import annotations

import operator
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import __version__, backends, data, random
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.runs import checkpoints, transfer
from nnatomy.runs.folder import Run, environment, finite
from nnatomy.runs.gradients import GradientLog
from nnatomy.runs.progress import Progress
from nnatomy.tasks import Evaluation, Task, task_for
from nnatomy.training.batches import Feed
from nnatomy.training.fit import Checkpoint, fit
from nnatomy.training.learners import LearnerSpec
from nnatomy.training.loop import Callback, Loop, Position
from nnatomy.training.parallel.devices import Devices, arrange
from nnatomy.training.parallel.hosts import Hosts
from nnatomy.training.precision import PRECISIONS, precision_named
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override, parse_seconds, plain

DESCRIBED = ("name", "kind", "task", "classes", "input_shape", "outputs", "description")
"""What a run's folder keeps of the data set, beside the preprocessing, so that its model can be built without the data."""

WHERE = ("backend", "device", "devices", "shard")
"""Options that say where a run computes, and may change when it is continued."""


DATA = ("data", "target", "keep", "types", "labels", "window", "horizon", "limit", "split_seed", "offline")
"""What a request says of its data."""


@dataclass(frozen=True)
class Request:
    """What a user asked for: plain values, from which the same run can be started again."""

    architecture: str
    data: str | None = None
    target: str | None = None
    keep: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    window: int | None = None
    horizon: int | None = None
    limit: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    seed: int = 0
    budget: float | None = None
    backend: str = "numpy"
    device: str | None = None
    precision: str = "float32"
    accumulate: int = 1
    devices: int | None = None
    shard: str = "data"
    offline: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    from_: str | None = None
    """A run or a file whose weights the model begins from."""
    new_head: bool = False
    """Whether what depends on the number of outputs begins anew nonetheless."""
    freeze: tuple[str, ...] = ()
    """Patterns of parameters that are held fast, each for good or, with "=EPOCHS", at first."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Factors of the learning rate by pattern."""
    split_seed: int | None = None
    """What decides the splits in place of `seed`, so that runs with several seeds are tested on the same examples."""
    teacher: str | None = None
    """A run whose answers are learned from too."""
    temperature: float = 4.0
    soft: float = 0.9

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["nnatomy", "train" if self.teacher is None else "distill", self.architecture]
        several = ("architecture", "settings", "types", "keep", "freeze", "rates", *(DATA if self.teacher is not None else ()))
        for name, value in vars(self).items():
            flag = "--" + name.rstrip("_").replace("_", "-")
            if name in several or value == type(self).__dataclass_fields__[name].default:
                continue
            words += [flag] if value is True else [flag, f"{value:g}s" if name == "budget" else str(value)]
        if self.teacher is None:
            words += [word for name in self.keep for word in ("--keep", name)]
            words += [word for name, kind in self.types.items() for word in ("--types", f"{name}={kind}")]
        words += [word for pattern in self.freeze for word in ("--freeze", pattern)]
        words += [word for pattern, factor in self.rates.items() for word in ("--rates", f"{pattern}={factor:g}")]
        words += [word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")]
        return shlex.join(words)


@dataclass
class Prepared:
    """A request made real: data, recipe, model and the task that measures it."""

    request: Request
    architecture: Architecture
    recipe: Recipe
    dataset: Dataset
    model: Module
    task: Task
    lesson: tuple[Dataset, LearnerSpec] | None = None
    """The data and the learner of a student, where there is a teacher."""


@dataclass
class Result:
    """A finished (or interrupted) run."""

    prepared: Prepared
    run: Run
    epochs: int
    seconds: float
    metrics: dict[str, float]
    """On the test split, which nothing was chosen by."""
    evaluation: Evaluation | None
    stopped: str = ""
    interrupted: bool = False
    hosts: Hosts = field(default_factory=Hosts)

    @property
    def model(self) -> Module:
        """The trained model, with the weights of the best epoch."""
        return self.prepared.model

    @property
    def dataset(self) -> Dataset:
        return self.prepared.dataset

    def to_json(self) -> dict[str, Any]:
        """What `nnatomy train --json` prints."""
        return {
            "architecture": self.prepared.architecture.name,
            "run": str(self.run.folder),
            "backend": self.prepared.request.backend,
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "parameters": self.model.count_parameters(),
            "metrics": finite(self.metrics),
        } | ({"interrupted": True} if self.interrupted else {})


def prepare(request: Request) -> Prepared:
    """Loads the data, chooses the recipe that fits it and builds the model. Raises UserError for all that does not fit."""
    precision = precision_named(request.precision, request.backend)
    backends.use(request.backend, request.device, precision.matmul)
    architecture = find_architecture(request.architecture)
    if request.budget is not None and not 0 < request.budget < float("inf"):
        raise UserError(f"--budget must be a positive time, received {request.budget:g} s; give one such as 2m.")
    for flag, seed in (("--seed", request.seed), ("--split-seed", request.split_seed)):
        if seed is not None and seed < 0:
            raise UserError(f"{flag} must be 0 or more, received {seed}; give another number.")
    recipe, dataset = _choose(architecture, request)
    recipe = override(recipe, request.settings, epochs=request.epochs, batch_size=request.batch_size, lr=request.lr)
    if not 1 <= request.accumulate <= recipe.batch_size:
        raise UserError(
            f"--accumulate takes the batch in parts of at least one example, received {request.accumulate} for batches of "
            f"{recipe.batch_size}; give a number from 1 to {recipe.batch_size}."
        )
    random.seed(request.seed)
    model = recipe.build(dataset, **recipe.options).astype(precision.master)
    return Prepared(request, architecture, recipe, dataset, model, task_for(recipe, dataset, precision))


def _choose(architecture: Architecture, request: Request) -> tuple[Recipe, Dataset]:
    """The recipe and the data of a request; without a source, those of the architecture's first recipe."""
    asked: dict[str, Any] = {
        "target": request.target, "keep": request.keep, "types": request.types, "labels": request.labels,
        "seed": request.seed if request.split_seed is None else request.split_seed,
        "limit": request.limit, "offline": request.offline,
        **{k: v for k, v in (("window", request.window), ("horizon", request.horizon)) if v is not None},
    }  # fmt: skip
    if request.data is None:
        return choose(architecture, architecture.recipes[0].data, architecture.recipes[:1], **asked)
    return choose(architecture, request.data, **asked)


def choose(
    architecture: Architecture, source: str | Path, recipes: Sequence[Recipe] | None = None, **options: Any
) -> tuple[Recipe, Dataset]:
    """The first of an architecture's recipes for the kind and task of the data, and the data read as that recipe wants it.

    `options` are those of `data.load`, such as fold=Fold(0, 5) for data parted for cross-validation.
    Raises UserError where no recipe fits.
    """
    recipes = list(architecture.recipes if recipes is None else recipes)
    while True:
        kinds = tuple(dict.fromkeys(r.kind for r in recipes))
        tasks = tuple(dict.fromkeys(t for r in recipes for t in r.task_names))
        common = dict(recipes[0].load) if all(r.load == recipes[0].load for r in recipes) else {}
        dataset = data.load(source, kinds, tasks=tasks, **(common | options))
        fitting = [r for r in recipes if r.does(dataset) is not None]
        if not fitting:
            raise UserError(
                f"The architecture {architecture.name} has no recipe for {dataset.task} on data of the kind {dataset.kind}; "
                "choose other data or another architecture."
            )
        if common == dict(fitting[0].load):
            return fitting[0], dataset
        recipes = fitting[:1]  # read it again, as this recipe wants it


def train(
    architecture: str,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    report: bool = True,
    hosts: str | None = None,
    host_index: int | None = None,
    **asked: Any,
) -> Result:
    """Trains an architecture and writes its run's folder; what can be asked for is in `Request`.

    `hosts` and `host_index` are those of `hosts.join`: every host makes the same call, the first one writes the folder.

    >>> result = nn.train("mlp", "titanic.csv", target="survived", seed=1)  # doctest: +SKIP
    >>> result.metrics["auc"], result.run.folder  # doctest: +SKIP

    Raises UserError for bad input, before anything is written where it can be known by then.
    """
    unknown = set(asked) - set(Request.__dataclass_fields__)
    if unknown:
        raise UserError(f"train() takes {', '.join(Request.__dataclass_fields__)}. Received {', '.join(sorted(unknown))}.")
    for name, value in (("architecture", architecture), ("data", data), ("out", out)):
        if not isinstance(value, str | PathLike | None) or (name == "architecture" and value is None):
            remedy = "wrap arrays in nn.NeuralClassifier or nn.NeuralRegressor" if name == "data" else "give it as text"
            raise UserError(f"train() takes a name or a path for {name}, received {type(value).__name__}; {remedy}.")
    request = Request(
        architecture, None if data is None else settled(data), **{k: settled_option(k, v) for k, v in asked.items()}
    )
    devices = _arranged(request, hosts, host_index, request.shard)
    with devices.hosts.together():
        prepared = prepare(request)
        told = transfer.begin(prepared)
        _listen(prepared)
        if progress and devices.hosts.first:
            announce(prepared)
            tell(told)
        run = Run(Path(devices.hosts.broadcast(str(Run.create(architecture, out).folder) if devices.hosts.first else "")))
        if devices.hosts.first:
            _describe(run, prepared)
        return _fit(prepared, run, None, callbacks, progress, report, devices, hosts)


def _arranged(request: Request, hosts: str | None, host_index: int | None, shard: str | None) -> Devices:
    """The devices of a run; `shard` is what was asked for now: a run begun on several devices can go on on one."""
    if shard == "full" and hosts is None and request.devices in (None, 1):
        raise UserError("--shard full splits a run among several devices, received it for one; add --devices, or leave it out.")
    return arrange(request.backend, request.device, request.devices, request.shard, hosts, host_index)


def _describe(run: Run, prepared: Prepared) -> None:
    """Writes what a run's folder says from the beginning."""
    request, dataset = prepared.request, prepared.dataset
    run.write_json(
        "run.json", {"request": _plain_request(request), "command": request.command(), "recipe": plain(prepared.recipe)}
    )
    run.write_json("environment.json", environment())
    run.write_json("preprocessing.json", dataset.preprocessing.to_json())
    described = {name: _listed(getattr(dataset, name)) for name in DESCRIBED}
    run.write_json("dataset.json", described | {"fields": [asdict(field) for field in dataset.fields]})


def resume(
    folder: str | Path, *, callbacks: Sequence[Callback] = (), progress: bool = False, report: bool = True,
    hosts: str | None = None, host_index: int | None = None, **elsewhere: Any,
) -> Result:  # fmt: skip
    """Continues an interrupted run exactly: its final weights are those of a run that was never interrupted.

    `elsewhere` may name another backend, device, devices or shard than it began on; the weights then agree to rounding. Several
    hosts, as in `train`, all need the folder.
    """
    if unknown := set(elsewhere) - set(WHERE):
        raise UserError(f"resume() takes {', '.join(WHERE)}. Received {', '.join(sorted(unknown))}; start a new run for that.")
    run = Run.open(folder)
    if "average" in run.read_json("run.json"):
        raise UserError(f"{run.folder} is an average of runs, which has no steps to continue; continue one of the runs.")
    request = replace(request_of(run), **{k: settled_option(k, v) for k, v in elsewhere.items() if v is not None})
    devices = _arranged(request, hosts, host_index, elsewhere.get("shard"))
    with devices.hosts.together():
        return _continue(run, request, callbacks, progress and devices.hosts.first, report, devices, hosts)


def _continue(
    run: Run, request: Request, callbacks: Sequence[Callback], progress: bool, report: bool, devices: Devices, hosts: str | None
) -> Result:
    prepared = prepare(request)
    if prepared.dataset.preprocessing.to_json() != run.read_json("preprocessing.json"):
        raise UserError(
            f"A run continues on the data it began with, {request.data or prepared.recipe.data} has changed; start a new run."
        )
    _listen(prepared)
    if not run.last.exists():
        transfer.begin(prepared)
        return _fit(prepared, run, None, callbacks, progress, report, devices, hosts)
    checkpoint = checkpoints.load_checkpoint(run)
    if progress and (checkpoint.position.stopped or checkpoint.position.epoch >= prepared.recipe.epochs):
        print("This run was complete: nothing is left to train, its scores are measured again.", file=sys.stderr)
    return _fit(prepared, run, checkpoint, callbacks, progress, report, devices, hosts)


def _listen(prepared: Prepared) -> None:
    """Prepares what a student learns from its teacher, if it has one."""
    if prepared.request.teacher is not None:
        from nnatomy.runs.distillation import taught

        prepared.lesson = taught(prepared)


def request_of(run: Run) -> Request:
    """What was asked for when the run was made."""
    saved = run.alone().read_json("run.json")
    try:
        fields = saved["request"]
        return Request(**{**fields, "keep": tuple(fields["keep"]), "freeze": tuple(fields.get("freeze", ()))})
    except (KeyError, TypeError):
        raise UserError(f"{run.folder / 'run.json'} is damaged: it does not say what was asked for; train again.") from None


def restore(folder: str | Path, *, backend: str | None = None, device: str | None = None) -> tuple[Prepared, Run]:
    """The trained model of a run, with the weights of its best epoch; needs nothing but the folder.

    `backend`, `device`: where it lies, if not where the run was trained.
    Its data set has the preprocessing and the sizes of the one it was trained on, and no examples.
    """
    run = Run.open(folder)
    request = elsewhere(request_of(run), backend, device)
    backends.use(request.backend, request.device)
    dataset = described(run.folder / "dataset.json", run.read_json("dataset.json"), run.read_json("preprocessing.json"))
    architecture = find_architecture(request.architecture)
    recipe = recipe_of(architecture, dataset)
    recipe = override(recipe, request.settings, epochs=request.epochs, batch_size=request.batch_size, lr=request.lr)
    precision = PRECISIONS[request.precision]
    model = recipe.build(dataset, **recipe.options).astype(precision.master)
    prepared = Prepared(request, architecture, recipe, dataset, model, task_for(recipe, dataset, precision))
    load_best(prepared.model, run)
    return prepared, run


def described(path: Path, saved: Any, preprocessing: Any) -> Dataset:
    """The data set, without examples, that `path` describes: DESCRIBED and a preprocessing in plain values.

    Raises UserError where they are damaged.
    """
    try:
        nothing = data.ArraySplit((np.zeros(0),), tuple(Field(**field) for field in saved["fields"]))
        fields = {**saved, "classes": tuple(saved["classes"]), "input_shape": tuple(saved["input_shape"])}
        del fields["fields"]
        found = data.preprocessing_from_json(preprocessing)
        return Dataset(train=nothing, validation=nothing, test=nothing, preprocessing=found, notices=(), **fields)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged: it does not describe the data; train again.") from None


def recipe_of(architecture: Architecture, dataset: Dataset) -> Recipe:
    """The architecture's recipe for the kind and task of a data set. Raises UserError where it has none."""
    for recipe in architecture.recipes:
        if recipe.does(dataset) is not None:
            return recipe
    raise UserError(
        f"The architecture {architecture.name} has no recipe for {dataset.task} on data of the kind {dataset.kind}; train again."
    )


def elsewhere(request: Request, backend: str | None, device: str | None) -> Request:
    """The same request on another backend or device, in the precision of its weights: those of any run are read anywhere."""
    if backend is None and device is None:
        return request
    return replace(request, backend=backend or request.backend, device=device, precision=PRECISIONS[request.precision].master)


def load_best(model: Module, run: Run) -> None:
    """Gives a model the weights of the run's best epoch, or the last ones where no epoch has ended yet."""
    model.load_state_dict(run.weights())
    model.eval()


def evaluate(
    folder: str | Path, source: str | Path | None = None, split: str = "test", *,
    backend: str | None = None, device: str | None = None, progress: bool = False,
) -> Evaluation:  # fmt: skip
    """Metrics of a trained run on one split of its own data, or on another file that holds targets.

    `backend`, `device`: where they are measured, if not where the run was trained. With `progress`, what was noticed in that
    file is told.
    """
    run = Run.open(folder)
    if split not in ("train", "validation", "test"):
        raise UserError(f"--split must be train, validation or test, received {split!r}; give one of these.")
    if run.members:
        from nnatomy.runs.averaging import evaluate_members

        found, told = evaluate_members(run, source, split, backend, device)
        if progress:
            tell(told)
        return found
    if source is None:
        prepared = prepare(elsewhere(request_of(run), backend, device))
        load_best(prepared.model, run)
        return prepared.task.evaluate(prepared.model, getattr(prepared.dataset, split))
    prepared, _ = restore(folder, backend=backend, device=device)
    examples, notices = data.load_examples(settled(source), prepared.dataset.preprocessing)
    if progress:
        tell(notices)
    return prepared.task.evaluate(prepared.model, examples)


def predict(
    folder: str | Path, source: str | Path, *, backend: str | None = None, device: str | None = None, progress: bool = False
) -> dict[str, list[Any]]:
    """The answers of a trained run, or of the .onnx file it was exported to, for a file, as columns; the first names the rows.

    `backend`, `device`: where they are computed, if not where the run was trained. With `progress`, what was noticed in the
    file is told.
    """
    if Path(folder).suffix == ".onnx" and not Path(folder).is_dir():
        from nnatomy.exporting import predict_exported

        if given := backend or device:
            raise UserError(f"ONNX Runtime answers for an exported file, received {given}; leave out --backend and --device.")
        return predict_exported(folder, source, progress=progress)
    run = Run.open(folder)
    if run.members:
        from nnatomy.runs.averaging import predict_members

        answers, told = predict_members(run, source, backend, device)
        if progress:
            tell(told)
        return answers
    prepared, _ = restore(folder, backend=backend, device=device)
    inputs = data.load_inputs(settled(source), prepared.dataset.preprocessing)
    if progress:
        tell(inputs.notices)
    columns = prepared.task.predict(prepared.model, inputs.arrays)
    return {"row": list(inputs.rows)} | {name: values.tolist() for name, values in columns.items()}


def _fit(
    prepared: Prepared, run: Run, checkpoint: Checkpoint | None, extra: Sequence[Callback], progress: bool, report: bool,
    devices: Devices, hosts: str | None,
) -> Result:  # fmt: skip
    request, model, first = prepared.request, prepared.model, devices.hosts.first
    _check_the_same(devices.hosts, prepared, checkpoint)
    devices.hosts.lost = f"continue on all hosts with nnatomy train --resume {run.folder} --hosts {hosts}"
    freezing = transfer.Freezing(model, request.freeze) if request.freeze else None
    lesson, learn = prepared.lesson or (None, None)
    last = [
        *([freezing] if freezing is not None else []),
        *([Progress() if first else Callback()] if progress else []),
        GradientLog(run) if first else Callback(),
        checkpoints.Checkpoints(run),  # last, so that it saves what the others have decided
    ]
    prepared.task.feed = Feed(devices)
    fitted = fit(
        prepared.recipe, model, prepared.dataset, prepared.task, request.seed,
        setup=transfer.setup(prepared, freezing, devices), learn=learn, lesson=lesson, budget=request.budget,
        callbacks=[checkpoints.Log(run) if first else Callback(), *extra], last=last, checkpoint=checkpoint,
        watched=_stopping_on_ctrl_c,
    )  # fmt: skip
    at = fitted.position
    if fitted.outcome == "interrupted":
        return Result(prepared, run, at.epoch, at.seconds, {}, None, interrupted=True, hosts=devices.hosts)
    evaluation = prepared.task.evaluate(model, prepared.dataset.test)
    if devices.count > 1:
        model.load_state_dict(devices.to_host({name: t.data for name, t in fitted.learner.tensors.items()}))
    result = Result(
        prepared, run, at.epoch, at.seconds, evaluation.metrics, evaluation, at.stopped, hosts=devices.hosts
    )  # fmt: skip
    if first:
        run.write_json("result.json", result.to_json())
    if report and first:
        from nnatomy.runs.report import write_report

        write_report(result)
    return result


def _check_the_same(hosts: Hosts, prepared: Prepared, checkpoint: Checkpoint | None) -> None:
    """Raises UserError where this host was given another command, other data or another version than the first one."""
    splits = (prepared.dataset.train, prepared.dataset.validation, prepared.dataset.test)
    position = Position() if checkpoint is None else checkpoint.position
    mine: dict[str, Any] = {
        "command": prepared.request.command(), "examples": [len(split) for split in splits],
        "version": __version__, "checkpoint": [position.epoch, position.step],
    }  # fmt: skip
    theirs = hosts.broadcast(mine)
    for what, value in mine.items():
        if value != theirs[what]:
            raise UserError(
                f"All hosts of a run need the same {what}, {hosts.names[hosts.index]} has {value} and the first one has "
                f"{theirs[what]}; make them the same."
            )


@contextmanager
def _stopping_on_ctrl_c(loop: Loop) -> Iterator[None]:
    """The first Ctrl-C (or a polite kill) ends the run after its current step, in good order; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        if loop.interrupted:
            raise KeyboardInterrupt
        loop.interrupted = True

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def announce(prepared: Prepared) -> None:
    """Tells, before the work begins, what will be trained on what, and what was noticed in the data."""
    dataset = prepared.dataset
    sizes = ", ".join(
        f"{len(s):,} {name}"
        for name, s in (("training", dataset.train), ("validation", dataset.validation), ("test", dataset.test))
    )
    print(f"{prepared.architecture.front['title']} with {prepared.model.count_parameters():,} parameters on {dataset.name} "
          f"({dataset.task}): {sizes} examples.", file=sys.stderr)  # fmt: skip
    inputs = [f"{c.name} {c.type}" for c in dataset.columns if c.role == "input"]
    if inputs:
        shown = ", ".join(inputs[:24]) + (f" and {len(inputs) - 24} more" if len(inputs) > 24 else "")
        print(f"  inputs: {shown} (--types COLUMN=TYPE changes one)", file=sys.stderr)
    tell(dataset.notices)


def tell(notices: Sequence[str]) -> None:
    """Shows what was noticed in data."""
    for notice in notices:
        print(f"  note: {notice}", file=sys.stderr)


def settled(source: str | Path) -> str:
    """A path as an absolute one, so that a run can be continued from anywhere; a name as it is."""
    text = str(source)
    if not text.strip():
        raise UserError("Data are named by a data set's name or a path, received nothing; give one, for example digits.")
    if text in data.names():
        return text
    path = Path(text).expanduser()
    return str(path.resolve()) if path.exists() else text


WHOLE = (
    "window", "horizon", "limit", "epochs", "batch_size", "seed", "split_seed", "accumulate", "devices",
    "cv", "seeds", "jobs", "trials",
)  # fmt: skip
"""Options that are whole numbers."""


def settled_option(name: str, value: Any, caller: str = "train") -> Any:
    """An option of `Request` as the plain value that a run's folder holds; raises UserError for one of another type."""
    if value is None and name not in ("seed", "backend", "precision", "accumulate", "shard"):
        return {"keep": (), "freeze": (), "types": {}, "settings": {}, "space": {}, "rates": {}}.get(name)
    try:
        if name in WHOLE:
            return operator.index(value)
        if name in ("lr", "budget", "temperature", "soft"):
            return parse_seconds(value) if name == "budget" and isinstance(value, str) else float(value)
        if name in ("keep", "freeze"):
            return (value,) if isinstance(value, str) else tuple(map(str, value))
        if name == "from_":
            return str(Path(value).expanduser().resolve())
        if name == "rates":
            return {str(k): float(v) for k, v in value.items()}
        if name in ("types", "settings", "space"):
            return {str(k): _as_text(v) for k, v in value.items()}
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError):
        kinds = {
            "lr": "a number", "temperature": "a number", "soft": "a number", "budget": "seconds or a time such as 5m",
            "keep": "names of columns", "freeze": "patterns", "rates": "factors by pattern", "from_": "a path",
        }  # fmt: skip
        kind = kinds.get(name, "a dictionary" if name in ("types", "settings", "space") else "a whole number")
        raise UserError(f"{caller}() takes {kind} for {name}, received {value!r}; give it so.") from None
    return settled(value) if name == "labels" else value


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _plain_request(request: Request) -> dict[str, Any]:
    plain = {"keep": list, "freeze": list, "types": dict, "settings": dict, "rates": dict}
    return {name: plain.get(name, lambda v: v)(value) for name, value in vars(request).items()}
