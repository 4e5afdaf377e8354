# SPDX-License-Identifier: Apache-2.0

"""The plans in the documentation have the steps that the program makes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import pathlib
import re

from tests.base import TestCase

ROOT = pathlib.Path(__file__).parents[2]
_SHOWN = re.compile(r'^ +Step +\d+  (\S.*?)(?:  .*)?$', re.MULTILINE)


def pattern(node: ast.expr, known: dict[str, str]) -> str | None:
    """A regular expression for what an expression may come to."""
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.JoinedStr):
        return ''.join(
            re.escape(str(one.value))
            if isinstance(one, ast.Constant)
            else '.+'
            for one in node.values
        )
    if isinstance(node, ast.IfExp):
        some = (pattern(one, known) for one in (node.body, node.orelse))
        return '|'.join(f'(?:{one})' for one in some if one)
    return None


def titles() -> Iterator[str]:
    """What the titles of steps match, as procedures make them."""
    for path in (ROOT / 'nova_recovery').rglob('*.py'):
        tree = ast.parse(path.read_text())
        known: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(
                node.targets[0], ast.Name
            ):
                made = pattern(node.value, known)
                if made:
                    name = node.targets[0].id
                    before = known.get(name)
                    known[name] = f'{before}|{made}' if before else made
        for node in ast.walk(tree):
            for title in _titles(node):
                made = pattern(title, known)
                if made:
                    yield made


def _titles(node: ast.AST) -> Iterator[ast.expr]:
    """The second word of a step; those of claims, which come in pairs."""
    if isinstance(node, ast.Call):
        if ast.unparse(node.func) == 'Step':
            yield from node.args[1:2]
        pairs = [*node.args, *(one.value for one in node.keywords)]
    elif isinstance(node, ast.FunctionDef):
        pairs = list(node.args.defaults)
    else:
        return
    for pair in pairs:
        if isinstance(pair, ast.Tuple) and 'give the claim' in ast.unparse(
            pair
        ):
            yield from pair.elts


class StepsTest(TestCase):
    def test_each_step_that_is_shown_is_one_that_is_made(self) -> None:
        made = [re.compile(one) for one in titles()]
        self.assertGreater(len(made), 40)
        wrong = [
            f'{path.name}: {title}'
            for path in sorted((ROOT / 'doc' / 'source').rglob('*.rst'))
            for title in _SHOWN.findall(path.read_text())
            if not any(one.fullmatch(title) for one in made)
        ]
        self.assertEqual([], wrong)
