"""Compiles a test's source so that the checks it makes are counted as they run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Iterable, Iterator
from types import CodeType
from typing import Any

MARK = "__assay_check__"
"""What the compiled source calls before each check."""
_CHECKING = ("fail", "raises", "warns")


class Script:
    """Compiled source. Raises SyntaxError, ValueError, RecursionError or MemoryError as `compile` does."""

    def __init__(self, source: str, name: str) -> None:
        self.source = source
        self.name = name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a SyntaxWarning in a test nobody would learn
            tree = ast.parse(source, name)
            self.bound = frozenset(_bound(tree))
            """Names that it may bind."""
            self.loaded = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
            """Names that it mentions."""
            self.free = self.loaded - self.bound - frozenset(_local(tree))
            """Those that it does not bind anywhere itself."""
            self.values = frozenset(_values(tree))
            """Names that it does something else with than calling them, or looking at an attribute."""
            constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
            self.strings = frozenset(value.lstrip(" \t") for value in constants if isinstance(value, str))
            """The strings in it, as `eval` would take them."""
            self.in_classes = frozenset(_in_classes(tree)) - frozenset(_bound_outside_classes(tree))
            """Names that bodies of classes mention, outside of their methods, and that only such bodies bind."""
            self.checks = _mark(tree)
            """How many places of it check something."""
            self.code: CodeType = compile(tree, name, "exec", dont_inherit=True)

    def line(self, number: int) -> str:
        """A line of the source."""
        lines = self.source.splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _local(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif type(node).__name__ in ("MatchAs", "MatchStar", "MatchMapping"):  # unknown to Python 3.9
            yield getattr(node, "name", None) or getattr(node, "rest", None) or ""


def needed(source: str, names: Iterable[str], modules: Collection[str]) -> str:
    """The statements of `source` that bind some of these names, or a name that such a statement mentions.

    A prompt may quote what a program said before, so that no more of it runs than tests ask for. `import *` is
    needed from `modules` only. Raises as `Script` does.
    """
    statements = ast.parse(source).body
    wanted = set(names)
    kept: set[int] = set()
    more = True
    while more:
        more = False
        for index, statement in enumerate(statements):
            if index not in kept and not wanted.isdisjoint(_binds(statement)):
                kept.add(index)
                wanted |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
                more = True
    if kept:
        kept |= {index for index, each in enumerate(statements) if _is_import_of_all(each, modules)}
    module = ast.Module(body=[statements[index] for index in sorted(kept)], type_ignores=[])
    return ast.unparse(module)


def _binds(statement: ast.stmt) -> Iterable[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    return _bound(statement)


def _is_import_of_all(statement: ast.stmt, modules: Collection[str]) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*" and statement.module in modules


def _values(tree: ast.AST) -> Iterator[str]:
    plainly = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Call, ast.Attribute)):
            plainly.add(node.func if isinstance(node, ast.Call) else node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node not in plainly:
            yield node.id


def _bound(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        yield from _binding(node)


def _binding(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]


def _bound_outside_classes(tree: ast.AST) -> Iterator[str]:
    stack = [tree]
    while stack:
        for node in ast.iter_child_nodes(stack.pop()):
            yield from _binding(node)
            if not isinstance(node, ast.ClassDef):
                stack.append(node)


def _in_classes(tree: ast.AST) -> Iterator[str]:
    stack = [statement for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for statement in node.body]
    while stack:
        node: ast.AST = stack.pop()
        if isinstance(node, ast.Name):
            yield node.id
        skipped = node.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else ()
        stack.extend(child for child in ast.iter_child_nodes(node) if child not in skipped)  # type: ignore[misc]


def _mark(node: Any) -> int:
    """Put a call of `MARK` before every statement that checks something; returns how many there are."""
    count = 0
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        statements = getattr(node, field, None)
        if not isinstance(statements, list):
            continue
        marked: list[Any] = []
        for statement in statements:
            if isinstance(statement, ast.stmt) and _checks(statement):
                call = ast.Call(func=ast.Name(id=MARK, ctx=ast.Load()), args=[], keywords=[])
                marked.append(ast.fix_missing_locations(ast.copy_location(ast.Expr(value=call), statement)))
                count += 1
            count += _mark(statement)
            marked.append(statement)
        statements[:] = marked
    return count


def _checks(statement: ast.stmt) -> bool:
    """Whether a statement, once it is reached, checks something, be it that it does not do something else."""
    if isinstance(statement, ast.Assert):
        return True
    if isinstance(statement, (ast.Expr, ast.Assign, ast.Return)):
        return statement.value is not None and _calls_check(statement.value)
    if isinstance(statement, (ast.With, ast.AsyncWith)):
        return any(_calls_check(item.context_expr) for item in statement.items)
    if isinstance(statement, ast.If):  # `if f(1) != 2: raise ...` checks although it never raises
        return any(_fails(inner) for inner in [*statement.body, *statement.orelse])
    if isinstance(statement, ast.Try):  # so does `try: f(); assert False; except ValueError: pass`
        inner = [
            *statement.body,
            *statement.orelse,
            *(each for handler in statement.handlers for each in handler.body),
        ]
        return any(_fails(each) or isinstance(each, ast.Assert) for each in inner)
    return False


def _fails(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) or (isinstance(statement, ast.Expr) and _calls_check(statement.value))


def _calls_check(expression: ast.expr) -> bool:
    for node in ast.walk(expression):
        if isinstance(node, ast.Call):
            name: str = getattr(node.func, "attr", "") or getattr(node.func, "id", "")
            if name.startswith("assert") or name in _CHECKING:
                return True
    return False
