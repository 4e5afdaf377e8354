# SPDX-License-Identifier: Apache-2.0

"""Each scenario folder: what was and is, and what is told of it.

``situation.yaml`` is as in ``situations``; ``findings.txt`` is what an
operator reads. See ``tests.unit.golden`` for how it is written anew.
"""

from __future__ import annotations

import pathlib

import yaml

from nova_recovery.engine.findings import Assessment
from nova_recovery.procedures.disaster.judge import assess, findings, wanted
from nova_recovery.procedures.disaster.look import hosts
from tests.base import TestCase
from tests.unit import golden
from tests.unit.procedures.disaster import situations

FOLDERS = pathlib.Path(__file__).parents[3] / 'scenarios' / 'disaster-assess'
#: The table of the user guide.
GUIDE = (
    pathlib.Path(__file__).parents[4] / 'doc/source/user/disaster-assess.rst'
)


def load(folder: pathlib.Path) -> Assessment:
    given = yaml.safe_load((folder / 'situation.yaml').read_text())
    found = situations.make(**given)
    answer = wanted.wanted(found)
    some = findings.findings(found, answer)
    return assess.told(found, answer, findings.sort(some))


def shown(result: Assessment) -> str:
    lines = [*result.summary, '']
    for one in result.findings:
        name = f' ({one.label})' if one.label else ''
        lines += [
            f'{one.code}  {one.severity}  {one.subject}{name}',
            f'  {one.cause}',
        ]
        if one.fix:
            lines.append(f'  $ {one.fix}')
    return '\n'.join(lines) + '\n'


class ScenarioTest(TestCase):
    """One test for each folder; they are added below."""

    def check(self, folder: pathlib.Path) -> None:
        result = load(folder)
        golden.compare(self, folder / 'findings.txt', shown(result))
        keys = [findings.same(one) for one in result.findings]
        self.assertEqual(sorted(set(keys)), sorted(keys))
        documented = GUIDE.read_text()
        for one in result.findings:
            if not one.code.startswith('VOL-') or one.code == 'VOL-UNMAPPED':
                self.assertIn(f'``{one.code}``', documented)


class SerialsTest(TestCase):
    def test_of_disks_that_have_one(self) -> None:
        xml = """
        <domain><devices>
          <disk><source dev='/dev/sdb'/><serial> v-1 </serial></disk>
          <disk><source file='/x'/></disk>
          <disk><serial></serial></disk>
          <disk><serial>v-2</serial></disk>
        </devices></domain>
        """
        self.assertEqual({'v-1', 'v-2'}, hosts.serials(xml))

    def test_of_no_xml(self) -> None:
        for text in (None, '', '<domain', 'ø'):
            self.assertEqual(frozenset(), hosts.serials(text))


def _add_tests() -> None:
    for folder in sorted(FOLDERS.iterdir()):

        def test(self: ScenarioTest, folder: pathlib.Path = folder) -> None:
            self.check(folder)

        test.__doc__ = None
        setattr(ScenarioTest, f'test_{folder.name}', test)


_add_tests()
