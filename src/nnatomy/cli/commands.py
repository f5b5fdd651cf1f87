"""The commands: each reads its flags, calls the function of the same name and shows what came back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.average import average
from nnatomy.cli.compare import compare
from nnatomy.cli.distill import distill
from nnatomy.cli.export import export
from nnatomy.cli.serve import serve
from nnatomy.cli.shared import (
    Backend,
    Device,
    Json,
    parse_factors,
    parse_names,
    parse_pairs,
    print_json,
    print_metrics,
    print_table,
)
from nnatomy.cli.tune import tune
from nnatomy.errors import UserError


def list_(
    family: Annotated[str | None, typer.Option(help="Only the architectures of one family.")] = None, as_json: Json = False
) -> None:
    """List the architectures: one for each architecture, by year."""
    from nnatomy.catalog import architectures

    found = [architecture for architecture in architectures().values() if family in (None, architecture.family)]
    if family is not None and not found:
        from nnatomy.errors import unknown_name

        raise unknown_name("family", family, sorted({architecture.family for architecture in architectures().values()}))
    rows = [
        (architecture.name, str(architecture.front["year"]), architecture.family, architecture.front["idea"])
        for architecture in found
    ]
    if as_json:
        print_json({"architectures": [dict(zip(("name", "year", "family", "idea"), row, strict=True)) for row in rows]})
        return
    print_table(("architecture", "year", "family", "idea"), rows)


def info(
    name: Annotated[str, typer.Argument(help="An architecture, as nnatomy list shows it.")], as_json: Json = False
) -> None:
    """Show an architecture's page: what it is, why, how, when, sources."""
    from nnatomy.atlas.terminal import show_page
    from nnatomy.catalog import architecture

    found = architecture(name)
    if as_json:
        print_json({"name": found.name, "family": found.family, **found.front, "page": found.page})
        return
    show_page(found)


