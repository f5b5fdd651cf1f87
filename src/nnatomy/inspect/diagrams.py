"""A traced model as a picture: nested boxes, shapes, parameters, multiply-adds, and the paths of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnatomy.inspect.flow import Part
from nnatomy.inspect.folding import fold, shallowed
from nnatomy.inspect.layout import HEAD, PAD, Block, Columns, Leaf, in_columns, inside
from nnatomy.inspect.measure import text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, SMALL = 8.5, 7.2  # points
INK, QUIET, PATH, SKIP = "#1f2937", "#5b6472", "#374151", "#c2410c"
COLORS = {
    "convolution": "#cfe2f5", "linear": "#fde2c4", "attention": "#e7d6f0", "recurrent": "#f7d3de", "embedding": "#fbf1bd",
    "normalization": "#e2e5ea", "activation": "#d2efe1", "pooling": "#c6e8ea", "dropout": "#f4f5f7",
}  # fmt: skip
"""By the file of nnatomy.layers; every box says as text what it is, too."""
FUNCTIONS = {
    "activation": "relu tanh sigmoid gelu silu elu selu leaky_relu softmax log_softmax softplus softsign mish hardtanh",
    "attention": "scaled_dot_product_attention attention_weights", "linear": "linear matmul einsum bilinear",
    "convolution": "conv conv_transpose", "pooling": "max_pool avg_pool", "normalization": "layer_norm rms_norm batch_norm",
    "embedding": "embedding", "recurrent": "lstm_scan gru_scan rnn_scan", "dropout": "dropout",
}  # fmt: skip
_FAMILY = {name: family for family, names in FUNCTIONS.items() for name in names.split()}
SYMBOLS = {"add": "+", "subtract": "−", "multiply": "×", "divide": "÷"}
TALL = 1100.0  # points from which a stack is cut into columns
ROWS = 130  # boxes that one picture may have before deep modules are closed


def diagram(part: Part, *, title: str = "", batch: int = 1) -> Figure:
    """Draw a traced model (`trace`): boxes nested as modules are, from top to bottom, and lines for the data between them.

    Repeated parts are folded ("× 12"); deep modules are drawn closed where the picture would have more than 130 boxes.
    `batch`: how many examples the trace was of; shapes and multiply-adds are shown for one.
    """
    whole = fold(part)
    depth = max((p.path.count(".") + 2 for p in whole.walk()), default=1)
    shown = shallowed(whole, lambda view: sum(1 for _ in view.walk()) <= ROWS, range(depth, 0, -1))
    canvas = _Canvas(batch)
    body = in_columns(inside(shown, canvas, 0), TALL)
    return canvas.figure(shown, body, title or part.kind, closed=sum(1 for _ in shown.walk()) < sum(1 for _ in whole.walk()))


class _Canvas:
    """Matplotlib's axes in points, and what has been drawn on them."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.shapes: list[Any] = []
        self.used: dict[str, None] = {}
        self.skips = self.several = self.loops = False

    # What a box says

    def texts(self, part: Part, parent: Part) -> tuple[str, str, str]:
        """Its name, what it is, and its figures."""
        if part.is_operation:
            names = " → ".join(SYMBOLS.get(k, k.replace("_", " ")) for k in part.kind.split(" → "))
            used = part.detail.split(", ")
            return "", names, ", ".join(used[:2]) + (" …" if len(used) > 2 else "")
        name = _below(part.path, parent.path)
        if part.until:
            name += " … " + _below(part.until, parent.path)
        kind = part.kind + (f"  {part.detail}" if part.detail and not part.parts else "")
        return name, kind, self.figures(part)

    def figures(self, part: Part) -> str:
        """Shape, parameters and multiply-adds of one example."""
        said = [self.shape(part.shape)]
        if part.parameters:
            said.append(f"{short(part.parameters)} parameters")
        if part.multiply_adds >= self.batch:
            said.append(f"{short(part.multiply_adds // self.batch)} multiply-adds")
        if part.turns > 1:
            said.append(f"one of {part.turns} steps")
        return "  ·  ".join(filter(None, said)) + (" each" if part.repeat > 1 else "")

    def shape(self, shape: tuple[int, ...]) -> str:
        one = shape[1:] if shape and shape[0] == self.batch else shape
        return " × ".join(map(str, one)) or "1 number"

    def size(self, part: Part, parent: Part) -> tuple[float, float]:
        name, kind, figures = self.texts(part, parent)
        if part.is_operation:
            words = text_width(kind, TEXT) + (6 + text_width(figures, SMALL) if figures else 0)
            return max(words + 14, 18), 17.0
        first = text_width(name, TEXT, True) + text_width(kind, TEXT) + (6 if name else 0)
        times = text_width(f"× {part.repeat}", TEXT + 1, True) + 12 if part.repeat > 1 else 0
        if part.parts:
            return first + 22 + text_width(figures, SMALL) + times, HEAD
        return max(first, text_width(figures, SMALL)) + 20 + times, 30.0

    # Drawing

    def leaf(self, part: Part, parent: Part, x: float, y: float, width: float, height: float) -> None:
        from matplotlib.patches import FancyBboxPatch

        name, kind, figures = self.texts(part, parent)
        family = self.family(part)
        color = COLORS.get(family, "white")
        if family in COLORS:
            self.used[family] = None
        rounding = height / 2 if part.is_operation else 3
        box = FancyBboxPatch(
            (x, y), width, height, boxstyle=f"round,pad=0,rounding_size={rounding}", fc=color, ec=PATH, lw=0.8
        )
        if part.repeat > 1:
            for k in (2, 1):
                behind = f"round,pad=0,rounding_size={rounding}"
                self.shapes.append(
                    FancyBboxPatch((x + 2.5 * k, y + 2.5 * k), width, height, boxstyle=behind, fc="white", ec=PATH, lw=0.6)
                )
        self.shapes.append(box)
        if part.is_operation:
            inner = text_width(kind, TEXT) + (6 + text_width(figures, SMALL) if figures else 0)
            left = x + (width - inner) / 2
            self.text(left, y + height / 2, kind, TEXT)
            if figures:
                self.text(left + 6 + text_width(kind, TEXT), y + height / 2, figures, SMALL, color=QUIET)
            return
        self.text(x + 9, y + 10, name, TEXT, bold=True)
        self.text(x + 9 + (text_width(name, TEXT, True) + 6 if name else 0), y + 10, kind, TEXT)
        self.text(x + 9, y + 21.5, figures, SMALL, color=QUIET)
        self._times(part, x + width, y + height / 2)

    def frame(self, part: Part, parent: Part, x: float, y: float, width: float, height: float, depth: int) -> None:
        from matplotlib.patches import FancyBboxPatch

        style, dashed = "round,pad=0,rounding_size=5", part.family == "group"
        if part.repeat > 1:
            for k in (2, 1):
                shifted = (x + 2.5 * k, y + 2.5 * k)
                self.shapes.append(FancyBboxPatch(shifted, width, height, boxstyle=style, fc="white", ec=QUIET, lw=0.6))
        shade = ("#f8fafc", "#ffffff")[depth % 2]
        self.shapes.append(
            FancyBboxPatch((x, y), width, height, boxstyle=style, fc=shade, ec=QUIET, lw=1.1, ls="--" if dashed else "-")
        )
        name, kind, figures = self.texts(part, parent)
        self.text(x + PAD, y + HEAD / 2 + 1, name, TEXT, bold=True)
        at = x + PAD + (text_width(name, TEXT, True) + 6 if name else 0)
        self.text(at, y + HEAD / 2 + 1, kind, TEXT)
        self.text(at + text_width(kind, TEXT) + 10, y + HEAD / 2 + 1, figures, SMALL, color=QUIET)
        self._times(part, x + width, y + HEAD / 2 + 1)
        self.loops |= part.turns > 1

    def _times(self, part: Part, right: float, middle: float) -> None:
        if part.repeat > 1:
            self.text(right - 7, middle, f"× {part.repeat}", TEXT + 1, bold=True, color=SKIP, align="right")

    def family(self, part: Part) -> str:
        if not part.is_operation:
            return part.family
        return next((_FAMILY[name] for name in part.kind.split(" → ") if name in _FAMILY), "")

    def text(
        self, x: float, y: float, words: str, size: float, *, bold: bool = False, color: str = INK, align: str = "left"
    ) -> None:
        if words:
            self.shapes.append(
                (x, y, words, {"fontsize": size, "fontweight": "bold" if bold else "normal", "color": color, "ha": align})
            )

    def line(self, points: list[tuple[float, float]], *, arrow: bool = True, skip: bool = False, count: int = 1) -> None:
        from matplotlib.patches import FancyArrowPatch
        from matplotlib.path import Path

        tidy = [p for k, p in enumerate(points) if k == 0 or p != points[k - 1]]
        if len(tidy) < 2:
            return
        self.skips |= skip and points[0][1] < points[-1][1]
        color, width = (SKIP, 1.8) if skip else (PATH, 1.0)
        lines = count if 1 < count <= 4 and len(tidy) == 2 else 1
        self.several |= lines > 1
        for k in range(lines):
            shift = 5.0 * (k - (lines - 1) / 2)
            path = Path([(px + shift, py) for px, py in tidy])
            style = "-|>,head_length=4,head_width=2.2" if arrow else "-"
            self.shapes.append(
                FancyArrowPatch(
                    path=path,
                    arrowstyle=style,
                    color=color,
                    lw=width,
                    shrinkA=0,
                    shrinkB=0,
                    joinstyle="round",
                    mutation_scale=1,
                )
            )

    # The whole

    def figure(self, whole: Part, body: Block, title: str, closed: bool) -> Figure:
        """The picture: title, how to read it, input, the model in its frame, output."""
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch

        given = ", ".join(self.shape(s) for s in whole.inputs)
        ends = [
            Part("", f"input  {given}", "operation", (), 0, 0),
            Part("", f"output  {self.shape(whole.shape)}", "operation", (), 0, 0),
        ]
        sizes = [self.size(end, whole) for end in ends]
        figures = (
            f"{whole.parameters:,} parameters  ·  {short(whole.multiply_adds // self.batch)} multiply-adds for one example"
        )
        if not whole.parts:
            body = Leaf(whole, whole, *self.size(whole, whole))
        left = PAD
        width = max(body.width, sizes[0][0], sizes[1][0], text_width(figures, TEXT), 330.0) + 2 * PAD
        axis = left + max(0.0, (width - 2 * PAD - body.width) / 2) + body.axis
        at = 58.0
        self.leaf(ends[0], whole, axis - sizes[0][0] / 2, at, *sizes[0])
        at += sizes[0][1]
        body.draw(self, axis - body.axis, at)
        foot, below = at + body.height, axis
        if isinstance(body, Columns):
            foot, below = at + body.foot, axis - body.axis + body.leaves
        width = max(width, below + sizes[1][0] / 2 + PAD)  # the output may stand below a narrow last column
        self.line([(below, foot), (below, foot + 14)])
        self.leaf(ends[1], whole, below - sizes[1][0] / 2, foot + 14, *sizes[1])
        at = max(at + body.height, foot + 14 + sizes[1][1]) + 16
        at = self._legend(at, width, closed)
        figure = Figure(figsize=(width / 72, (at + 6) / 72))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(at + 6, 0))
        axes.set_axis_off()
        self.text(PAD, 14, title, 12, bold=True)
        self.text(PAD, 32, figures, TEXT)
        for order, shape in enumerate(self.shapes):
            if isinstance(shape, tuple):
                x, y, words, style = shape
                axes.text(x, y, words, va="center_baseline", zorder=order + 2, **style)
            else:
                shape.set_zorder(order + 2)
                axes.add_patch(shape)
        assert isinstance(figure.axes[0].patches[0], FancyBboxPatch)
        return figure

    def _legend(self, at: float, width: float, closed: bool) -> float:
        from matplotlib.patches import FancyBboxPatch

        x = PAD
        for family in self.used:
            wide = text_width(family, SMALL) + 18
            if x + wide > width - PAD and x > PAD:
                x, at = PAD, at + 13
            self.shapes.append(
                FancyBboxPatch((x, at - 4), 9, 8, boxstyle="round,pad=0,rounding_size=2", fc=COLORS[family], ec=PATH, lw=0.6)
            )
            self.text(x + 12, at, family, SMALL, color=QUIET)
            x += wide + 4
        notes = ["Boxes are modules, nested as in the code, with the shape of what they give; rounded ones are operations."]
        if self.skips:
            notes.append("Thick orange lines are paths that go round other parts, such as residual connections.")
        if self.loops:
            notes.append("The thick line back to the top is the state, which each step gives to the next one.")
        if self.several:
            notes.append("Parallel arrows are several tensors that go the same way.")
        if closed:
            notes.append("Deeper modules are drawn closed.")
        for line in _wrapped(" ".join(notes), width - 2 * PAD):
            at += 12
            self.text(PAD, at + 2, line, SMALL, color=QUIET)
        return at + 8


def short(number: int) -> str:
    """A count as people say it: 9,408 as it is, then 62 k, 11.7 M, 4.1 G."""
    if number < 10_000:
        return f"{number:,}"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number / size < 1000 else f"{number / size:.0f} {unit}"
    return str(number)


def _below(path: str, above: str) -> str:
    """A path as seen from a module above it."""
    return path.removeprefix(f"{above}.") if above else path


def _wrapped(words: str, width: float) -> list[str]:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, SMALL) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
