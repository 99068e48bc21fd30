"""What a method declares about itself, read from the source of its module, because importing torch takes seconds."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import Any

from fdrd.errors import FdrdError
from fdrd.options import RESERVED, Option, documented, options_of

_OWN = ("benchmark", "baselines", "dcar")
"""Packages whose names are read from their source; those of others are imported."""


@dataclass(frozen=True)
class Declaration:
    """What a method says about itself, before it is built.

    Attributes:
        argument: argument of `benchmark.registry.method` with this name; None if it is left out.
        signature: options in the signature of the factory.
        parameters: names of the parameters of the factory.
        module: name of the module of the factory.
        text: docstring of the factory.
        notes: docstring of its module.
    """

    argument: Callable[[str], Any]
    signature: Callable[[], dict[str, Option]]
    parameters: frozenset[str]
    module: str
    text: str
    notes: str

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.text.partition("\n")[0]

    @cached_property
    def options(self) -> dict[str, Option]:
        """The options of the method."""
        make = self.argument("options")
        options = options_of(make) if make else self.signature()
        shared = usual(self.module.rpartition(".")[0])
        return {k: replace(each, doc=each.doc or shared.get(k, "")) for k, each in options.items()}


@cache
def usual(package: str) -> dict[str, str]:
    """Return the texts of arguments that several methods of a package have, and that these need not document."""
    return documented(inspect.getdoc(importlib.import_module(package)) or "") if package else {}


@cache
def declaration(module: str, name: str) -> Declaration:
    """Return what a module declares of a method. Values are read when they are asked for."""
    names = _names(module)
    for node in (each for each in names.tree.body if isinstance(each, ast.FunctionDef)):
        for decorator in node.decorator_list:
            match decorator:
                case ast.Call(func=ast.Name(id="method"), args=[ast.Constant(value=value)]):
                    if value == name:
                        arguments = {each.arg: each.value for each in decorator.keywords}
                        return _declared(node, arguments, names)
    raise LookupError(f"{module} declares no method {name}")


def _declared(
    node: ast.FunctionDef, arguments: Mapping[str | None, ast.expr], names: _Names
) -> Declaration:
    listed, text = node.args, ast.get_docstring(node) or ""

    def options() -> dict[str, Option]:
        found, lines = {}, documented(text)
        for each, default in zip(listed.kwonlyargs, listed.kw_defaults, strict=True):
            if default is not None and each.arg not in RESERVED:
                kind, value = names.value(each.annotation), names.value(default)
                found[each.arg] = Option(each.arg, kind, value, lines.get(each.arg, ""))
        return found

    return Declaration(
        lambda key: names.value(arguments[key]) if key in arguments else None,
        options,
        frozenset(e.arg for e in (*listed.args, *listed.kwonlyargs, listed.kwarg) if e),
        names.module,
        text,
        ast.get_docstring(names.tree) or "",
    )


class _Names(dict[str, Any]):
    """The names of a module, each evaluated from its source when it is first used. A class is imported."""

    def __init__(self, module: str):
        super().__init__()
        spec = find_spec(module)
        source = spec.loader.get_source(module) if spec and spec.loader else None  # type: ignore[attr-defined]
        if source is None:
            raise FdrdError(
                f"the source of {module} is missing; install fdrd again, with its sources"
            )
        self.module, self.tree = module, ast.parse(source)
        self.read: dict[str, Callable[[], Any]] = {}
        for node in self.tree.body:
            for statement in node.body if isinstance(node, ast.If) else (node,):
                self._bind(statement)

    def _bind(self, node: ast.stmt) -> None:
        """Note how the names that a statement binds are read."""
        match node:
            case ast.ImportFrom(module=str(module), names=aliases):
                for each in aliases:
                    self.read[each.asname or each.name] = partial(_imported, module, each.name)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for target, value in zip(names, values, strict=True):
                    self.read[target.id] = partial(self.value, value)  # type: ignore[attr-defined]
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.read[name] = partial(self.value, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self.read[name] = partial(self.value, value)
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                self.read[name] = lambda: getattr(importlib.import_module(self.module), name)

    def __missing__(self, name: str) -> Any:
        value = self[name] = self.read[name]()
        return value

    def value(self, expression: ast.expr | None) -> Any:
        """Return the value of an expression of the module."""
        assert expression is not None
        code = compile(ast.Expression(expression), self.module, "eval")
        return eval(code, {"__builtins__": builtins}, self)


def _imported(module: str, name: str) -> Any:
    if module.partition(".")[0] in _OWN:
        return _names(module)[name]
    return getattr(importlib.import_module(module), name)


_names = cache(_Names)
