# SPDX-License-Identifier: Apache-2.0

"""The agent runs with a host's Python, whichever that is."""

from __future__ import annotations

import ast
import pathlib
import sys

import nova_recovery.host.agent
from tests import base as tests_base
from tests.integration.agent import base, pythons, trees

AGENT = pathlib.Path(nova_recovery.host.agent.__file__).parent

#: Of the standard library what 3.6 has not, and what 3.13 has no more.
NEWER = {'contextvars', 'dataclasses', 'graphlib', 'tomllib', 'zoneinfo'}
GONE = {'asynchat', 'asyncore', 'cgi', 'crypt', 'distutils', 'imp', 'pipes'}
#: Names that came after 3.6, as they are written: (of what, name).
YOUNGER = {
    ('os', 'memfd_create'),
    ('os', 'posix_spawn'),
    ('os', 'sched_getaffinity_np'),
    ('shlex', 'join'),
    ('math', 'prod'),
    ('functools', 'cache'),
    ('functools', 'cached_property'),
    ('subprocess', 'text'),
    ('time', 'time_ns'),
    ('time', 'clock_gettime_ns'),
    ('typing', 'Final'),
    ('typing', 'Literal'),
    ('typing', 'NoReturn'),
    ('typing', 'Protocol'),
    ('typing', 'TypedDict'),
    ('gc', 'freeze'),
}


class EachPython(base.AgentTest):
    """3.6 to 3.13 where they are there."""

    pairs = trees.CHAIN

    def test_there_and_back(self) -> None:
        self.build()
        for python in pythons.found():
            for action in ('show', 'change', 'verify'):
                code = self.agent(action, python=python)
                self.assertEqual(0, code, (python, self.lines))
            self.assert_changed()
            code = self.agent('undo', python=python)
            self.assertEqual(0, code, (python, self.lines))
            self.assert_as_before()


class Syntax(tests_base.TestCase):
    """Stands in where only one Python is there; wants nothing but itself."""

    def sources(self) -> dict[pathlib.Path, ast.Module]:
        package = AGENT.parents[1]
        paths = [package / '__init__.py', package / 'host' / '__init__.py']
        paths += sorted(AGENT.rglob('*.py'))
        return {
            path: ast.parse(
                path.read_text(), str(path), feature_version=(3, 6)
            )
            for path in paths
        }

    def test_syntax_of_3_6(self) -> None:
        for path, tree in self.sources().items():
            for node in ast.walk(tree):
                # what feature_version lets through
                self.assertNotIsInstance(node, ast.NamedExpr, path)
                if isinstance(node, ast.arguments):
                    self.assertEqual([], node.posonlyargs, path)
                if isinstance(node, ast.ImportFrom):
                    self.assertNotEqual('__future__', node.module, path)

    def test_the_standard_library_and_the_agent_itself(self) -> None:
        mine = 'nova_recovery.host.agent'
        for path, tree in self.sources().items():
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or '']
                for name in names:
                    if name == mine or name.startswith(mine + '.'):
                        continue
                    top = name.split('.')[0]
                    self.assertIn(top, sys.stdlib_module_names, path)
                    self.assertNotIn(top, NEWER | GONE, path)

    def test_nothing_that_came_later(self) -> None:
        for path, tree in self.sources().items():
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(
                    node.value, ast.Name
                ):
                    used = node.value.id, node.attr
                    self.assertNotIn(used, YOUNGER, path)
                if isinstance(node, ast.Call):
                    words = {word.arg for word in node.keywords}
                    self.assertFalse(
                        words & {'capture_output', 'strict'}, path
                    )
