# SPDX-License-Identifier: Apache-2.0

"""The lists of tests on practice clouds name those that there are."""

from __future__ import annotations

import pathlib
import re

import yaml

from tests.base import TestCase

FUNCTIONAL = pathlib.Path(__file__).parents[1] / 'functional'
_TEST = re.compile(r'^class (\w+)|^    def (test_\w+)', re.M)


def names() -> list[str]:
    """``module.Class`` and ``module.Class.method``, as they are written."""
    found = []
    for path in sorted(FUNCTIONAL.glob('test_*.py')):
        owner = ''
        for match in _TEST.finditer(path.read_text()):
            owner = match[1] or owner
            found.append('.'.join(filter(None, (path.stem, owner, match[2]))))
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
        text = (FUNCTIONAL / 'workers.yaml').read_text()
        given = [
            regex for one in yaml.safe_load(text) for regex in one['worker']
        ]
        for name in names():
            test = f'tests.functional.{name}'
            found = [regex for regex in given if re.search(regex, test)]
            self.assertEqual(1, len(found), f'{name}: {found}')
