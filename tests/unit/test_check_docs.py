# SPDX-License-Identifier: Apache-2.0

"""What the check of the documentation looks for."""

from __future__ import annotations

import importlib.util

from tests.base import TestCase
from tests.unit.test_layers import ROOT


class CodesTest(TestCase):
    def test_a_code_without_a_hyphen_is_one_too(self) -> None:
        path = ROOT.parent / 'tools' / 'check_docs.py'
        spec = importlib.util.spec_from_file_location('check_docs', path)
        assert spec is not None and spec.loader is not None
        check_docs = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(check_docs)
        self.assertLessEqual({'CONFIG', 'SRV-DOWN'}, check_docs.codes())
