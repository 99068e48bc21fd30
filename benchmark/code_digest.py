"""Identify the code of a method by what runs, wherever it was typed: a file, a script, a notebook or a REPL.

A function is identified by its bytecode, constants, defaults, closure and the global values that it reads, and so
are the functions, classes and modules among these. Other values count by content. Code of libraries counts by
name, because a result records their versions. The files of the user's modules count as well, for what is only
looked up by name, e.g. with `getattr`.
"""

from __future__ import annotations

import dis
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from types import (
    CellType,
    CodeType,
    EllipsisType,
    FunctionType,
    MappingProxyType,
    ModuleType,
    NoneType,
)
from typing import Any

_LIBRARIES = {"fdrd", "benchmark", "baselines", "dcar", *sys.stdlib_module_names}
_PLAIN = {int, float, complex, bool, str, bytes, NoneType, EllipsisType}
_DERIVED = {
    *("__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "_abc_impl"),
}
"""Attributes of a class that hold nothing of its body that runs, or no stable value."""
_HEAP_TYPE = 1 << 9
"""Flag of the types that Python code defines."""

_LRU_CACHE = type(lru_cache(len))
_UNASSIGNED = CellType()


class NoIdentityError(Exception):
    """A value cannot be compared with that of another session, e.g. a lock: its type, and its name if there is one."""

    def __init__(self, kind: str, name: str = ""):
        super().__init__(f"{name}, a value of type {kind}" if name else f"a value of type {kind}")
        self.kind, self.name = kind, name


def code_digest(factory: Callable[..., Any]) -> str:
    """Return the digest of a function or class, and of the user's code and values that it refers to.

    Raises:
        NoIdentityError: it refers to a value without a stable content.
    """
    walk = _Walk(str(factory.__module__).partition(".")[0])
    try:
        digest = hashlib.sha256(walk.digest(factory))
    except RecursionError:
        raise NoIdentityError("with deep nesting") from None
    for file in walk.files():
        digest.update(file)
    return digest.hexdigest()


class _Walk:
    """Visits the values that a method refers to, each once.

    Args:
        package: of the method; its code is the user's even if it is installed.
    """

    def __init__(self, package: str):
        self._package = package
        self._known: dict[tuple[int, frozenset[str]], tuple[Any, bytes]] = {}  # keeps ids alive
        self._above: list[int] = []
        self._modules: set[str] = set()

    def digest(self, value: Any, names: frozenset[str] = frozenset()) -> bytes:
        """Return the digest of a value; of a module, only what has one of these names."""
        if type(value) in _PLAIN:
            return _hashed([type(value).__name__.encode(), repr(value).encode("utf-8", "replace")])
        if id(value) in self._above:  # by depth, which a repeated run shares
            return f"above {self._above.index(id(value))}".encode()
        key = id(value), names if isinstance(value, ModuleType) else frozenset[str]()
        if key not in self._known:
            self._above.append(id(value))
            try:
                self._known[key] = value, _hashed(self._parts(value, names))
            finally:
                self._above.pop()
        return self._known[key][1]

    def files(self) -> Iterator[bytes]:
        """Yield the files of the visited user modules, and of those that they import."""
        waiting, files = [*self._modules], dict[str, Path]()
        while waiting:
            name = waiting.pop()
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None)
            if name in files or self._is_library(name) or not file:
                continue
            files[name] = Path(file)
            for value in list(vars(module).values()):
                is_module = isinstance(value, ModuleType)
                found = getattr(value, "__name__" if is_module else "__module__", None)
                waiting += [found] if isinstance(found, str) else []
        return (file.read_bytes() for _, file in sorted(files.items()) if file.is_file())

    def _parts(self, value: Any, names: frozenset[str]) -> Iterator[bytes]:
        kind = type(value)
        yield kind.__qualname__.encode()
        if isinstance(value, CodeType):
            yield from self._code(value)
        elif isinstance(value, FunctionType | type) and self._is_of_library(value):
            yield f"{value.__module__}.{value.__qualname__}".encode()
        elif isinstance(value, FunctionType):
            yield from self._function(value)
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, ModuleType):
            yield from self._module(value, names)
        elif kind in (tuple, list):
            yield from map(self.digest, value)
        elif kind in (dict, MappingProxyType):
            yield from (self.digest(part) for pair in dict(value).items() for part in pair)
        elif kind in (set, frozenset):
            yield from sorted(map(self.digest, value))
        elif isinstance(value, property):
            yield from map(self.digest, (value.fget, value.fset, value.fdel))
        elif isinstance(value, cached_property):
            yield self.digest(value.func)
        elif isinstance(value, staticmethod | classmethod | _LRU_CACHE):
            yield self.digest(value.__wrapped__)
        elif (torch := sys.modules.get("torch")) and isinstance(value, torch.Tensor):
            yield from _tensor(value, torch)
        else:
            yield from self._reduced(value)

    def _code(self, code: CodeType) -> Iterator[bytes]:
        yield code.co_code
        yield getattr(code, "co_exceptiontable", b"")
        names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
        yield repr((names, counts)).encode()
        yield from map(self.digest, code.co_consts)

    def _function(self, function: FunctionType) -> Iterator[bytes]:
        yield self.digest(function.__code__)
        yield self.digest((function.__defaults__, function.__kwdefaults__, vars(function)))
        free = function.__code__.co_freevars
        for cell, name in zip(function.__closure__ or (), free, strict=True):
            if cell != _UNASSIGNED:
                yield self._called(name, cell.cell_contents)
        home = function.__globals__
        owner = str(home.get("__name__", ""))
        in_module = vars(sys.modules[owner]) is home if owner in sys.modules else False
        if in_module and self._is_library(owner):
            return
        if in_module:
            self._modules.add(owner)
        names = frozenset(n for code in _codes_in(function.__code__) for n in code.co_names)
        for name in sorted(_globals_of(function.__code__) & home.keys()):
            yield self._called(name, home[name], names)
        for imported in _imports_of(function.__code__, str(home.get("__package__") or "")):
            module = None
            with suppress(Exception):  # an optional import, or it fails in the method, too
                module = None if self._is_library(imported) else importlib.import_module(imported)
            if module is not None:
                yield self._called(imported, module, names)

    def _class(self, cls: type) -> Iterator[bytes]:
        if _resolved(cls.__module__, cls.__qualname__) is cls:
            self._modules.add(cls.__module__)
        yield self.digest((type(cls), cls.__bases__))
        for name, value in vars(cls).items():
            if name not in _DERIVED:
                yield name.encode()
                yield self._called(f"{cls.__name__}.{name}", value)

    def _module(self, module: ModuleType, names: frozenset[str]) -> Iterator[bytes]:
        yield module.__name__.encode()
        if self._is_library(module.__name__):
            return
        self._modules.add(module.__name__)
        for name in sorted(names & vars(module).keys()):
            yield name.encode()
            yield self._called(f"{module.__name__}.{name}", vars(module)[name], names)

    def _reduced(self, value: Any) -> Iterator[bytes]:
        """Yield what `copy` and `pickle` would rebuild an object from; nothing is pickled."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # a lock, a generator, an open file, ...
            raise NoIdentityError(type(value).__qualname__) from None
        if isinstance(parts, str):
            yield f"{type(value).__module__} {parts}".encode()
            return
        for part in parts:
            yield self.digest(list(part) if isinstance(part, Iterator) else part)

    def _called(self, name: str, value: Any, names: frozenset[str] = frozenset()) -> bytes:
        """Return the digest of a value, and name the value if it has none."""
        try:
            return _hashed([name.encode(), self.digest(value, names)])
        except NoIdentityError as error:
            raise NoIdentityError(error.kind, error.name or name) from None

    def _is_of_library(self, value: FunctionType | type) -> bool:
        """Return whether the name of a function or class stands for its content."""
        if isinstance(value, type) and not value.__flags__ & _HEAP_TYPE:
            return True
        module = str(value.__module__)
        return self._is_library(module) and _resolved(module, value.__qualname__) is value

    def _is_library(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in ("__main__", self._package):
            return False
        if top in _LIBRARIES:
            return True
        file = getattr(sys.modules.get(name), "__file__", None)
        with suppress(ImportError, ValueError):  # not importable, or without a specification
            spec = None if file else importlib.util.find_spec(top)
            file = spec.origin if spec else file
        return bool({"site-packages", "dist-packages"} & {*Path(file or "").parts})


def _hashed(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _tensor(tensor: Any, torch: ModuleType) -> Iterator[bytes]:
    try:
        plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        yield f"{tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}".encode()
        yield plain.numpy().tobytes()
    except (RuntimeError, TypeError):  # sparse, on `meta`, ...
        raise NoIdentityError(f"{tensor.layout} tensor") from None


def _resolved(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _globals_of(code: CodeType) -> set[str]:
    """Return the names that code reads as globals; attributes may have the same names."""
    return {
        step.argval
        for each in _codes_in(code)
        for step in dis.get_instructions(each)
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    }


def _imports_of(code: CodeType, package: str) -> Iterator[str]:
    """Yield the names of the modules that a function imports when it runs."""
    for each in _codes_in(code):
        steps = list(dis.get_instructions(each))
        for level, step in zip(steps, steps[2:], strict=False):
            if step.opname == "IMPORT_NAME":
                with suppress(ImportError):  # relative, outside of a package
                    name = "." * (level.argval or 0) + step.argval
                    yield importlib.util.resolve_name(name, package)
