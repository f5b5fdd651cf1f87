"""Each rule of a page names the fault of a page that breaks it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import page_rules
import pytest

FILLER = "Each of these words is counted as one of the words of this page about a model. " * 6
LENS = {
    "Intuition": "<!-- picture -->\nThe picture.\n",
    "Mathematical foundation": """### Symbols
| symbol | in the code | shape | meaning |
|---|---|---|---|
| $x$ | `x` | (N) | input |

### The rule
$$y = 2 x$$
<!-- code: Doubler.forward -->
<!-- test: test_ten_lenses_in_order -->

### By hand
Twice 3 is 6.

```python
from nnatomy.architectures.toys.doubler import double
x = 3  # 1. no list
print(f"# {double(x)}")
```

```output
# 6
```

```python
x = double(x)
```

### Size and cost
One multiplication.
""",
    "Training logic": "### Initialization\nThere is none.\n\n### Common bugs\n- Doubling twice.\n",
    "When to use / when not to use": """### Exercises
1. Double 2.
   <details><summary>Answer</summary>

   4.

   </details>
2. Double $w^\\star$.
   <details><summary>Answer</summary>

   $2 w^\\star$.

   </details>
""",
    "References": """- One, A. (1958). A paper.
- Two, B. (1960). A book,
  in two lines.
- Three, C. (1962). Another.
- Web: A page. <https://example.org/page>
- Video: A film. <https://example.org/film>
""",
}
PAGE = "\n".join(
    f"## {n} {title}\n{FILLER if title != 'References' else ''}\n\n{LENS.get(title, '')}"
    for n, title in enumerate(page_rules.LENSES, start=1)
)
Check = Callable[[str], list[str]]


class Doubler:
    def forward(self) -> None: ...


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("nnatomy.architectures.toys.doubler")
    module.double = lambda x: 2 * x  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nnatomy.architectures.toys", ModuleType("nnatomy.architectures.toys"))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def dangling(page: str) -> list[str]:
    model, recipe = ModuleType("model"), ModuleType("recipe")
    model.Doubler, recipe.table = Doubler, 1  # type: ignore[attr-defined]
    return page_rules.dangling(page, model, recipe, Path(__file__).parent)


def untrue(page: str) -> list[str]:
    return page_rules.untrue_examples(page, "nnatomy.architectures.toys.doubler")


CHECKS: dict[str, Check] = {
    "length": page_rules.wrong_length,
    "subsections": page_rules.missing_subsections,
    "form": page_rules.malformed,
    "anchors": dangling,
    "examples": untrue,
    "references": page_rules.weak_references,
}
FAULTS = [
    ("length", FILLER, "Short.", "words, not 800 to 1700|almost empty"),
    ("length", "Twice 3 is 6.", FILLER * 15, "words, not 800 to 1700"),
    ("subsections", "<!-- picture -->\n", "", "has no <!-- picture -->"),
    ("subsections", "### Symbols", "### Names", "not .'Symbols', 'By hand', 'Size and cost'."),
    ("subsections", "### Common bugs", "#### Common bugs", "not .'Initialization', 'Common bugs'."),
    ("subsections", "| shape |", "| size |", "columns symbol, shape and meaning"),
    ("subsections", "   </details>\n2.", "2.", "2 exercises have 2 answers"),
    ("subsections", "2. Double", "Double", "1 exercises have 2 answers"),
    ("form", "Double $w^\\star$", "Double $w\n^\\star$", "not closed on its line"),
    ("form", "$$y = 2 x$$", "$$y = 2 x", "display formula is not closed"),
    ("form", "w^\\star", "w^*", "instead of"),
    ("form", "$$y = 2 x$$", "$$y = 2^{x$$", "braces do not match"),
    ("form", "Twice 3 is 6.", "Twice 3 is\n1. more or less 6.", "starts like a list"),
    ("form", "Twice 3 is 6.", "TODO", "TODO is left"),
    ("anchors", "code: Doubler.forward", "code: Doubler.backward", "no code Doubler.backward"),
    ("anchors", "code: Doubler.forward", "code: recipe.image", "no code recipe.image"),
    ("anchors", "test: test_ten_lenses_in_order", "test: test_nothing_at_all", "no test test_nothing_at_all"),
    ("anchors", "<!-- test: test_ten_lenses_in_order -->\n", "", "no <!-- test: ... -->"),
    ("anchors", "<!-- code:", "<!-- see:", "none of picture, code, test, table"),
    ("anchors", "$$y = 2 x$$\n<!-- code", "- item <!-- code", "not on its own line"),
    ("anchors", "The picture.", "See [there](../nowhere/page.md).", "the link ../nowhere/page.md"),
    ("examples", "# 6", "# 7", "the code prints\n# 6"),
    ("examples", "x = double(x)\n", "print(double(x))\n", "the code prints\n6"),
    ("examples", "```output\n# 6\n```\n", "", "the code prints"),
    ("examples", "### Common bugs", "```output\n1\n```\n### Common bugs", "right before the output"),
    ("references", "(1960)", "1960", "needs its year|two papers"),
    ("references", "- Three, C. (1962). Another.\n", "", "2 papers"),
    ("references", "- Video: A film.", "- A film (2020).", "not two"),
]


@pytest.mark.parametrize("name", CHECKS)
def test_a_good_page_has_no_fault(name: str) -> None:
    assert CHECKS[name](PAGE) == []


@pytest.mark.parametrize("name, old, new, fault", FAULTS)
def test_a_fault_is_found_and_named(name: str, old: str, new: str, fault: str) -> None:
    page = PAGE.replace(old, new)
    assert page != PAGE
    assert re.search(fault, "\n".join(CHECKS[name](page)))


def test_an_example_must_call_the_architecture() -> None:
    page = PAGE.replace("from nnatomy.architectures.toys.doubler import double", "double = lambda x: 2 * x")
    assert "imports from nnatomy.architectures.toys.doubler" in untrue(page)[0]
