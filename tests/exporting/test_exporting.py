"""Exported runs: for every kind of data the file gives the run's outputs, and the files next to it are correct and complete."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.table.export import TableInputs
from nnatomy.errors import UserError
from nnatomy.exporting import export, exporting
from nnatomy.runs.folder import Run, load_arrays
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import request_of
from nnatomy.runs.restore import restore

pytestmark = pytest.mark.any_kernels
pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

Array = np.ndarray[Any, Any]


def table(folder: Path, target: str = "class") -> Path:
    """A table with a column of every type: missing cells, rare categories, dates, a long tail, an awkward name."""
    rng = np.random.default_rng(0)
    lines = ["height,income,joined,married,color,probabilities," + target]
    for i in range(300):
        height = "" if i % 11 == 3 else f"{rng.normal(170, 10):.1f}"
        income = f"{np.exp(rng.normal(8, 1.5)):.2f}"
        joined = f"20{i % 20:02d}-0{1 + i % 9}-1{i % 10}"
        married = "" if i % 13 == 5 else ("yes", "no")[int(rng.integers(2))]
        color = "" if i % 7 == 2 else "mauve" if i == 50 else ("red", "green", "blue")[int(rng.integers(3))]
        goal = f"{rng.normal():.3f}" if target == "value" else ("low", "mid", "high")[int(rng.integers(3))]
        lines.append(f"{height},{income},{joined},{married},{color},{rng.normal():.3f},{goal}")
    path = folder / f"{target}.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def fresh_table(folder: Path) -> Path:
    """New rows with what training never saw."""
    path = folder / "fresh.csv"
    path.write_text(
        "height,income,joined,married,color,probabilities\n180,900,2021-05-01,yes,red,0.1\n,0,2030-01-01,,,\n"
        "tall,1e9,1970-01-01,no,purple,-3\n160.5,15,2010-10-10,yes,mauve,2\n"
    )
    return path


def series(folder: Path) -> Path:
    t = np.arange(600)
    times = np.datetime64("2024-01-01T00:00:00") + t * 3600
    rows = [f"{str(s).replace('T', ' ')},{1000 + 20 * np.sin(k / 5):.3f},{np.cos(k / 7):.4f}" for k, s in zip(t, times)]
    path = folder / "series.csv"
    path.write_text("time,load,wind\n" + "\n".join(rows) + "\n")
    return path


def sentences(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    words = np.array(["good", "bad", "fine", "poor", "plot", "film", "it", "was", "not", "very"])
    path = folder / "sentences.tsv"
    path.write_text("".join(f"{' '.join(rng.choice(words, 3 + i % 9))}\t{'yn'[i % 2]}\n" for i in range(200)))
    return path


def arrays(folder: Path) -> Path:
    """Numbers of very different sizes, one of them always the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)) * [1, 1e-3, 1e3, 0] + [0, 0, 1e6, 5]
    np.savez(folder / "arrays.npz", X=x, y=rng.normal(100, 9, (120, 2)))
    return folder / "arrays.npz"


def text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    return path


def pictures(folder: Path) -> Path:
    from nnatomy.data.kinds.image.idx import write_idx

    folder = folder / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, n in (("train", 90), ("t10k", 30)):
        write_idx(folder / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28)).astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(n) % 3).astype(np.uint8))
    return folder


