# SPDX-License-Identifier: Apache-2.0

"""What the check of the documentation looks for."""

from __future__ import annotations

import importlib.util
from typing import Any

from nova_recovery.cli import guide
from tests.base import TestCase
from tests.unit.test_layers import ROOT


class CodesTest(TestCase):
    def setUp(self) -> None:
        super().setUp()
        path = ROOT.parent / 'tools' / 'check_docs.py'
        spec = importlib.util.spec_from_file_location('check_docs', path)
        assert spec is not None and spec.loader is not None
        self.check_docs: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.check_docs)

    def test_a_code_without_a_hyphen_is_one_too(self) -> None:
        self.assertLessEqual({'CONFIG', 'SRV-DOWN'}, self.check_docs.codes())

    def test_the_program_tells_of_each_gate_and_code(self) -> None:
        """That it says what the pages say is for tox -e docs."""
        names = self.check_docs.names()
        self.assertEqual(set(), names - set(guide.codes()))
        for name in names:
            lines = list(guide.meaning(name, 80))
            self.assertGreater(len(lines), 2, name)
            told = [one for one in lines if not one.startswith('    ')]
            self.assertLessEqual(max(map(len, told)), 80, name)
