"""Order in a graph whose nodes are numbered: parents before children, and which nodes lie on a circle (S6, S7)."""

import heapq
from collections.abc import Iterable, Sequence


def ordered(parents: Sequence[Iterable[int]]) -> list[int]:
    """The nodes so that each comes after its parents, the smallest number first among those that may come next.

    Nodes on a circle, and those behind one, are left out.
    """
    waiting = [len(set(of)) for of in parents]
    children: list[list[int]] = [[] for _ in parents]
    for child, of in enumerate(parents):
        for parent in set(of):
            children[parent].append(child)
    ready = [node for node, count in enumerate(waiting) if not count]
    order = []
    while ready:
        node = heapq.heappop(ready)
        order.append(node)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, child)
    return order


def circles(parents: Sequence[Iterable[int]]) -> list[list[int]]:
    """The nodes that wait for each other, each circle sorted, the one with the smallest number first.

    Two circles that share a node are one.
    """
    left = set(range(len(parents))) - set(ordered(parents))
    below: dict[int, set[int]] = {}
    for node in left:
        below[node] = {parent for parent in parents[node] if parent in left}
    found = _components(below)
    return sorted(sorted(one) for one in found if len(one) > 1 or one[0] in below[one[0]])


def _components(below: dict[int, set[int]]) -> list[list[int]]:
    """Nodes that reach each other (Tarjan), without recursion: a chain of a thousand is not too deep."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in sorted(below):
        if root in number:
            continue
        work = [(root, iter(sorted(below[root])))]
        number[root] = lowest[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            following = next((one for one in rest if one not in number or one in on_stack), None)
            if following is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    found.append(_taken_down_to(node, stack, on_stack))
            elif following in number:
                lowest[node] = min(lowest[node], number[following])
            else:
                number[following] = lowest[following] = len(number)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(sorted(below[following]))))
    return found


def _taken_down_to(node: int, stack: list[int], on_stack: set[int]) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != node:
        component.append(stack.pop())
        on_stack.discard(component[-1])
    return component