RUNS: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {  # architecture, training data, new data (None: the same), options
    "classes of a table": ("mlp", table, fresh_table, {"target": "class", "settings": {"hidden": "8"}}),
    "two classes by one unit": ("perceptron", "breast_cancer", None, {}),
    "numbers of a table": ("mlp", lambda f: table(f, "value"), fresh_table, {"target": "value", "settings": {"hidden": "8"}}),
    "errors of a table": ("autoencoder", table, table, {}),
    "classes of images": ("lenet5", pictures, lambda f: f / "pictures" / "t10k-images-idx3-ubyte", {}),
    "the paper's LeNet-5": ("lenet5", pictures, lambda f: f / "pictures" / "t10k-images-idx3-ubyte",
                            {"settings": {"form": "paper"}}),
    "errors of images": ("autoencoder", "digits", None, {"limit": 200}),
    "a forecast": ("lstm", series, series, {"window": 12, "horizon": 4, "settings": {"hidden": "6", "alone": "false"}}),
    "sequences": ("lstm", "narma10", None, {"limit": 100, "window": 15, "settings": {"hidden": "6"}}),
    "classes of sentences": ("lstm", sentences, sentences, {"settings": {"hidden": "4", "embedding": "4"}}),
    "numbers of arrays": ("mlp", arrays, arrays, {"settings": {"hidden": "8"}}),
    "text": ("lstm", text, text, {"window": 16, "limit": 40, "settings": {"hidden": "8", "embedding": "4"}}),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """trained(name): the folder of a small run, trained once; and its place, where new data may be."""
    made: dict[str, tuple[Path, Path]] = {}

    def make(name: str) -> tuple[Path, Path]:
        if name not in made:
            architecture, source, _, options = RUNS[name]
            place = tmp_path_factory.mktemp("shipping")
            given = source if isinstance(source, str) else source(place)
            nn.train(architecture, given, out=place / "run", report=False, epochs=1, **options)
            made[name] = place / "run", place
        return made[name]

    return make


@pytest.mark.parametrize("name", RUNS)
def test_exported_runs_agree(name: str, trained: Any, tmp_path: Path) -> None:
    run, place = trained(name)
    found = export(run, out=tmp_path / "given.onnx")
    assert [path.name for path in found.files] == ["given.onnx", "given.json", "MODEL.md"]
    assert found.difference < 1e-5
    assert found.checked_on == "test data"
    newer = RUNS[name][2]
    if newer is None:
        return
    source = newer(place)
    mine, theirs = (nn.predict(which, source).columns for which in (run, found.model))
    assert list(mine) == list(theirs)
    assert len(mine["row"]) == len(theirs["row"]) > 0
    for column, values in mine.items():
        if isinstance(values[0], float):
            np.testing.assert_allclose(theirs[column], values, rtol=1e-4, atol=1e-4, err_msg=column)
        else:
            assert theirs[column].tolist() == values.tolist()


def test_mutated_files_are_refused_in_one_sentence_or_answer(trained: Any, tmp_path: Path, capfd: Any) -> None:
    run, place = trained("classes of a table")
    source, rng = fresh_table(place), np.random.default_rng(0)
    model = export(run, out=tmp_path / "model.onnx").model
    right = {path: path.read_bytes() for path in (model, model.with_suffix(".json"))}
    capfd.readouterr()
    refused: list[str] = []
    for number in range(80):
        for path, content in right.items():
            path.write_bytes(content)
        path = list(right)[number % 2]
        broken = bytearray(right[path])
        for place_in_file in rng.integers(0, len(broken), 1 + number % 9):
            broken[place_in_file] = rng.integers(256)
        path.write_bytes(bytes(broken[: len(broken) - number % 3]))
        try:
            nn.predict(model, source)
        except UserError as problem:
            refused.append(str(problem))
    assert len(refused) > 40
    assert not [said for said in refused if "\n" in said or len(said) > 500]
    shown = capfd.readouterr()
    assert not shown.out + shown.err


@pytest.mark.parametrize("name", RUNS)
def test_card_says_how_to_use_the_model_and_that_works(name: str, trained: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run, _ = trained(name)
    found = export(run, out=tmp_path / "model.onnx")
    card = (tmp_path / "MODEL.md").read_text()
    result, saved = (json.loads((run / f"{part}.json").read_text()) for part in ("result", "run"))
    for metric, value in result["metrics"].items():
        assert f"| {metric} | {value:.4g} |" in card
    assert saved["command"] in card
    assert f"{found.difference:.1e}" in card
    assert "spread over seeds and splits is not on record" in card
    for title in ("Data", "Training", "Scores", "Limits", "Use", "Where it was trained"):
        assert f"\n## {title}\n" in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(code[1], space)
    description = json.loads((tmp_path / "model.json").read_text())
    first = space[description["outputs"][0]["name"]]
    assert list(first.shape) == [1, *description["outputs"][0]["shape"][1:]]
    assert np.isfinite(first).all()


def test_description_and_graph_name_the_same_ends(trained: Any, tmp_path: Path) -> None:
    run, _ = trained("classes of a table")
    export(run, out=tmp_path / "model.onnx")
    description = json.loads((tmp_path / "model.json").read_text())
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for ends, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        assert [(end["name"], end["shape"]) for end in description[ends]] == [(f.name, f.shape) for f in found]
    kinds = {end["name"]: end["type"] for end in description["inputs"]}
    assert kinds == {
        "height": "float64", "income": "float64", "joined": "float64", "married": "float64", "color": "string",
        "probabilities": "float64",
    }  # fmt: skip
    assert [end["name"] for end in description["outputs"]] == ["probabilities_", "scores"], "a column has the name already"
    assert description["dataset"]["classes"] == ["high", "low", "mid"]
    assert session.get_modelmeta().custom_metadata_map["classes"] == '["high", "low", "mid"]'


def test_safetensors_hold_the_weights_and_the_description(trained: Any) -> None:
    from safetensors.numpy import load_file

    run, _ = trained("classes of images")
    found = export(run, "safetensors")
    assert list(found.files) == [run / "safetensors" / name for name in ("model.safetensors", "MODEL.md")]
    prepared, _ = restore(run)
    state = prepared.model.state_dict()
    weights = load_file(found.model)
    assert weights.keys() == state.keys()
    assert all(np.array_equal(weights[name], state[name]) for name in state)
    arrays, metadata = load_arrays(found.model)
    assert metadata["architecture"] == "lenet5"
    assert metadata["preprocessing"] == prepared.dataset.preprocessing.to_json()
    fresh = type(prepared.model)(3)
    fresh.load_state_dict(arrays)
    nn.interchange.load(fresh, found.model)
    code = re.search(r"```python\n(.*?)```", found.files[1].read_text(), re.DOTALL)
    assert code is not None
    assert "load_file" in code[1]


def test_nothing_is_overwritten_and_nothing_half_written(trained: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run, _ = trained("sequences")
    for name in ("model.onnx", "model.json", "MODEL.md"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UserError, match=re.escape(f"{name}, which exists")):
            export(run, out=folder / "model.onnx")
        assert [p.name for p in folder.iterdir()] == [name]
        assert (folder / name).read_text() == "mine"

    def disagrees(*args: Any, **kwargs: Any) -> float:
        raise UserError("An exported model must answer as the original does, it does not.")

    monkeypatch.setattr(exporting, "check", disagrees)
    with pytest.raises(UserError, match="must answer as the original"):
        export(run, out=tmp_path / "new" / "model.onnx")
    assert not (tmp_path / "new").exists()


def test_preprocessing_that_differs_is_found_out(trained: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The graph treats a raw table as data/ does, on cells that are missing or unseen too."""
    run, _ = trained("classes of a table")
    right = TableInputs.encode

    def wrong(self: TableInputs, *raw: Any) -> Any:
        forgot = [nn.where(nn.isnan(c), 0.0, c) if c.dtype.kind == "f" else c for c in raw]
        return right(self, *forgot)

    monkeypatch.setattr(TableInputs, "encode", wrong)
    with pytest.raises(UserError, match="differs from this library by"):
        export(run, out=tmp_path / "model.onnx")


@pytest.mark.parametrize("name", RUNS)
def test_decoded_examples_are_encoded_as_they_were(name: str, trained: Any) -> None:
    run, _ = trained(name)
    prepared = prepare(request_of(Run.open(run)))
    preprocessing = prepared.dataset.preprocessing
    inputs = prepared.dataset.test.take(np.arange(min(20, len(prepared.dataset.test))))[:-1]
    exported = kind_of(prepared.dataset).exported(prepared.dataset)
    raw = exported.decode(*inputs)
    for got, wanted in zip(preprocessing.prepare(*raw), inputs, strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.01 if prepared.dataset.kind == "image" else 1e-4)
    hard = exported.awkward(raw)
    assert [a.shape for a in hard] == [a.shape for a in raw]


def test_made_up_examples_stand_in_for_data_that_are_away(trained: Any, tmp_path: Path) -> None:
    for name in ("classes of a table", "classes of sentences", "text", "a forecast", "classes of images"):
        run, place = trained(name)
        away = tmp_path / name
        shutil.copytree(run, away)
        saved = json.loads((away / "run.json").read_text())
        saved["request"]["data"] = str(place / "gone")
        (away / "run.json").write_text(json.dumps(saved))
        assert export(away).checked_on == "made-up examples"


def test_a_run_on_another_backend_or_in_double_precision(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    for options in ({"backend": "jax"}, {"precision": "float64"}):
        run = tmp_path / str(options)
        nn.train("mlp", "wine", out=run, report=False, epochs=1, **options)
        nn.use("numpy")
        assert export(run).difference < 1e-5


def test_models_without_their_description_or_with_a_wrong_one_are_refused(trained: Any, tmp_path: Path) -> None:
    run, place = trained("classes of a table")
    source = fresh_table(place)
    other = export(trained("numbers of a table")[0], out=tmp_path / "other" / "model.onnx").model
    model = export(run, out=tmp_path / "model.onnx").model
    beside = tmp_path / "model.json"
    right = beside.read_text()
    for wrong, said in (
        ("{", "must be JSON"), ("[]", "must be an object"), ("{}", "format must be there"),
        (right.replace("export 1", "export 9"), "must have the format"),
        (right.replace('"kind": "table"', '"kind": "chair"'), "kind must be one of"),
        (right.replace('"architecture": "mlp"', '"architecture": "mpl"'), "Did you mean 'mlp'"),
        (other.with_suffix(".json").read_text(), "belong together"),
    ):  # fmt: skip
        beside.write_text(wrong)
        with pytest.raises(UserError, match=said) as caught:
            nn.predict(model, source)
        assert "\n" not in str(caught.value)
    beside.write_text(right)
    content = model.read_bytes()
    for broken in (b"", content[: len(content) // 2], b"\x00" * 99):
        model.write_bytes(broken)
        with pytest.raises(UserError, match=r"damaged or another|belong together"):
            nn.predict(model, source)
    beside.unlink()
    with pytest.raises(UserError, match=r"model\.json, which is absent"):
        nn.predict(model, source)
    with pytest.raises(UserError, match="The file must exist"):
        nn.predict(tmp_path / "no.onnx", source)


@pytest.mark.slow
def test_card_tells_the_spread_that_a_comparison_measured(tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "comparison"
    nn.train("perceptron", "wine", out=run, report=False, epochs=1)
    asked = {"cv": 2, "seeds": 2, "epochs": 1, "curve": False}
    found = nn.compare("perceptron", data="wine", out=folder, report=False, jobs=1, **asked)
    export(run, out=tmp_path / "a" / "model.onnx", comparison=folder)
    card = (tmp_path / "a" / "MODEL.md").read_text()
    architecture = next(c for c in found.candidates if c.is_architecture)
    assert f"accuracy {architecture.mean:.4g} ± {architecture.std:.2g}" in card
    assert "each of 2 folds of the same data (seeds: 2)" in card
    assert found.best_baseline is not None
    assert f"{found.best_baseline.name}, reached {found.best_baseline.mean:.4g}" in card
    assert "not on record" not in card
    other = tmp_path / "other"
    nn.train("perceptron", "iris", out=other, report=False, epochs=1)
    with pytest.raises(UserError, match=r"own data, iris\. .* a comparison on wine"):
        export(other, comparison=folder)
    with pytest.raises(UserError, match="names the folder of a finished comparison"):
        export(run, comparison=run)
    saved = json.loads((folder / "result.json").read_text())
    saved["candidates"] = [c for c in saved["candidates"] if c["name"] != "perceptron"]
    (folder / "result.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="architecture of the run, perceptron"):
        export(run, comparison=folder)
    assert not (run / "onnx").exists()
    assert not (other / "onnx").exists()


def test_what_the_run_cannot_be_exported_for_is_said(trained: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run, _ = trained("text")
    with pytest.raises(UserError, match="Did you mean 'onnx'"):
        export(run, "onxx")
    with pytest.raises(UserError, match=r"ends in \.onnx"):
        export(run, out=tmp_path / "model.pt")
    monkeypatch.setattr(exporting, "forward", lambda model, arrays: nn.Tensor(arrays[0] + arrays[0].sum(axis=1, keepdims=True)))
    prepared, _ = restore(run)
    with pytest.raises(UserError, match="read them from left to right"):
        exporting._reads_forwards(prepared, (np.ones((2, 16), np.int64),))


def test_raw_inputs_are_what_predict_reads(trained: Any) -> None:
    """load_inputs(raw=True), prepared, is load_inputs()."""
    for name in ("classes of a table", "classes of images", "a forecast", "classes of sentences", "text"):
        run, place = trained(name)
        prepared, _ = restore(run)
        source = RUNS[name][2](place)
        raw, ready = (data.load_inputs(source, prepared.dataset.preprocessing, raw=raw) for raw in (True, False))
        assert raw.rows == ready.rows
        for got, wanted in zip(prepared.dataset.preprocessing.prepare(*raw.arrays), ready.arrays, strict=True):
            np.testing.assert_array_equal(got, wanted)
