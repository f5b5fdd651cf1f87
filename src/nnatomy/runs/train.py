"""Training a run: from a model and some data to the weights, the scores and the folder that holds them; and continuing it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from nnatomy import __version__
from nnatomy.catalog import architecture as find_architecture
from nnatomy.command import began
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.interrupts import interrupt
from nnatomy.printing import print_text
from nnatomy.runs import baselines, checkpoints, transfer
from nnatomy.runs.drawing import check_matplotlib
from nnatomy.runs.folder import Run, environment, owned, starting
from nnatomy.runs.gradients import GradientLog
from nnatomy.runs.known import remember
from nnatomy.runs.loggers import Logger, divide
from nnatomy.runs.options import SOURCE, options_of, parse_option, parse_options, to_plain
from nnatomy.runs.own import Own, again, name_of
from nnatomy.runs.prepare import Prepared, prepare
from nnatomy.runs.progress import Progress, announce, in_notebook, log
from nnatomy.runs.request import Request, request_of
from nnatomy.runs.restore import own_names, plain_dataset, prepare_again
from nnatomy.runs.result import Result
from nnatomy.training.batches import Feed
from nnatomy.training.fit import Checkpoint, fit
from nnatomy.training.loop import Callback, Loop, Position
from nnatomy.training.parallel.devices import Devices, arrange
from nnatomy.training.parallel.hosts import Hosts
from nnatomy.training.settings import plain

REPORT = 5.0
"""Seconds of a time budget that are kept for writing the report."""
LEAST = 1e-3
"""Seconds for training where a time budget leaves none: one step, so that there is something to judge."""


def train(
    model: Any,
    data: Any = None,
    *,
    task: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    out: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    report: bool = True,
    hosts: str | None = None,
    host_index: int | None = None,
    **options: Any,
) -> Result:
    """Train a model on some data, and write its run's folder.

    >>> result = nn.train("mlp", "titanic.csv", target="survived", seed=1)  # doctest: +SKIP
    >>> result = nn.train(nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)), (X, y))  # doctest: +SKIP
    >>> result.metrics["accuracy"], result.run.folder  # doctest: +SKIP

    Args:
        model: an architecture's name, the path of a folder with model.py and recipe.py, a Module, which is trained in place, or
            a function that makes one: model() or model(dataset)
        data: a name, a path, arrays (X, y), a pandas or polars frame, an environment (a class with gymnasium's reset and step),
            or a Dataset; the architecture's own if None
        task: of a Module: a class of nn.tasks or its name; that of the data if None
        loss: of a Module: loss(model, *batch) -> (loss, outputs), or a criterion(outputs, targets) such as
            nn.functional.cross_entropy; the task's usual loss if None
        optimizer: of a Module: a class of nn.optim or a partial of one; AdamW if None
        out: the run's folder; runs/<time>-<model> if None
        callbacks: of nn.Callback, such as nn.CSVLogger(), nn.TensorBoardLogger(), nn.WandbLogger(), nn.MLflowLogger()
        progress: whether to show it on stderr; None: in a notebook only
        hosts, host_index: those of `hosts.join`: every host makes the same call, the first one writes the folder
        options: those of `Request`, such as epochs, batch_size, lr, seed, target, settings

    Raises UserError for bad input, before anything is written where possible.
    """
    started = began()
    for name, value in (("model", model), ("out", out)):
        if (name == "model" and value is None) or (name == "out" and not isinstance(value, str | PathLike | None)):
            wanted = "a name, a path or a Module" if name == "model" else "a path"
            raise UserError(f"train() takes {wanted} for {name}. Received {type(value).__name__}. Give a value of that type.")
    progress = in_notebook() if progress is None else progress
    if report:
        check_matplotlib()
    request, own = requested_by("train", model, data, task, loss, optimizer, options)
    others, loggers = divide(callbacks, request.log)
    devices = _choose_devices(request, hosts, host_index, request.shard)
    with devices.hosts.together():
        prepared = prepare(request, own)
        notices = transfer.begin(prepared)
        _prepare_teacher(prepared)
        if progress and devices.hosts.first:
            announce(prepared)
            log(notices)
        made = str(Run.create(prepared.architecture.name, out).folder) if devices.hosts.first else ""
        run = Run(Path(devices.hosts.broadcast(made)))
        with owned(run.folder) if devices.hosts.first else nullcontext():
            if devices.hosts.first:
                with starting(run.folder):
                    _describe(run, prepared)
            try:
                return _fit(prepared, run, None, others, loggers, progress, report, devices, hosts, started)
            except Exception:  # such as what a learner or the first steps refuse: the corrected command takes the same folder
                if devices.hosts.first and not run.last.exists():
                    shutil.rmtree(run.folder, ignore_errors=True)
                raise


def requested_by(
    caller: str, model: Any, data: Any, task: Any, loss: Any, optimizer: Any, options: dict[str, Any]
) -> tuple[Request, Own]:  # fmt: skip
    """Return the request that a call in Python makes, and the objects in it that are the user's own."""
    named, read = isinstance(model, str | PathLike), data is None or isinstance(data, str | PathLike)
    own = Own(None if named else model, None if read else data, task, loss, optimizer)
    request = Request(
        find_architecture(model if isinstance(model, str) else Path(model)).key if named else name_of(model),
        data=None if data is None or not read else parse_option(SOURCE, "data", data, caller),
        **parse_options(Request, options, caller),
    )
    return request, own


def resume(
    folder: str | Path, *, model: Any = None, data: Any = None, task: Any = None, loss: Any = None, optimizer: Any = None,
    callbacks: Sequence[Callback] = (), progress: bool | None = None, report: bool = True,
    hosts: str | None = None, host_index: int | None = None, **where: Any,
) -> Result:  # fmt: skip
    """Continue an interrupted run exactly: its final weights are those of a run that was never interrupted.

    `where` may name another backend, device, devices or shard than it started on; the weights then agree to rounding. Several
    hosts, as in `train`, all need the folder. What was your own (model, data, loss ...) is given again.
    """
    started = began()
    known = [name for name, declared in options_of(Request).items() if declared.where]
    if unknown := set(where) - set(known):
        raise UserError(f"resume() takes {', '.join(known)}. Received {', '.join(sorted(unknown))}. Start a new run for that.")
    run = Run.open(folder)
    if run.record().average is not None:
        raise UserError(f"An average of runs has no steps to continue. Received {run.folder}. Continue one of the runs.")
    given = {name: value for name, value in where.items() if value is not None}
    request = replace(request_of(run), **parse_options(Request, given, "resume"))
    own = again(own_names(run), _given(model, data, task, loss, optimizer), run.folder, trains=True)
    others, loggers = divide(callbacks, request.log)
    devices = _choose_devices(request, hosts, host_index, where.get("shard"))
    with devices.hosts.together(), owned(run.folder) if devices.hosts.first else nullcontext():
        prepared = prepare_again(run, request, own, "Restore them, or start a new run.")
        _prepare_teacher(prepared)
        shown = (in_notebook() if progress is None else progress) and devices.hosts.first
        if not run.last.exists():
            transfer.begin(prepared)
            return _fit(prepared, run, None, others, loggers, shown, report, devices, hosts, started)
        checkpoint = checkpoints.load_checkpoint(run)
        if shown and (checkpoint.position.stopped or checkpoint.position.epoch >= prepared.recipe.epochs):
            print_text("This run was complete: nothing is left to train, its scores are measured again.", file=sys.stderr)
        return _fit(prepared, run, checkpoint, others, loggers, shown, report, devices, hosts, started)


def _given(model: Any, data: Any, task: Any, loss: Any, optimizer: Any) -> Own:
    """Return objects that are given again; loss and optimizer alone are those of a run whose model is missing."""
    return Own(model, data, task, loss, optimizer) if model is not None else Own(None, data)


def _choose_devices(request: Request, hosts: str | None, host_index: int | None, shard: str | None) -> Devices:
    """Return the devices of a run; `shard` is what was requested now: a run of several devices may continue on one."""
    if shard == "full" and hosts is None and request.devices in (None, 1):
        raise UserError("--shard full splits a run among several devices. Received it for one. Add --devices, or leave it out.")
    return arrange(request.backend, request.device, request.devices, request.shard, hosts, host_index)


def _describe(run: Run, prepared: Prepared) -> None:
    """Write the first records of a run's folder."""
    request, own = prepared.request, prepared.own.plain()
    saved = {"request": to_plain(request), "command": _command(prepared), "recipe": plain(prepared.recipe)}
    run.write_json("environment.json", environment())
    remember(run.folder, prepared.dataset, given=isinstance(prepared.own.data, Dataset))
    run.write_json("preprocessing.json", prepared.dataset.preprocessing.to_json())
    run.write_json("dataset.json", plain_dataset(prepared.dataset))
    run.write_json("run.json", saved | ({"own": own} if own else {}))  # last: a folder with it can be continued


def _command(prepared: Prepared) -> str:
    """Return the command line that requests the same; of a user's own objects, the call in Python."""
    request, own = prepared.request, prepared.own.plain()
    if not own:
        return request.command()
    given = {name: value for name, value in vars(request).items() if value != getattr(Request(request.architecture), name)}
    source = own.get("data") or repr(given.pop("data", None))
    model = own.get("model") or repr(request.architecture)
    words = [model, source, *(f"{name}={own[name]}" for name in ("task", "loss") if name in own)]
    if "optimizer" in own:
        words.append(f"optimizer={own['optimizer']['name']}")
    return f"nn.train({', '.join(words + [f'{name}={value!r}' for name, value in given.items()])})"


def _prepare_teacher(prepared: Prepared) -> None:
    """Prepare a student's data and loss from its teacher, if it has one."""
    if prepared.request.teacher is not None:
        from nnatomy.runs.distillation import add_teacher_outputs

        prepared.distillation = add_teacher_outputs(prepared)


def _fit(
    prepared: Prepared, run: Run, checkpoint: Checkpoint | None, extra: Sequence[Callback], loggers: Sequence[Logger],
    progress: bool, report: bool, devices: Devices, hosts: str | None, started: float,
) -> Result:  # fmt: skip
    request, model, first = prepared.request, prepared.model, devices.hosts.first
    _check_hosts(devices.hosts, prepared, checkpoint)
    devices.hosts.lost = f"Continue on all hosts with nnatomy train --resume {run.folder} --hosts {hosts}"
    freezing = transfer.Freezing(model, request.freeze) if request.freeze else None
    distillation, learn = prepared.distillation or (None, None)
    for logger in loggers:
        logger.run = run
    last = [
        *([freezing] if freezing is not None else []),
        *([Progress() if first else Callback()] if progress else []),
        GradientLog(run) if first else Callback(),
        checkpoints.Checkpoints(run),  # after all that decide, so that it saves their decisions
        *(loggers if first else []),  # after it, so that a log that cannot be closed costs no checkpoint
    ]
    prepared.task.feed = Feed(devices)
    measured = _baselines(prepared, progress) if first and request.baselines else None
    budget = devices.hosts.broadcast(_left(request.budget, time.perf_counter() - started, report))
    fitted = fit(
        prepared.recipe, model, prepared.dataset, prepared.task, request.seed,
        setup=transfer.setup(prepared, freezing, devices), learn=learn, distillation=distillation, budget=budget,
        callbacks=[checkpoints.Log(run) if first else Callback(), *extra], last=last, checkpoint=checkpoint,
        watched=_stopping_on_ctrl_c,
    )  # fmt: skip
    position = fitted.position
    if fitted.outcome == "interrupted":
        return Result(prepared, run, position.epoch, position.seconds, {}, None, interrupted=True, hosts=devices.hosts)
    evaluation = fitted.test()
    if devices.count > 1:
        model.load_state_dict(devices.to_host({name: t.data for name, t in fitted.learner.tensors.items()}))
    result = Result(
        prepared, run, position.epoch, position.seconds, evaluation.metrics, evaluation, position.stopped,
        baselines=baselines.beside(prepared.task, evaluation, measured), hosts=devices.hosts,
    )  # fmt: skip
    if first:
        run.write_json("result.json", result.to_json())
    if report and first:
        from nnatomy.runs.report import write_report

        write_report(result)
    return result


def _left(budget: float | None, spent: float, report: bool) -> float | None:
    """Return the seconds of a command's budget that are left for training and the test; a part is kept for the report."""
    if budget is None:
        return None
    return max(budget - spent - report * min(REPORT, 0.25 * budget), LEAST)


def _baselines(prepared: Prepared, progress: bool) -> baselines.Baselines | None:
    """Return what the task's baselines reach on the test rows."""
    budget, task = prepared.request.budget, prepared.task
    measured = baselines.measure(task, prepared.dataset.test, None if budget is None else baselines.PART * budget)
    if measured is None:
        return None
    if progress and (reached := measured.reached(task)):
        log([f"Without a network: {reached}."])
    return measured


def _check_hosts(hosts: Hosts, prepared: Prepared, checkpoint: Checkpoint | None) -> None:
    """Raise UserError where this host was given another command, other data or another version than the first one."""
    splits = (prepared.dataset.train, prepared.dataset.validation, prepared.dataset.test)
    position = Position() if checkpoint is None else checkpoint.position
    mine: dict[str, Any] = {
        "command": _command(prepared), "examples": [len(split) for split in splits],
        "version": __version__, "checkpoint": [position.epoch, position.step],
    }  # fmt: skip
    theirs = hosts.broadcast(mine)
    for what, value in mine.items():
        if value != theirs[what]:
            raise UserError(
                f"All hosts of a run need the same {what}. Received {hosts.names[hosts.index]}, which has {value} and the "
                "first one has "
                f"{theirs[what]}. Make them the same."
            )


@contextmanager
def _stopping_on_ctrl_c(loop: Loop) -> Iterator[None]:
    """The first Ctrl-C (or a polite kill) ends the run after its current step, in good order; a second one immediately.

    A polite kill of a process that is not the command `nnatomy` is sent again when the run is saved: it was not for us alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        received.append(number)
        if loop.interrupted:
            raise KeyboardInterrupt
        loop.interrupted = True

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
        if signal.SIGTERM in received and before[signal.SIGTERM] is not interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
