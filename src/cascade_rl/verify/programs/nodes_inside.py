"""Lists and trees of nodes as LeetCode has them: run as text in the candidate's process, not imported here.

An argument whose annotation names ListNode or TreeNode is given as a list and becomes nodes, and a result of
nodes becomes a list: trees level by level with None for what is missing. A program's own class of that name
is used, else these two.
"""

import builtins
from collections import deque
from collections.abc import Callable
from typing import Any

MOST = 1_000_000  # nodes; a list or tree that goes on is taken to run in a circle


class ListNode:
    def __init__(self, val: Any = 0, next: Any = None) -> None:  # LeetCode's name
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val: Any = 0, left: Any = None, right: Any = None) -> None:
        self.val, self.left, self.right = val, left, right


builtins.__dict__.update(ListNode=ListNode, TreeNode=TreeNode)


def made(name: str) -> Any:
    return globals()["scope"].get(name) or getattr(builtins, name)


def to_list(items: Any) -> Any:
    first = None
    for item in reversed(items or []):
        node = made("ListNode")(item)
        node.next, first = first, node
    return first


def to_tree(items: Any) -> Any:
    if not items or items[0] is None:
        return None
    rest, root = iter(items[1:]), made("TreeNode")(items[0])
    waiting = deque([root])
    while waiting:
        node = waiting.popleft()
        for side in ("left", "right"):
            item = next(rest, None)
            child = None if item is None else made("TreeNode")(item)
            setattr(node, side, child)
            if child is not None:
                waiting.append(child)
    return root


def from_list(node: Any) -> list[Any]:
    found: list[Any] = []
    while node is not None and len(found) < MOST:
        found.append(node.val)
        node = node.next
    if node is not None:
        raise ValueError("a list of nodes without an end")
    return found


def from_tree(root: Any) -> list[Any]:
    found: list[Any] = []
    waiting = deque([root])
    while waiting and len(found) < MOST:
        node = waiting.popleft()
        found.append(None if node is None else node.val)
        if node is not None:
            waiting += (node.left, node.right)
    if waiting:
        raise ValueError("a tree of nodes without an end")
    while found and found[-1] is None:
        found.pop()
    return found


MAKERS = {"ListNode": to_list, "TreeNode": to_tree}


def words(annotation: Any) -> str:
    # a text where annotations are postponed
    return annotation if isinstance(annotation, str) else repr(annotation)


def several(text: str) -> bool:
    return text.replace("typing.", "").removeprefix("Optional[").lower().startswith("list[")


def arranged(annotation: Any, value: Any) -> Any:
    text = words(annotation)
    make = next((make for name, make in MAKERS.items() if name in text), None)
    if make is None or not isinstance(value, list):
        return value
    return [make(item) for item in value] if several(text) else make(value)


def documented(function: Any) -> dict[str, str]:
    """Annotations as LeetCode's older templates have them: `:type head: ListNode`, `:rtype: ListNode`."""
    found = {}
    for line in str(getattr(function, "__doc__", "") or "").split("\n"):
        kind, _, rest = line.strip().removeprefix(":").partition(" ")
        name, _, text = rest.partition(":")
        if kind == "type":
            found[name.strip()] = text.strip()
        elif kind == "rtype:":
            found["return"] = rest.strip()
    return found


def called(function: Callable[..., Any], arguments: list[Any]) -> Any:
    inner: Any = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    inner = getattr(inner, "__func__", inner)
    notes = {**documented(inner), **getattr(inner, "__annotations__", {})}
    code = getattr(inner, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    if names[:1] == ("self",):
        names = names[1:]
    padded = (*names, *[""] * len(arguments))
    given = [arranged(notes.get(name, ""), value) for name, value in zip(padded, arguments)]  # noqa: B905
    value = function(*given)
    text = words(notes.get("return", ""))
    # LeetCode writes the list or tree without a node as []
    return [] if value is None and any(name in text for name in MAKERS) and not several(text) else value


def shaped(value: Any) -> Any:
    name = type(value).__name__
    if name in MAKERS:
        return from_list(value) if name == "ListNode" else from_tree(value)
    return globals()["plain"](value)
