# SPDX-License-Identifier: Apache-2.0

"""Imports point one way: cli, procedures, engine and changes, cloud.

Read from the sources, so that an import inside a function counts, and one
that is only made for the sake of types as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
import dataclasses
import pathlib

import nova_recovery
from tests.base import TestCase

ROOT = pathlib.Path(nova_recovery.__file__).parent
#: What everybody may import.
COMMON = {'compat', 'exceptions', 'exit_codes', 'program', 'version'}
#: Package -> the others that it may import besides.
MAY = {
    'cli': {
        'changes', 'cloud', 'conf', 'engine', 'fleet', 'guests', 'host',
        'logs', 'procedures', 'readiness', 'report', 'snapshot',
    },
    'procedures': {
        'cloud', 'conf', 'engine', 'fencing', 'fleet', 'guests', 'host',
        'readiness', 'report', 'snapshot',
    },
    'report': {'engine'},
    'engine': set(),
    'changes': {
        'cloud', 'engine', 'fencing', 'fleet', 'guests', 'host', 'snapshot',
    },
    'readiness': {'cloud', 'engine', 'host', 'snapshot'},
    'snapshot': {'cloud', 'host'},
    'guests': {'engine'},
    'fencing': {'cloud', 'conf'},
    'fleet': {'conf', 'host'},
    'cloud': {'conf'},
    'host': set(),
    'conf': set(),
    # the program beside openstack, and the plugin in it
    'shell': {'cli', 'engine', 'logs'},
    'logs': {'cloud', 'engine', 'report'},
    'plugin': {'cli'},
    'compat': set(),
    'exceptions': set(),
    'exit_codes': set(),
    'program': set(),
    'version': set(),
}  # fmt: skip
#: Modules that need each other: a procedure names what is asked while it is
#: carried out, which checks its gates; what was started calls what it is told.
CIRCLES = [
    {'host.agent.__main__', 'host.agent.runs.work', 'host.agent.several'},
    {'procedures.disaster.procedure', 'procedures.disaster.run.before'},
]
#: It runs on hosts, where there is nothing but an old Python.
AGENT = 'nova_recovery.host.agent'


@dataclasses.dataclass(frozen=True)
class Import:
    """One name that a module imports.

    :ivar types: only where types are checked
    """

    module: str
    name: str
    line: int
    types: bool

    def __str__(self) -> str:
        how = ', for its types' if self.types else ''
        return f'{self.module}, line {self.line}: {self.name}{how}'

    @property
    def packages(self) -> tuple[str, str]:
        """Whose it is, and of whom: the parts below ``nova_recovery``."""
        own, other = (
            (name.split('.') + ['__init__'])[1]
            for name in (self.module, self.name)
        )
        return own, other


def imports() -> Iterator[Import]:
    """All that our modules import of ours."""
    for path in sorted(ROOT.rglob('*.py')):
        module = _module(path)
        tree = ast.parse(path.read_text())
        types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and _for_types(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            for name in _names(node):
                if name.split('.')[0] == ROOT.name:
                    yield Import(module, name, node.lineno, id(node) in types)


def _module(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix('').parts
    return '.'.join(parts).removesuffix('.__init__')


def _for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == 'TYPE_CHECKING'


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        # none is relative
        return [f'{node.module}.{alias.name}' for alias in node.names]
    return []


def circles() -> list[set[str]]:
    """Modules that import each other, by whatever way round."""
    further: dict[str, set[str]] = {}
    known = {_module(path) for path in ROOT.rglob('*.py')}
    for one in imports():
        name = one.name
        # what is imported is a module, or something in one
        while name not in known and '.' in name:
            name = name.rpartition('.')[0]
        further.setdefault(one.module, set()).add(name)
    reach = {module: _reached(module, further) for module in further}
    found: list[set[str]] = []
    for module in sorted(reach):
        circle = {
            other.partition('.')[2]
            for other in reach[module]
            if module in reach.get(other, ())
        }
        if len(circle) > 1 and circle not in found:
            found.append(circle)
    return found


def _reached(module: str, further: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    ahead = [module]
    while ahead:
        for name in further.get(ahead.pop(), set()) - found - {module}:
            found.add(name)
            ahead.append(name)
    if any(module in further.get(name, ()) for name in found):
        found.add(module)
    return found


class LayersTest(TestCase):
    def test_no_module_imports_itself_by_a_way_round(self) -> None:
        self.assertEqual(CIRCLES, circles())

    def test_nothing_points_back(self) -> None:
        wrong = []
        for one in imports():
            own, other = one.packages
            if own not in ('__init__', other) and (
                other not in COMMON | MAY[own]
            ):
                wrong.append(str(one))
        self.assertEqual([], wrong)

    def test_each_package_says_what_it_may_import(self) -> None:
        there = {
            path.stem
            for path in ROOT.iterdir()
            if (path.is_dir() and (path / '__init__.py').exists())
            or path.suffix == '.py'
        }
        self.assertEqual(set(), there - set(MAY) - {'__init__', '__main__'})

    def test_the_agent_needs_nothing_of_ours(self) -> None:
        outside = [
            str(one)
            for one in imports()
            if one.module.startswith(AGENT)
            and not one.name.startswith(f'{AGENT}.')
        ]
        self.assertEqual([], outside)

    def test_all_imports_are_absolute(self) -> None:
        for path in ROOT.rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    self.assertEqual(0, node.level, path)
