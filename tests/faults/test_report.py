"""What a run shows of itself: its report for people, phones, the dark and screen readers, and its face in a notebook."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.layers.summary import summary
from nnatomy.runs import drawing, progress
from nnatomy.runs.gradients import read_gradients
from nnatomy.runs.result import Result
from nnatomy.showing import Face, label

pytestmark = pytest.mark.any_kernels


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 2))
    rows = [f"{a:.3f},{b:.3f},{a - 2 * b + rng.normal() / 9:.3f}" for a, b in x]
    (folder / "<t>.csv").write_text("left,right,sum_of\n" + "\n".join(rows) + "\n")
    return nn.train("mlp", folder / "<t>.csv", target="sum_of", epochs=3, out=folder / "run")


@pytest.fixture(scope="module")
def page(result: Result) -> str:
    return result.run.report.read_text(encoding="utf-8")


class Tags(HTMLParser):
    """The tags that are open at the end, and the attributes of those that were seen."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_its_sections_are_named(page: str) -> None:
    tags = Tags(page)
    assert tags.open == []
    named = [attrs["aria-labelledby"] for tag, attrs in tags.seen if tag == "section"]
    assert len(named) == len(set(named)) > 5
    assert set(named) <= {attrs.get("id") for _, attrs in tags.seen}


def test_the_first_sentence_says_whether_the_network_beats_the_best_baseline(page: str, result: Result) -> None:
    assert result.baselines is not None
    first = re.search(r'</h1>\s*<p class="headline">(.*?)</p>', page)
    assert first is not None
    assert html.unescape(first[1]) == result.baselines.headline
    assert result.baselines.best in first[1]


def test_cards_have_names_for_people_and_no_number_twice(page: str, result: Result) -> None:
    cards = re.findall(r'<div class="card"><b>(.*?)</b><span>(.*?)</span>', page)
    assert len(cards) >= 3
    assert not [name for _, name in cards if "_" in name or name in ("r2", "mae", "rmse")]
    assert "R²" in {name for _, name in cards}
    same = [name for name, value in result.metrics.items() if name != "loss" and value == result.metrics["loss"]]
    assert ("loss" in {name for _, name in cards}) == (not same)


@pytest.mark.parametrize(
    "name, text",
    [
        ("rmse_in_units", "RMSE in units"),
        ("balanced_accuracy", "balanced accuracy"),
        ("r2", "R²"),
        ("auc", "AUC"),
        ("f1", "F1"),
    ],
)
def test_a_metric_has_a_name_for_people(name: str, text: str) -> None:
    assert label(name) == text


def test_every_picture_says_what_it_shows(page: str, result: Result) -> None:
    pictures = [attrs for tag, attrs in Tags(page).seen if tag == "img"]
    assert len(pictures) >= 3
    for attrs in pictures:
        alt = attrs["alt"] or ""
        assert alt.startswith("Figure. ")
        assert len(alt) > 20
    recorded = len(read_gradients(result.run)) > 1  # where time allowed it
    assert any("Norm of the gradient" in (attrs["alt"] or "") for attrs in pictures) == recorded


def test_the_page_is_read_in_the_dark_and_on_a_phone(page: str) -> None:
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "color-scheme: light dark" in style
    assert "prefers-color-scheme: dark" in style
    assert "max-width: 700px" in style
    colors = re.sub(r":root \{.*?\}", "", style, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-f]{3,6}", colors) == ["#fff"]  # behind pictures; all else follows the scheme


def test_what_next_names_this_run_and_its_data(page: str, result: Result) -> None:
    rows = [html.unescape(words) for words in re.findall(r"<td><code>(.*?)</code></td>", page)]
    assert f"nnatomy predict {result.run.folder} NEW_DATA" in rows
    data = result.prepared.request.data
    compared = f"nnatomy compare --data {data} --target sum_of" in rows
    assert result.baselines is not None
    assert compared == (result.baselines.verdict != "ahead")


def test_the_recipe_names_nothing_twice(page: str) -> None:
    recipe = page.partition(">The recipe</h2>")[2].partition("</section>")[0]
    for name, value in re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", recipe):
        assert name != value


@pytest.mark.parametrize(
    "values, least",
    [([0.9, 0.901, 0.9005], 0.08), ([0.1, 0.9], 0.8), ([-1.0, -1.001], 0.09), ([5.0, 5.0], 0.4), ([0.0, 0.0], 0.0)],
)
def test_noise_does_not_fill_an_axis(values: list[float], least: float) -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    axes.plot(values)
    drawing.least_height(axes)
    low, high = axes.get_ylim()
    assert high - low >= least
    assert low <= min(values)
    assert high >= max(values)


def shown(result: Result) -> dict[str, Any]:
    return {
        "result": result, "dataset": result.dataset, "split": result.dataset.train, "evaluated": nn.evaluate(result.run.folder),
        "answer": result.prepared.task.answer(result.model, result.dataset.test.take(np.arange(3))[:1]),
        "summary": summary(result.model, np.zeros((1, *result.dataset.input_shape), "float32")),
        "verification": nn.verify("autoencoder", precision=("float64",), twins=("torch",), timing=False),
    }  # fmt: skip


def test_results_are_short_in_a_console_and_tables_in_a_notebook(result: Result) -> None:
    for name, value in shown(result).items():
        assert len(repr(value)) < 500, name
        assert "\n" not in repr(value), name
        assert "array(" not in repr(value), name
        if name != "split":
            tags = Tags(value._repr_html_())
            assert tags.open == [], name
            assert "table" in {tag for tag, _ in tags.seen}, name


def test_a_face_escapes_and_shortens() -> None:
    face = Face.of("<b>", [("a_b", 1 / 3), *((str(n), n) for n in range(30))], "x < y")
    text = face.html()
    assert "&lt;b&gt;" in text
    assert "x &lt; y" in text
    assert "<td>a b</td><td>0.3333</td>" in text
    assert "and 11 more rows" in text


@pytest.mark.parametrize(
    "shape, table", [((3,), True), ((2, 3), True), ((), False), ((2, 2, 2), False), ((30, 30), False), ((0,), False)]
)
def test_a_tensor_in_a_notebook(shape: tuple[int, ...], table: bool) -> None:
    tensor = nn.randn(*shape) if shape else nn.tensor(1.5)
    text = tensor._repr_html_()
    tags = Tags(text)
    assert tags.open == []
    assert ("table" in {tag for tag, _ in tags.seen}) == table
    assert str(shape) in text
    assert text.count("<td>") == (int(np.prod(shape)) if table else 0)
    assert "from multiply" in (nn.tensor([1.0], requires_grad=True) * 2)._repr_html_()


@pytest.mark.parametrize(
    "there, given, shows", [(True, None, True), (False, None, False), (True, False, False), (False, True, True)]
)
def test_a_notebook_shows_progress_by_itself(
    there: bool, given: bool | None, shows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from nnatomy.runs import train

    monkeypatch.setattr(train, "in_notebook", lambda: there)
    nn.train("perceptron", "iris", epochs=1, out=tmp_path / "run", report=False, baselines=False, progress=given)
    assert bool(capsys.readouterr().err) == shows
    assert not progress.in_notebook()
