# SPDX-License-Identifier: Apache-2.0

"""All changes are found, each by a kind of its own."""

from __future__ import annotations

import ast
import pathlib
import subprocess  # nosec
import sys

from nova_recovery import changes
from tests.base import TestCase

FOLDER = pathlib.Path(changes.__file__).parent


class TestRegistry(TestCase):
    def test_each_kind_is_there(self) -> None:
        """As their sources have them, read without importing."""
        kinds = [
            (statement.value, node.name)
            for path in FOLDER.glob('*.py')
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ClassDef)
            for statement in node.body
            if isinstance(statement, ast.Assign)
            and ast.unparse(statement.targets[0]) == 'kind'
        ]
        found = changes.registry()
        self.assertEqual(
            sorted(name for _, name in kinds),
            sorted(type(one).__name__ for one in found.values()),
        )
        for kind, one in found.items():
            self.assertEqual(kind, one.kind)
            for method in ('describe', 'observe', 'apply', 'follow', 'revert'):
                self.assertTrue(callable(getattr(one, method)), kind)

    def test_the_kinds_stay_as_plans_and_journals_know_them(self) -> None:
        self.assertEqual(
            'arm-tombstone attach-volume bind-port change-owners '
            'claim-host claim-server clean-mappings clean-volumes '
            'close-session create-backup cut-guest define-filter '
            'drop-attachment drop-mapping evacuate-server fence-host '
            'force-down link-mapping lock-server move-allocation move-record '
            'open-session power-off-site power-on-site purge-queue '
            'reboot-guest reboot-server reconnect-volume record-relations '
            'recreate-attachment release-host release-server reset-volume '
            'restart-server restore-rules see-service see-site set-accounts '
            'set-guest set-states start-server start-services stop-guest '
            'stop-services take-snapshot '
            'unlock-server verify-owners verify-server watch-boot',
            ' '.join(sorted(changes.registry())),
        )

    def test_who_only_names_the_package_imports_no_change(self) -> None:
        code = (
            'import sys; from nova_recovery import changes; '
            'print([m for m in sys.modules if m.startswith('
            "'nova_recovery.changes.') or m == 'sqlalchemy'])"
        )
        done = subprocess.run(  # nosec
            [sys.executable, '-c', code],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.assertEqual('[]', done.stdout.strip())
