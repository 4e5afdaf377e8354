# SPDX-License-Identifier: Apache-2.0

"""The table of gates, beside the planners and the user guide."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import pathlib
import re

from nova_recovery import procedures
from nova_recovery.procedures import gates
from tests.base import TestCase

HERE = pathlib.Path(procedures.__file__).parent
GUIDE = pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'user'
KNOWN = {one.name: set(one.classes) for one in gates.GATES}
#: What makes a gate: which of its arguments are its name and its class.
MAKERS = {'Gate': (0, 2), 'self._gate': (0, 1)}
#: Those that are always hard.
OTHERS = ('gate', 'other_way')


def made() -> Iterator[tuple[str, str, str]]:
    """Where, name and class of the gates that planners make.

    '' is what only shows when it is made.
    """
    for path in HERE.rglob('*.py'):
        tree = ast.parse(path.read_text())
        constants = {
            ast.unparse(node.targets[0]): node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
        }

        def word(node: ast.expr, known: dict = constants) -> str:
            if isinstance(node, ast.Constant):
                return str(node.value)
            return str(known.get(ast.unparse(node), ''))

        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in MAKERS:
                name, klass = (node.args[n] for n in MAKERS[called])
                yield path.name, word(name), word(klass)
            elif called.rpartition('.')[2] in OTHERS and node.args:
                klass = word(node.args[2]) if node.args[2:] else 'hard'
                yield path.name, word(node.args[0]), klass


def documented() -> dict[str, set[str]]:
    """Name -> classes, of the tables in the user guide."""
    found: dict[str, set[str]] = {}
    for path in GUIDE.glob('*.rst'):
        for row in re.findall(
            r'^   \* - ((?:``[a-z-]+``(?:, )?)+)\n(?:\n.*\n)?     - (.*)\n',
            path.read_text(),
            re.MULTILINE,
        ):
            classes = set(re.findall('hard|soft|advice', row[1]))
            if classes:
                for name in re.findall('``(.*?)``', row[0]):
                    found.setdefault(name, set()).update(classes)
    return found


class TableTest(TestCase):
    def test_what_planners_ask_is_in_it(self) -> None:
        for where, name, klass in made():
            if name:
                self.assertIn(name, KNOWN, where)
                self.assertIn(klass, KNOWN[name] | {''}, f'{where}: {name}')

    def test_what_is_in_it_is_asked(self) -> None:
        source = (
            '\n'.join(
                path.read_text()
                for path in HERE.rglob('*.py')
                if path.name != 'gates.py' or path.parent != HERE
            )
            + (HERE / 'gates.py')
            .read_text()
            .split('GATES = (')[1]
            .split('\n)\n')[1]
        )
        for name in KNOWN:
            self.assertIn(f"'{name}'", source)

    def test_each_class_is_made_somewhere(self) -> None:
        seen: dict[str, set[str]] = {}
        for _, name, klass in made():
            seen.setdefault(name, set()).add(klass)
        for name, classes in KNOWN.items():
            if name in seen and '' not in seen[name]:
                self.assertEqual(seen[name], classes, name)

    def test_it_is_in_order_and_each_once(self) -> None:
        names = [one.name for one in gates.GATES]
        self.assertEqual(sorted(set(names)), names)

    def test_the_user_guide_lists_each_with_its_class(self) -> None:
        self.assertEqual(KNOWN, documented())
