"""The grader `python`: `grade(sample, item)`, called in the sandbox by the kind `python`."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection, Sequence
from dataclasses import replace

from verifiers.base import ConfigError, Context, ErrorType, Item, Outcome, Verdict, VerdictError
from verifiers.grader.cases import Stage
from verifiers.grader.config import ENTRY_POINT, PythonGrader
from verifiers.grader.faults import Fault, error_of, unscored
from verifiers.grader.variables import Variables
from verifiers.python import Python, PythonConfig

PYTHON = Stage("python")

_DISTRIBUTIONS = {"sklearn": "scikit-learn", "skbio": "scikit-bio", "yaml": "pyyaml"}
"""Of OpenAI's packages, those whose modules have other names."""


class PythonCode:
    """A user's function."""

    lowest, highest = 0.0, 1.0

    def __init__(self, grader: PythonGrader, where: str) -> None:
        try:
            Python(PythonConfig(code=grader.source))  # alone, for it must not go on in what is added to it
        except ConfigError as error:
            raise ConfigError(str(error), f"{where}/source") from None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the source's own, such as an odd escape
            tree = ast.parse(grader.source)
        if not any(_defines(node, "grade") for node in ast.walk(tree)):
            raise ConfigError("source defines no function grade(sample, item)", f"{where}/source")
        self._grader = grader
        self._modules = frozenset(name for node in ast.walk(tree) for name in _imported(node))

    async def grade(self, cases: Sequence[Variables], ctx: Context) -> list[Verdict]:
        """See `Grader`."""
        if ctx.score is None:
            raise RuntimeError("a grader needs an engine")
        items: list[Item] = []

        def prepared(case: Variables) -> Verdict:
            items.append(Item(completion="", reference=case.item, metadata={"sample": case.sample()}))
            return _CALLED

        verdicts = await PYTHON.each(cases, ctx, prepared)
        part = self._grader.part(self._packages(() if ctx.sandbox is None else ctx.sandbox.packages))
        called = iter(await ctx.score(part, items) if items else [])
        return [_verdict(next(called)) if verdict is _CALLED else verdict for verdict in verdicts]

    def _packages(self, offered: Collection[str]) -> list[str]:
        """Those of the packages on offer that the source imports."""
        wanted = {_DISTRIBUTIONS.get(module, module).replace("_", "-").lower() for module in self._modules}
        return sorted(name for name in offered if name.replace("_", "-").lower() in wanted)


def _verdict(verdict: Verdict) -> Verdict:
    """The verdict of the kind `python` as this grader's own."""
    if verdict.score is not None:
        return replace(verdict, detail={**verdict.detail, "stage": PYTHON.name})
    error = error_of(verdict)
    fault = Fault.OTHER
    if error.type is ErrorType.VERIFIER_FAULT:
        fault = Fault.PYTHON_RUNTIME
    elif error.type in (ErrorType.SANDBOX_UNAVAILABLE, ErrorType.SANDBOX_FAULT):
        fault = Fault.PYTHON_SERVER
    said = VerdictError(error.type, error.message.replace(ENTRY_POINT, "grade"), retryable=error.retryable)
    return replace(unscored(PYTHON.name, fault, said), full=verdict.full)


def _defines(node: ast.AST, name: str) -> bool:
    """Whether a node gives something this name."""
    match node:
        case ast.FunctionDef(name=defined) | ast.ClassDef(name=defined):
            return defined == name
        case ast.Name(id=assigned, ctx=ast.Store()):
            return assigned == name
        case ast.alias(name=imported, asname=renamed):
            return (renamed or imported) == name
    return False


def _imported(node: ast.AST) -> list[str]:
    """The modules that a node imports, by the first part of their names."""
    match node:
        case ast.Import(names=names):
            return [alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.partition(".")[0]]
    return []


_CALLED = Verdict(Outcome.PENDING, None)
"""Stands for a case that the sandbox will grade; never leaves this module."""
