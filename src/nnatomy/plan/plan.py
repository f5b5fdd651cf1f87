"""A plan: the calls of a trace with memory assigned, most of them instructions of a program, to be run again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnatomy.kernels import library
from nnatomy.kernels.lowering import Emitter, find
from nnatomy.kernels.machine import Outline, Program, aligned, get_num_threads
from nnatomy.plan import fusion
from nnatomy.plan.memory import Array, Buffer, View, arranged, outline
from nnatomy.plan.trace import Call, Unplannable, Var, substitute

NUMBERS = {
    "add": 0, "subtract": 1, "multiply": 2, "divide": 3, "power": 4, "negative": 5, "exp": 6, "expm1": 7, "log": 8, "sqrt": 9,
    "floor_divide": 10, "minimum": 11, "maximum": 12,
}  # fmt: skip
"""The functions that kernels/numbers.py computes."""

class Plan:
    """Runs one trace's calls on its own memory.

    `inputs`: Vars that are written before each run (`input_arrays`, or `set_number`); `state`: Vars whose arrays are given and
    live outside; `updates`: (array, Var) pairs: what a run leaves in these arrays; `results`: Vars that are read after it.
    """

    def __init__(
        self, calls: Sequence[Call], inputs: Sequence[Var], state: Sequence[tuple[Var, Array]],
        updates: Sequence[tuple[Array, Var]], results: Sequence[Var],
    ) -> None:  # fmt: skip
        self.threads = get_num_threads()
        wanted = [v for _, v in updates] + list(results)
        calls, same = fusion.simplified(calls, wanted)
        self._same = same
        wanted = [same.get(v, v) for v in wanted]
        self._numbers(calls, inputs)
        calls = [call for call in calls if not call.outs[0].number]
        calls = fusion.with_epilogues(calls, [v for v in wanted if not v.number])
        calls = fusion.grouped(calls, [v for v in wanted if not v.number])
        self._assign(calls, inputs, state, updates, [v for v in wanted if not v.number])
        self._lower()

    # Numbers

    def _numbers(self, calls: Sequence[Call], inputs: Sequence[Var]) -> None:
        """Give each number its place in the bank, and the arithmetic among them its lines."""
        self._place: dict[Var, int] = {}
        constants: dict[float, int] = {}
        values: list[float] = []
        lines: list[int] = []

        def place(a: Any) -> int:
            if isinstance(a, Var):
                if a not in self._place:
                    self._place[a] = len(values)
                    values.append(0.0)
                return self._place[a]
            number = float(a)
            if number not in constants:
                constants[number] = len(values)
                values.append(number)
            return constants[number]

        for v in inputs:
            if v.number:
                place(v)
        for call in calls:
            if call.outs[0].number:
                if call.name not in NUMBERS:
                    raise Unplannable(f"{call.name}() of numbers that change from step to step")
                refs = [place(a) for a in call.args]
                lines += [NUMBERS[call.name], place(call.outs[0]), refs[0], refs[-1]]
            else:
                for v in call.inputs():
                    if v.number:
                        place(v)
        self.bank = aligned(max(len(values), 1), np.float64)
        self.bank[: len(values)] = values
        self._lines = lines

    def position(self, v: Var) -> int:
        """Where in `bank` a number is after a run."""
        return self._place[self._same.get(v, v)]

    def place(self, v: Var) -> int | None:
        """Where in `bank` an input is written; None if nothing reads it."""
        return self._place.get(v)

    # Memory

    def _assign(
        self, calls: Sequence[Call], inputs: Sequence[Var], state: Sequence[tuple[Var, Array]],
        updates: Sequence[tuple[Array, Var]], wanted: Sequence[Var],
    ) -> None:  # fmt: skip
        """Choose the layout of every array, find out which are views, and which results can be written where they belong."""
        self._views: dict[Var, View] = {}
        self._calls: list[Call] = []
        self._buffers: list[Buffer] = []
        for v, array in state:
            self._views[v] = self._new(Buffer(array, array, 0, len(calls) * 2 + 2))
        for v in inputs:
            if not v.number:
                self._views[v] = self._new(Buffer(outline(v.shape or (), v.dtype), None, 0, 0))
        for call in calls:
            if fusion.is_view(call):
                self._view(call)
                continue
            orders = self._orders(call)
            for i, out in enumerate(call.outs):
                buffer = Buffer(outline(out.shape or (), out.dtype, orders[i]), None, len(self._calls), len(self._calls))
                self._views[out] = self._new(buffer)
            self._append(call)
        wanted = self._kept(updates, wanted)
        self._write_in_place(updates)
        end = len(self._calls)
        for v in wanted:
            self._buffer(v).last = end + 1
        for array, v in updates:
            v = self._same.get(v, v)
            if not v.number and self._views[v].buffer.array is not array:
                view = Var(array.shape, array.dtype, -1)
                self._views[view] = View(Buffer(array, array), array)
                self._append(Call("copy", np.array, (v,), {}, [view]))
        self._write_over()
        self._arena = arranged(self._buffers)
        self.memory = self._arena.nbytes

    def _kept(self, updates: Sequence[tuple[Array, Var]], wanted: Sequence[Var]) -> list[Var]:
        """Copy the wanted values of arrays that a run overwrites, as they were before; return all wanted Vars."""
        written = {id(array) for array, _ in updates}
        for v in dict.fromkeys(wanted):
            view = self._views[v]
            if view.buffer.array is not None and id(view.buffer.array) in written:
                copied = Var(v.shape, v.dtype, -1)
                buffer = Buffer(outline(v.shape or (), v.dtype), None, len(self._calls), len(self._calls))
                self._views[copied] = self._new(buffer)
                self._append(Call("copy", np.array, (v,), {}, [copied]))
                self._same |= dict.fromkeys([v, *(w for w, kept in self._same.items() if kept is v)], copied)
        return [self._same.get(v, v) for v in wanted]

    def _new(self, buffer: Buffer) -> View:
        self._buffers.append(buffer)
        return View(buffer, buffer.outline)

    def _buffer(self, v: Var) -> Buffer:
        return self._views[v].buffer

    def _append(self, call: Call) -> None:
        for v in call.inputs():
            if not v.number:
                buffer = self._buffer(v)
                buffer.last = max(buffer.last, len(self._calls))
        self._calls.append(call)

    def _view(self, call: Call) -> None:
        """A call whose result is in its argument's memory; where the layout does not allow that, after a copy."""
        out, source = call.outs[0], call.args[0]
        if not isinstance(source, Var):  # of a constant
            array = np.asarray(call.function(*call.args, **call.kwargs))
            self._views[out] = self._new(Buffer(array, array, 0, 0))
            return
        view = self._views[source]
        found = _view_of(call, view.outline)
        if found.size and not np.may_share_memory(found, view.outline):
            copied = Var(source.shape, source.dtype, -1)
            self._views[copied] = self._new(Buffer(outline(source.shape or (), source.dtype), None, len(self._calls), -1))
            self._append(Call("copy", np.array, (source,), {}, [copied]))
            view = self._views[copied]
            found = _view_of(call, view.outline)
        self._views[out] = View(view.buffer, found)

    def _orders(self, call: Call) -> list[tuple[int, ...] | None]:
        """The order in memory of the axes of each output."""
        if call.name == "pointwise":
            shape = call.outs[0].shape or ()
            like = max(
                (self._views[a].outline for a in call.args if isinstance(a, Var) and not a.number and a.shape == shape),
                key=lambda a: (a.itemsize, 0 not in a.strides), default=None,
            )  # fmt: skip
            if like is None or 0 in like.strides:
                return [None] * len(call.outs)
            return [tuple(sorted(range(like.ndim), key=lambda i: (-like.strides[i], i)))] * len(call.outs)
        lowering = find(call.name)
        if lowering is None or lowering.order is None:
            return [None] * len(call.outs)
        return lowering.order(*self._outlined(call))

    def _outlined(self, call: Call) -> tuple[Any, Any]:
        def of(v: Any) -> Any:
            if isinstance(v, Var):
                return np.zeros(()) if v.number else self._views[v].outline
            return v

        return substitute(call.args, of), substitute(call.kwargs, of)

    def _write_in_place(self, updates: Sequence[tuple[Array, Var]]) -> None:
        """Let a call write a new state where the old one is, if nothing reads the old one later."""
        readers: dict[int, int] = {}  # of each outside array, the last call that reads it
        writer: dict[Var, int] = {}
        for i, call in enumerate(self._calls):
            for v in call.inputs():
                if not v.number:
                    readers[id(self._buffer(v))] = i
            for out in call.outs:
                writer[out] = i
        outside = {id(b.array): b for b in self._buffers if b.array is not None}
        count = Counter(self._same.get(v, v) for _, v in updates)
        for array, v in updates:
            v = self._same.get(v, v)
            old, view = outside.get(id(array)), self._views.get(v)
            if v.number or old is None or view is None or v not in writer or count[v] > 1:
                continue
            new = view.buffer
            if new.array is not None or view.outline is not new.outline or new.outline.strides != array.strides:
                continue
            at = writer[v]
            last = readers.get(id(old), -1)
            if last < at or (last == at and self._calls[at].name == "pointwise" and self._reads_whole(self._calls[at], old)):
                new.array = array

    def _write_over(self) -> None:
        """Place results where an argument was that nothing reads later: less memory, and less of it to fetch."""
        for i, call in enumerate(self._calls):
            lowering = find(call.name)
            for out, argument in lowering.over.items() if lowering else ():
                v, new = call.args[argument], self._views[call.outs[out]]
                if not isinstance(v, Var) or v.number:
                    continue
                old = self._views[v]
                source, target = old.buffer, new.buffer
                readers = [a for a in call.inputs() if not a.number and self._buffer(a) is source]
                whole = old.outline.nbytes == source.outline.nbytes and old.outline.flags.c_contiguous
                alike = (new.outline is target.outline and old.outline.dtype == target.outline.dtype
                         and old.outline.shape == target.outline.shape and target.outline.flags.c_contiguous)  # fmt: skip
                free = source.array is None and target.array is None and source.last == i and len(readers) == 1
                if whole and alike and free and source.outline.flags.c_contiguous:
                    target.over = source
                    root = source
                    while root.over is not None:
                        root = root.over
                    root.last = max(root.last, target.last)

    def _reads_whole(self, call: Call, buffer: Buffer) -> bool:
        """Return True if the call reads this memory in the layout in which it will write it."""
        views = [self._views[v] for v in call.inputs() if not v.number]
        return all(v.outline.strides == buffer.outline.strides for v in views if v.buffer is buffer)

    # Instructions

    def _lower(self) -> None:
        """Convert calls to instructions, with calls of Python where there is no kernel."""
        scratch = _Scratch()
        outline = Outline()  # at first only to learn which kernels and how much scratch memory the calls need
        for call in self._calls:
            self._emit(call, _PlanEmitter(outline, self.threads, scratch))
        library.prepare([("control", "run"), ("control", "work"), ("numbers", "arithmetic"), *outline.kernels])
        scratch.allocate()
        self._parts: list[Callable[[], None]] = []
        self._sizes: list[tuple[str, bool]] = []
        program = Program()
        if self._lines:
            arguments = [self.bank.ctypes.data, len(self._lines) // 4, *self._lines]
            program.add("numbers", "arithmetic", arguments)
        for call in self._calls:
            kernel = self._emit(call, _PlanEmitter(program, self.threads, scratch))
            self._sizes.append((call.name, kernel))
            if not kernel:
                if program.words:
                    self._parts.append(program.run)
                self._parts.append(self._python(call))
                program = Program()
        if program.words:
            program.seal()
            self._parts.append(program.run)
        self._scratch = scratch  # the programs write there
        self.memory += scratch.nbytes

    def _emit(self, call: Call, emitter: Emitter) -> bool:
        lowering = find("copy" if call.name == "array" else call.name)
        if lowering is None:
            return False
        args, kwargs = self._real(call)
        outs = [self._views[o].array() for o in call.outs]
        emitter.program.keep(args, kwargs, outs)
        return lowering.emit(emitter, outs, args, kwargs)

    def _real(self, call: Call) -> tuple[Any, Any]:
        """The arguments as arrays in their places; numbers as arrays without axes in the bank."""

        def of(v: Any) -> Any:
            if isinstance(v, Var):
                return self.bank[self._place[v] : self._place[v] + 1].reshape(()) if v.number else self._views[v].array()
            return v

        return substitute(call.args, of), substitute(call.kwargs, of)

    def _python(self, call: Call) -> Callable[[], None]:
        """A part that calls the reference and writes its result where it belongs."""
        args, kwargs = self._real(call)
        outs = [self._views[o].array() for o in call.outs]
        kinds = {self._place[v]: v.dtype for v in call.inputs() if v.number}
        function, bank = _masked(call.function) if "y" in kwargs else call.function, self.bank
        epilogue = _epilogue(call, kwargs)
        start = bank.ctypes.data

        def value(a: Any) -> Any:
            if isinstance(a, np.ndarray) and a.ndim == 0 and a.dtype == np.float64 and a.base is not None:
                place = (a.ctypes.data - start) // 8
                if 0 <= place < len(bank) and place in kinds:
                    return kinds[place](a)
            return a

        def part() -> None:
            now = (substitute(args, value), substitute(kwargs, value)) if kinds else (args, kwargs)
            with np.errstate(all="ignore"):
                made = epilogue(function(*now[0], **now[1])) if epilogue else function(*now[0], **now[1])
                for out, a in zip(outs, made if isinstance(made, tuple) else (made,), strict=True):
                    np.copyto(out, a, casting="unsafe")

        return part

    def array(self, v: Var) -> Array:
        """The array that holds a Var."""
        return self._views[self._same.get(v, v)].array()

    def known(self, v: Var) -> bool:
        """Return True if anything reads or makes this array."""
        return self._same.get(v, v) in self._views

    def run(self) -> None:
        """Compute the results from the values in the inputs and the state."""
        for part in self._parts:
            part()

    def parts(self) -> list[tuple[str, bool]]:
        """The calls in their order, and whether each is a kernel (else Python calls the reference)."""
        return list(self._sizes)


def _view_of(call: Call, outline: Array) -> Array:
    """Return the call's result for an outline; a view also for one element, where NumPy would give its own scalar."""
    if call.name == "getitem":
        parts = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
        view: Array = outline[parts if any(p is Ellipsis for p in parts) else (*parts, ...)]
        return view
    return np.asarray(call.function(outline, *call.args[1:], **call.kwargs))


def _masked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a batch norm with relu behind it, whose output is y."""

    def masked(g: Any, *args: Any, y: Any, **kwargs: Any) -> Any:
        return function(np.where(y > 0, g, np.zeros((), g.dtype)), *args, **kwargs)

    return masked


def _epilogue(call: Call, kwargs: dict[str, Any]) -> Callable[[Any], Any] | None:
    """Compute the bias and the activation of a fused call, after the function that the call is named for."""
    bias, activation = kwargs.pop("bias", None), kwargs.pop("activation", None)
    if bias is None and activation is None:
        return None
    from nnatomy.backends import numpy_reference as reference

    functions: dict[str, Callable[[Any], Any]] = {"relu": lambda y: np.maximum(y, 0), "tanh": np.tanh}
    functions["sigmoid"] = reference.sigmoid

    def epilogue(made: Any) -> Any:
        several = isinstance(made, tuple)
        y = made[0] if several else made
        if bias is not None:
            y = y + (bias if call.name == "matmul" else bias.reshape((-1,) + (1,) * (y.ndim - 2)))
        y = functions[activation](y) if activation else y
        return (y, *made[1:]) if several else y

    return epilogue


class _Scratch:
    """Memory that each call may use for itself; all calls share it."""

    def __init__(self) -> None:
        self.most = 0
        self.memory: Array | None = None

    def allocate(self) -> None:
        """After this, requests are met."""
        self.memory = aligned(max(self.most, 1), np.uint8)

    @property
    def nbytes(self) -> int:
        return self.most


class _PlanEmitter(Emitter):
    """An emitter whose scratch memory is the plan's."""

    def __init__(self, program: Program | Outline, threads: int, scratch: _Scratch) -> None:
        super().__init__(program, threads)
        self._shared, self._used = scratch, 0

    def scratch(self, count: int, dtype: Any = np.float32) -> Array:
        start = self._used
        kind = np.dtype(dtype)
        self._used += -(-max(count, 1) * kind.itemsize // 64) * 64
        if self._shared.memory is None:
            self._shared.most = max(self._shared.most, self._used)
            return np.empty(count, kind)
        return self._shared.memory[start : start + count * kind.itemsize].view(kind)
