# SPDX-License-Identifier: Apache-2.0

"""The lists of tests on practice clouds name those that there are."""

from __future__ import annotations

import pathlib
import re

import yaml

from tests.base import TestCase

TESTS = pathlib.Path(__file__).parents[1]
FUNCTIONAL = TESTS / 'functional'
_TEST = re.compile(r'^class (\w+)|^    def (test_\w+)', re.M)


def names(folder: pathlib.Path = FUNCTIONAL) -> list[str]:
    """``module.Class`` and ``module.Class.method``, as they are written."""
    found = []
    for path in sorted(folder.rglob('test_*.py')):
        module = '.'.join(path.relative_to(folder).with_suffix('').parts)
        owner = ''
        for match in _TEST.finditer(path.read_text()):
            owner = match[1] or owner
            found.append('.'.join(filter(None, (module, owner, match[2]))))
    return found


class ProofTest(TestCase):
    def test_each_line_means_a_test(self) -> None:
        known = names()
        lines = [
            line
            for line in (FUNCTIONAL / 'proof.txt').read_text().splitlines()
            if line and not line.startswith('#')
        ]
        self.assertTrue(lines)
        for line in lines:
            self.assertTrue(any(re.search(line, one) for one in known), line)


class WorkersTest(TestCase):
    """A test that no worker has would never run."""

    def test_each_test_has_one_worker(self) -> None:
        for ring in ('integration', 'functional'):
            text = (TESTS / ring / 'workers.yaml').read_text()
            workers = [one['worker'] for one in yaml.safe_load(text)]
            known = [f'tests.{ring}.{name}' for name in names(TESTS / ring)]
            for regexes in workers:
                self.assertTrue(_of(regexes, known), regexes)
            for name in known:
                found = [
                    r for regexes in workers for r in _of(regexes, [name])
                ]
                self.assertEqual(1, len(found), f'{name}: {found}')


def _of(regexes: list[str], names: list[str]) -> list[str]:
    """What means any of these tests, once for each test."""
    return [r for r in regexes for name in names if re.search(r, name)]
