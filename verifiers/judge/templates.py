"""Prompts as Jinja2 templates that can show variables, choose and list, and nothing else.

What a template may hold is decided by its syntax tree when it is registered: no calls, no arithmetic, hardly a
filter, loops over short lists only and not in one another. So what it makes is bounded, and made in a moment. The
sandbox of Jinja2 stands behind, and no attribute of a Python object is ever reached: a dot looks into a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from verifiers.base import ConfigError, clip

MAX_TEMPLATE = 20_000
"""Characters of a template."""
MAX_PROMPT = 2_000_000
"""Characters of what a template may make."""
MAX_DEPTH = 20
"""Blocks and expressions inside one another."""

FILTERS = frozenset(("trim", "length", "default"))
TESTS = frozenset(("defined", "undefined", "none"))
LOOP = frozenset(("index", "index0", "first", "last", "length"))
_ALLOWED = (
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.If,
    nodes.For,
    nodes.CondExpr,
    nodes.Getattr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Filter,
    nodes.Test,
)


@dataclass(frozen=True, slots=True)
class Variables:
    """What a template can name."""

    texts: frozenset[str]
    """Texts and numbers."""
    objects: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Objects with the names of their fields."""
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Short lists of objects, with the names of the objects' fields."""

    def names(self) -> list[str]:
        """Every name, in order."""
        return sorted({*self.texts, *self.objects, *self.lists})

    def filled(self, text: str) -> dict[str, Any]:
        """Values of the sorts that there will be, to try a template with."""
        objects = {name: dict.fromkeys(fields, "1") for name, fields in self.objects.items()}
        lists = {name: [dict.fromkeys(fields, "1")] for name, fields in self.lists.items()}
        return {**dict.fromkeys(self.texts, text), **objects, **lists}

    def within(self, loop: nodes.For) -> Variables:
        """What there is inside a loop."""
        if not (isinstance(loop.target, nodes.Name) and isinstance(loop.iter, nodes.Name)):
            return self
        fields = self.lists.get(loop.iter.name, frozenset())
        return Variables(self.texts, {**self.objects, loop.target.name: fields, "loop": LOOP}, self.lists)


class TemplateFaultError(Exception):
    """A template has no text for an item; says why."""


class _Json(ImmutableSandboxedEnvironment):
    """Looks into dictionaries, lists and the loop, and at no attribute of any object."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """See `Environment.getattr`."""
        if isinstance(obj, LoopContext) and attribute in LOOP:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """See `Environment.getitem`."""
        if isinstance(obj, dict) and argument in obj:
            return obj[argument]
        return self.undefined(obj=obj, name=argument)


_ENVIRONMENT = _Json(
    undefined=StrictUndefined,
    autoescape=False,  # what is made is a prompt, not HTML
    keep_trailing_newline=False,
    trim_blocks=True,
    lstrip_blocks=True,
    optimized=False,  # nothing of a template is computed before it was looked at
)
_ENVIRONMENT.globals.clear()


class Prompt:
    """A compiled template."""

    def __init__(self, source: str, variables: Variables, where: str) -> None:
        """Compile and try it; raises `ConfigError` with the line. `where` is the JSON pointer of the template."""
        self._template, self.shows = _compiled(source, variables, where)
        for text in ("x", ""):
            try:
                self.text(variables.filled(text))
            except TemplateFaultError as error:
                raise ConfigError(str(error).replace("this item", "an item"), where) from None

    def text(self, variables: Mapping[str, Any]) -> str:
        """The text that the template makes. Raises `TemplateFaultError`."""
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate(variables):
                parts.append(part)
                size += len(part)
                if size > MAX_PROMPT:
                    raise TemplateFaultError(f"the template makes more than {MAX_PROMPT:,} characters of this item")
        except (TemplateError, TypeError) as error:  # a TypeError: what is compared or counted is not of that sort
            raise TemplateFaultError(f"the template has no text for this item: {clip(str(error))}") from None
        return "".join(parts)


def _compiled(source: str, variables: Variables, where: str) -> tuple[Template, frozenset[str]]:
    """The template, and the variables that it names."""
    if len(source) > MAX_TEMPLATE:
        raise ConfigError(f"the template has {len(source):,} characters, {MAX_TEMPLATE:,} are allowed", where)
    if any("\ud800" <= character <= "\udfff" for character in source):
        raise ConfigError("the template holds a lone surrogate, which is not a character", where)
    try:
        tree = _ENVIRONMENT.parse(source)
        for node, known, depth in _walk(tree, variables, 0):
            fault = f"nests deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else _fault(node, known)
            if fault is not None:
                raise ConfigError(f"line {node.lineno or 1}: {fault}", where)
        return _ENVIRONMENT.from_string(source), frozenset(name.name for name in tree.find_all(nodes.Name))
    except TemplateSyntaxError as error:
        raise ConfigError(f"line {error.lineno}: {clip(str(error.message))}", where) from None
    except ConfigError:
        raise
    except ValueError:
        raise ConfigError("the template holds a number that is too long", where) from None
    except (RecursionError, MemoryError):
        raise ConfigError("the template nests too deeply", where) from None


def _walk(node: nodes.Node, known: Variables, depth: int) -> Iterator[tuple[nodes.Node, Variables, int]]:
    """Every node below one, with the variables that there are at its place."""
    for child in node.iter_child_nodes():
        yield child, known, depth
        yield from _walk(child, known.within(child) if isinstance(child, nodes.For) else known, depth + 1)


def _fault(node: nodes.Node, known: Variables) -> str | None:
    """What is wrong with one node."""
    match node:
        case nodes.Name(name=name, ctx="load") if name not in known.names():
            return f"there is no variable {clip(name, 60)!r}; there are: {', '.join(known.names())}"
        case nodes.Getattr(node=nodes.Name(name=name), attr=attribute) if attribute in known.objects.get(name, ()):
            return None
        case nodes.Getattr(attr=attribute):
            fields = ", ".join(f"{name}.{part}" for name, parts in known.objects.items() for part in sorted(parts))
            return f"there is no field {clip(attribute, 60)!r}; there are: {fields or 'none here'}"
        case nodes.Filter(name=name) if name not in FILTERS:
            return f"there is no filter {clip(name, 60)!r}; there are: {', '.join(sorted(FILTERS))}"
        case nodes.Test(name=name) if name not in TESTS:
            return f"there is no test {clip(name, 60)!r}; there are: {', '.join(sorted(TESTS))}"
        case nodes.For(recursive=recursive) if recursive or next(node.find_all(nodes.For), None) is not None:
            return "a loop must not stand in a loop"
        case nodes.For(target=nodes.Name(), iter=nodes.Name(name=name)) if name in known.lists:
            return None
        case nodes.For():
            return f"a loop goes over one of the lists: {', '.join(sorted(known.lists)) or 'there are none here'}"
        case _ if isinstance(node, _ALLOWED):
            return None
        case _:
            what = type(node).__name__
            return f"{what} is not for templates: they show variables, choose with 'if' and list with 'for'"
