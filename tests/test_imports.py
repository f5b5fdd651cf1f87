"""No import circle above the engine ties more than two files; the linter holds the layers."""

from __future__ import annotations

import grimp
import pytest

pytestmark = pytest.mark.any_kernels
ENGINE = ("nnatomy.ops", "nnatomy.layers", "nnatomy.tensor", "nnatomy.graph", "nnatomy.functional")


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected parts of a graph with more than one node (Kosaraju 1978)."""
    order: list[str] = []
    seen: set[str] = set()
    for start in graph:
        stack = [(start, iter(graph[start]))] if start not in seen else []
        seen.add(start)
        while stack:
            node, rest = stack[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                order.append(node)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(graph[following])))
    back: dict[str, set[str]] = {node: set() for node in graph}
    for node, others in graph.items():
        for other in others:
            back[other].add(node)
    found, taken = [], set[str]()
    for node in reversed(order):
        part, left = set[str](), [node]
        while left:
            one = left.pop()
            if one not in taken:
                taken.add(one)
                part.add(one)
                left += back[one]
        if len(part) > 1:
            found.append(part)
    return found


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str](), "e": {"f"}, "f": {"e"}}
    assert sorted(map(sorted, circles(graph))) == [["a", "b", "c"], ["e", "f"]]


def test_no_circle_ties_more_than_two_files_above_the_engine() -> None:
    found = grimp.build_graph("nnatomy", exclude_type_checking_imports=True)
    graph = {module: set(found.find_modules_directly_imported_by(module)) for module in found.modules}
    large = [sorted(part) for part in circles(graph) if len(part) > 2 and not all(name.startswith(ENGINE) for name in part)]
    assert not large, large
