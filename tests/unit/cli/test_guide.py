# SPDX-License-Identifier: Apache-2.0

"""Which command when, and what is answered where there is no such command."""

from __future__ import annotations

from typing import ClassVar

from nova_recovery.cli import guide
from nova_recovery.compat import entry_points
from tests.base import TestCase
from tests.unit.cli.programs import Standalone, UnifiedClient


class StandaloneTest(Standalone, TestCase):
    commands: ClassVar[dict[str, type]] = {}

    def test_it_fits_a_terminal_and_names_the_program(self) -> None:
        ended = self.run_program('guide')
        self.assertEqual(0, ended.code, ended.stderr)
        lines = ended.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertIn('nova-recovery host recover HOST --dry-run', lines[2])
        self.assertNotIn('openstack', ended.stdout)

    def test_each_line_is_a_command(self) -> None:
        names = {
            point.name.replace('_', ' ').removeprefix('recovery ')
            for point in entry_points('openstack.recovery.v1')
        }
        for _, words in guide.WHEN:
            plain = [word for word in words.split() if word.islower()]
            name = ' '.join(w for w in plain if not w.startswith('-'))
            self.assertIn(name, names)


class UnifiedClientTest(UnifiedClient, TestCase):
    commands: ClassVar[dict[str, type]] = {}

    def test_alone(self) -> None:
        ended = self.run_program('')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('openstack recovery volume check', ended.stdout)

    def test_a_gate_and_a_code(self) -> None:
        ended = self.run_program('guide source-fenced srv-down')
        self.assertEqual(0, ended.code, ended.stderr)
        self.assertIn('source-fenced  (user guide: Gates)\n', ended.stdout)
        self.assertIn('  What it asks: Is the host off?', ended.stdout)
        self.assertIn('SRV-DOWN  (user guide: ', ended.stdout)

    def test_no_such_code(self) -> None:
        ended = self.run_program('guide source-fence')
        self.assertEqual(2, ended.code)
        self.assertIn('no gate or code "source-fence"', ended.stderr)
        self.assertIn(
            '  openstack recovery guide source-fenced\n', ended.stderr
        )

    def test_no_such_command(self) -> None:
        ended = self.run_program('volume chek')
        self.assertEqual(2, ended.code, ended.stderr)
        self.assertIn(
            'no command "openstack recovery volume chek"', ended.stderr
        )
        self.assertIn('  openstack recovery volume check\n', ended.stderr)
