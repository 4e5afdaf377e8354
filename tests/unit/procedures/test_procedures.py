# SPDX-License-Identifier: Apache-2.0

"""The procedures, as the rest of the program finds them."""

from __future__ import annotations

import ast
import pathlib
from unittest import mock

from nova_recovery import procedures
from nova_recovery.engine.plan import Plan
from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures import Procedure
from tests.base import TestCase

HERE = pathlib.Path(procedures.__file__).parent


class TestProcedures(TestCase):
    def test_each_is_found_by_the_name_that_its_plans_carry(self) -> None:
        for name in procedures.MODULES:
            found = procedures.named(name)
            self.assertIsInstance(found, Procedure)
            self.assertEqual(name, found.name)

    def test_what_a_module_exports_is_listed(self) -> None:
        exported = set()
        for path in HERE.glob('**/*.py'):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Assign) and (
                    ast.unparse(node.targets[0]) == 'PROCEDURE'
                ):
                    module = '.'.join(path.relative_to(HERE).parts)
                    exported.add(
                        module.removesuffix('.py').removesuffix('.__init__')
                    )
        self.assertEqual(set(procedures.MODULES.values()), exported)

    def test_a_plan_of_another_version_is_refused_and_shown(self) -> None:
        plan = Plan('tea', 'make tea', {}, ())
        self.assertRaisesRegex(
            RecoveryError,
            'no procedure called tea',
            procedures.check_gates,
            plan,
            mock.Mock(),
        )
        self.assertEqual([], procedures.table(plan, ())[1])
        self.assertIsNone(procedures.guard(plan, mock.Mock(), 'marker'))