def train(
    name: Annotated[
        str | None, typer.Argument(metavar="ARCHITECTURE", help="An architecture, as nnatomy list shows it.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set's name, or a path: CSV, MNIST folder, image folder, text.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    keep: Annotated[list[str] | None, typer.Option(help="A column to keep although it gives the target away.")] = None,
    types: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=TYPE", help="What a column is: numeric, categorical ...")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="A JSON file with labelled anomalies.")] = None,
    window: Annotated[int | None, typer.Option(help="Tokens or rows that the model sees at once.")] = None,
    horizon: Annotated[int | None, typer.Option(help="Rows to forecast.")] = None,
    limit: Annotated[int | None, typer.Option(help="Use at most so many examples of each split.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times through the training data.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples in one step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Decides initial weights, splits and order.")] = 0,
    split_seed: Annotated[int | None, typer.Option(help="Decides the splits in place of --seed.")] = None,
    budget: Annotated[str | None, typer.Option(help="Fit the work into a time: 90s, 5m, 1h.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="What computes: numpy (if not given), or jax (compiled; accelerators).")
    ] = None,
    device: Device = None,
    precision: Annotated[
        str, typer.Option(help="float32, float64, or on accelerators tf32, bfloat16, float16 around float32 weights.")
    ] = "float32",
    accumulate: Annotated[int, typer.Option(help="Take each batch in so many parts, to save memory; one update.")] = 1,
    devices: Annotated[int | None, typer.Option(help="How many of each host's devices share every batch.")] = None,
    shard: Annotated[
        str | None, typer.Option(help="What they split: data (if not given), or full: parameters and optimizer state as well.")
    ] = None,
    hosts: Annotated[
        str | None, typer.Option(metavar="FILE|auto", help="Run on several: one host[:port] a line, or as the cluster says.")
    ] = None,
    host_index: Annotated[int | None, typer.Option(help="Which of them this machine is, from 0.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/<time>-<architecture> if not given.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder exactly.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A recipe's file, as nnatomy tune writes it.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, e.g. hidden=64,32.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="RUN|FILE", help="Begin from the weights of a run or a file.")
    ] = None,
    new_head: Annotated[bool, typer.Option("--new-head", help="With --from: begin anew what depends on the outputs.")] = False,
    freeze: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN[=EPOCHS]", help="Hold parameters fast: for good, or at first.")
    ] = None,
    rates: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN=FACTOR", help="Let parameters learn more slowly, e.g. c1=0.1.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never download.")] = False,
    as_json: Json = False,
) -> int:
    """Train an architecture on its own data or on yours.

    Writes a folder with the model, its scores and a report.
    """
    import nnatomy as nn
    from nnatomy.runs.progress import counted
    from nnatomy.studies.tuning.tune import read_recipe
    from nnatomy.training.settings import parse_seconds

    if resume is not None:
        given = [flag for flag, value in (
            ("ARCHITECTURE", name), ("--data", data),
            ("--target", target), ("--keep", keep), ("--types", types), ("--labels", labels),
            ("--window", window), ("--horizon", horizon), ("--limit", limit), ("--epochs", epochs), ("--lr", lr),
            ("--batch-size", batch_size), ("--seed", seed or None), ("--split-seed", split_seed), ("--budget", budget),
            ("--set", set_), ("--out", out),
            ("--precision", None if precision == "float32" else precision),
            ("--accumulate", None if accumulate == 1 else accumulate), ("--from", from_), ("--new-head", new_head or None),
            ("--freeze", freeze), ("--rates", rates), ("--recipe", recipe), ("--offline", offline or None),
        ) if value not in (None, [])]  # fmt: skip
        if given:
            raise UserError(
                f"--resume continues a run as it was begun, received {given[0]} too; leave it out, or start a new run."
            )
        result = nn.resume(
            resume, progress=True, backend=backend, device=device, devices=devices, shard=shard, hosts=hosts,
            host_index=host_index,
        )  # fmt: skip
    else:
        if name is None:
            raise UserError(
                "train needs the name of an architecture, received none; nnatomy list shows them, such as nnatomy train lenet5."
            )
        file = read_recipe(recipe, name) if recipe is not None else {}
        settings = file.get("settings", {}) | parse_pairs(set_, "--set")
        epochs = file.get("epochs") if epochs is None else epochs
        batch_size = file.get("batch_size") if batch_size is None else batch_size
        lr = file.get("lr") if lr is None else lr
        result = nn.train(
            name, data, out=out, progress=True, target=target, keep=tuple(keep or ()), types=parse_pairs(types, "--types"),
            labels=labels, window=window, horizon=horizon, limit=limit, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed,
            split_seed=split_seed,
            budget=None if budget is None else parse_seconds(budget), backend=backend or "numpy", device=device,
            precision=precision, accumulate=accumulate, devices=devices, shard=shard or "data", hosts=hosts,
            host_index=host_index, offline=offline, settings=settings,
            from_=from_, new_head=new_head, freeze=tuple(freeze or ()), rates=parse_factors(rates, "--rates"),
        )  # fmt: skip
    if not result.hosts.first:
        return 130 if result.interrupted else 0
    if result.interrupted:
        together = f" --hosts {hosts}" if hosts else ""
        print(f"Stopped and saved. Continue with: nnatomy train --resume {result.run.folder}{together}", file=sys.stderr)
        if as_json:
            print_json(result.to_json())
        return 130
    if as_json:
        print_json(result.to_json())
        return 0
    if result.stopped:
        print(f"Stopped after epoch {result.epochs}: {result.stopped}.")
    print_metrics(result.metrics, f"Test scores after {counted(result.epochs, 'epoch')} in {result.seconds:.1f} s")
    wanted = result.prepared.recipe.score if result.prepared.request.data is None else {}
    for metric, goal in wanted.items():
        print(f"The recipe's goal for {metric} is {goal:g}.")
    print(f"Report: {result.run.report}")
    return 0


def evaluate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    data: Annotated[str | None, typer.Option(help="Another file, with targets; the run's own test data if not given.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Which part of the run's own data: train, validation or test (if not given).")
    ] = None,
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure a trained run on held-out data."""
    import nnatomy as nn
    from nnatomy.runs.folder import finite

    if data is not None and split is not None:
        raise UserError(f"--split names a part of the run's own data, received it with --data {data}; leave one of them out.")
    split = "test" if split is None else split
    found = nn.evaluate(run, data, split, backend=backend, device=device, progress=True)
    if as_json:
        where = {"run": str(run), "data": data, "split": split if data is None else None}
        print_json({**where, "metrics": finite(found.metrics)})
        return
    print_metrics(found.metrics, f"Scores on {data or 'the run’s ' + split + ' data'}")


def predict(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="The folder of a run, or a .onnx file that nnatomy export wrote.")
    ],
    data: Annotated[str, typer.Option(help="A file of the kind the run was trained on; targets are not needed.")],
    out: Annotated[Path | None, typer.Option(help="Write the predictions to this CSV file.")] = None,
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Answer for new data with a trained run, or with the file it was exported to."""
    import nnatomy as nn
    from nnatomy.runs import answers

    if out is not None and out.exists():
        raise UserError(f"--out must name a new file, {out} exists; choose another name or remove it.")
    answer = nn.predict(run, data, backend=backend, device=device, progress=True)
    answers.check_out(answer, out)
    if as_json:
        print_json({"run": str(run), "predictions": answers.lines(answer)})
    if out is not None:
        print(f"Predictions written: {', '.join(map(str, answers.write_answer(answer, out)))}.", file=sys.stderr)
    elif not as_json:
        print(answers.as_csv(answer), end="")


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ARCHITECTURE]...", help="Architectures; all if none is named.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Fill the tables of the architectures' pages.")] = False,
    backend: Annotated[str, typer.Option(help="What computes our side: numpy or jax.")] = "numpy",
    device: Device = None,
    as_json: Json = False,
) -> int:
    """Hold architectures against their PyTorch and Keras twins.

    Compares outputs, gradients and the weights after three steps, in double and in single precision.
    """
    from nnatomy import backends
    from nnatomy.catalog import architecture, architectures
    from nnatomy.verification.compare import show, verify_architectures

    if write and backend != "numpy":
        raise UserError(f"The tables of pages hold the numpy backend's figures, received --write with --backend {backend}; "
                        "leave one of them out.")  # fmt: skip
    found = [architecture(name) for name in names] if names else list(architectures().values())
    with backends.backend(backend, device):
        results = verify_architectures(found, write=write, tell=not as_json)
    if as_json:
        print_json({"architectures": {r.architecture: r.to_json() for r in results}, "passed": all(r.passed for r in results)})
    else:
        show(results)
    return 0 if all(r.passed for r in results) else 1


def draw(
    subject: Annotated[str, typer.Argument(metavar="ARCHITECTURE|RUN", help="An architecture, or the folder of a run.")],
    what: Annotated[
        str | None,
        typer.Option(help="A view: architecture, activations, filters, saliency, gradients, confusion, errors or embedding."),
    ] = None,
    tsne: Annotated[bool, typer.Option("--tsne", help="Lay the embedding out by t-SNE, not by principal components.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The picture's file: .png or .svg; drawings/<architecture>.png if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw how an architecture works, from a trained model.

    A run's model, or one that is trained for the picture now. Without --what, the architecture's own picture.
    """
    import nnatomy as nn

    path, source = nn.draw(subject, out, what, tsne)
    if as_json:
        print_json({"picture": str(path), "run": source})
    else:
        print(f"Picture: {path}")


def bench(
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Workloads, such as lenet,gpt; all if not given.")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Of torch, compile, jax, keras; all if not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Of each library; one for each processor if not given.")] = None,
    what: Annotated[str, typer.Option(help="train, infer or all.")] = "all",
    quick: Annotated[bool, typer.Option("--quick", help="Short blocks, to see that it runs.")] = False,
    eager: Annotated[bool, typer.Option("--eager", help="Time our own steps without plans, too.")] = False,
    fused_adam: Annotated[bool, typer.Option("--fused-adam", help="Let PyTorch use its fused Adam.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR|FILE.md", help="Write a page, and its picture beside it.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all figures to this file.")] = None,
    as_json: Json = False,
) -> int:
    """Measure our speed beside PyTorch, JAX and Keras on this machine's CPU.

    Compares answers before it times anything.
    """
    from nnatomy.benchmark import measure, page, report, tables

    settings = measure.chosen(parse_names(only), parse_names(peers), threads, what, quick, eager, fused_adam)
    places = report.places(out, figures)
    found = measure.bench(settings, tell=lambda line: print(line, file=sys.stderr, flush=True))
    page.write(found, *places)
    if as_json:
        print_json(found)
        return 0 if report.agreed(found) else 1
    for title, (header, rows) in tables.sections(found):
        print(title)
        print_table(header, rows)
    for line in tables.closing(found):
        print(line)
    return 0 if report.agreed(found) else 1


def doctor(as_json: Json = False) -> int:
    """Check the installation, and that a small network learns."""
    from nnatomy.cli.doctor import examine

    checks = examine()
    if as_json:
        print_json({"checks": [check.to_json() for check in checks], "healthy": all(c.fine for c in checks if c.needed)})
    else:
        print_table(
            ("check", "state", "detail"),
            [(c.name, "ok" if c.fine else "MISSING" if c.needed else "not installed", c.detail) for c in checks],
        )
    return 0 if all(c.fine for c in checks if c.needed) else 1


COMMANDS = (list_, info, train, evaluate, predict, distill, average, compare, tune, export, serve, verify, draw, bench, doctor)
