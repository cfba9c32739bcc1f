"""Who must come before whom: a graph of transactions with the reason of every edge, its cycles, and shortest ways."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

WW, WR, RW, PROCESS, REALTIME = 1, 2, 4, 8, 16
DATA = WW | WR | RW
ALL = DATA | PROCESS | REALTIME
RELATIONS = {
    WW: "overwritten by",
    WR: "read by",
    RW: "did not see",
    PROCESS: "before in its process",
    REALTIME: "finished before",
}


class Graph:
    """Nodes are numbers. Those from `size` on are barriers: instants between transactions, nobody's events."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._barriers = 0
        self._edges: defaultdict[int, dict[int, int]] = defaultdict(dict)
        self._keys: dict[tuple[int, int, int], str] = {}

    def add(self, before: int, after: int, relation: int, key: str = "") -> None:
        """Add an edge; one from a node to itself says nothing and is left out."""
        if before != after:
            targets = self._edges[before]
            targets[after] = targets.get(after, 0) | relation
            if key:
                self._keys[before, after, relation] = key

    def add_realtime(self, spans: Iterable[tuple[int, int, int]]) -> None:
        """Add the order of transactions that did not overlap, with as many edges as there are transactions.

        Args:
            spans: node, begin and end of each.
        """
        # At one instant begins come first: what touches only there counts as overlapping.
        events = sorted(event for node, begin, end in spans for event in ((begin, 0, node), (end, 1, node)))
        finished: list[int] = []
        barrier: int | None = None
        for _, is_end, node in events:
            if is_end:
                finished.append(node)
                continue
            if finished:
                before, barrier = barrier, self.size + self._barriers
                self._barriers += 1
                for earlier in finished if before is None else (*finished, before):
                    self.add(earlier, barrier, REALTIME)
                finished.clear()
            if barrier is not None:
                self.add(barrier, node, REALTIME)

    def key_of(self, before: int, after: int, relation: int) -> str:
        """The key whose value made the edge."""
        return self._keys.get((before, after, relation), "")

    def relations(self, before: int, after: int) -> int:
        """All reasons why one node comes before another, as a mask."""
        return self._edges[before].get(after, 0)

    def edges_within(self, nodes: set[int], relation: int) -> list[tuple[int, int]]:
        """Edges of a relation between nodes of a set."""
        return [
            (node, target)
            for node in sorted(nodes)
            for target, mask in self._edges.get(node, {}).items()
            if mask & relation and target in nodes
        ]

    def components(self, allowed: int = ALL) -> list[set[int]]:
        """Strongly connected components of more than one node, by edges of the allowed relations.

        Source: R. Tarjan, Depth-first search and linear graph algorithms, 1972; without recursion.
        """
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        stack: list[int] = []
        on_stack: set[int] = set()
        found: list[set[int]] = []
        for root in list(self._edges):
            if root in order:
                continue
            order[root] = low[root] = len(order)
            stack.append(root)
            on_stack.add(root)
            work = [(root, iter(self._targets(root, allowed)))]
            while work:
                node, targets = work[-1]
                for target in targets:
                    if target not in order:
                        order[target] = low[target] = len(order)
                        stack.append(target)
                        on_stack.add(target)
                        work.append((target, iter(self._targets(target, allowed))))
                        break
                    if target in on_stack:
                        low[node] = min(low[node], order[target])
                else:
                    work.pop()
                    if work:
                        parent = work[-1][0]
                        low[parent] = min(low[parent], low[node])
                    if low[node] == order[node]:
                        component: set[int] = set()
                        while node not in component:
                            component.add(stack.pop())
                        on_stack -= component
                        if len(component) > 1:
                            found.append(component)
        return found

    def _targets(self, node: int, allowed: int) -> list[int]:
        return [target for target, mask in self._edges.get(node, {}).items() if mask & allowed]

    def shortest_path(
        self, start: int, goal: int, allowed: int, within: set[int], *, is_apart: bool = False
    ) -> list[int] | None:
        """Nodes from `start` to `goal`, by breadth-first search; None if there is no way.

        Barriers cost nothing, so a path is as short as it looks once they are left out.

        Args:
            is_apart: an edge that is only `RW` may come neither first, nor last, nor after another one. The way back
                of a cycle that begins with such an edge then has no two of them in a row.
        """
        # The second part of a state: was the last edge RW? Without `is_apart` nobody asks.
        first = (start, is_apart)
        came_from: dict[tuple[int, bool], tuple[int, bool] | None] = {first: None}
        queue = deque([first])
        while queue:
            state = queue.popleft()
            node, was_rw = state
            for target, mask in self._edges.get(node, {}).items():
                if not mask & allowed or target not in within:
                    continue
                is_rw = is_apart and not mask & allowed & ~RW
                if is_rw and (was_rw or target == goal):
                    continue
                reached = (target, is_rw)
                if reached in came_from:
                    continue
                came_from[reached] = state
                if target == goal:
                    return _unwound(came_from, reached)
                if target >= self.size:
                    queue.appendleft(reached)
                else:
                    queue.append(reached)
        return None


def _unwound(came_from: dict[tuple[int, bool], tuple[int, bool] | None], last: tuple[int, bool]) -> list[int]:
    path = []
    state: tuple[int, bool] | None = last
    while state is not None:
        path.append(state[0])
        state = came_from[state]
    return path[::-1]
