# SPDX-License-Identifier: Apache-2.0

"""What the pages for a bad night say is so."""

from __future__ import annotations

import pathlib
import re
import shlex

from nova_recovery import shell
from nova_recovery.compat import entry_points
from nova_recovery.procedures import gates
from tests.base import TestCase

USER = pathlib.Path(__file__).parents[3] / 'doc/source/user'


class PagesTest(TestCase):
    PAGES = ('three-in-the-morning', 'symptoms')

    def test_their_commands(self) -> None:
        app = shell.Shell()
        known = {
            point.name.replace('_', ' ').partition(' ')[2]: point
            for point in entry_points('openstack.recovery.v1')
        }
        wrong, seen = [], 0
        for page in self.PAGES:
            text = (USER / f'{page}.rst').read_text()
            for found in re.findall('``openstack recovery ([^`]+)``', text):
                seen += 1
                words = shlex.split(found)
                name = max(
                    (
                        name
                        for n in range(1, len(words) + 1)
                        if (name := ' '.join(words[:n])) in known
                    ),
                    default='',
                    key=len,
                )
                if not name:
                    wrong.append(f'{page}: no command: {found}')
                    continue
                command = known[name].load()
                parser = command(app, None, cmd_name=name).get_parser(name)
                try:
                    parser.parse_args(words[len(name.split()) :])
                except SystemExit:
                    wrong.append(f'{page}: not understood: {found}')
        self.assertEqual([], wrong)
        self.assertGreater(seen, 12)

    def test_their_gates(self) -> None:
        text = (USER / 'symptoms.rst').read_text()
        named = set(re.findall(r'``([a-z]+-[a-z-]+)``', text))
        self.assertIn('source-fenced', named)
        there = {gate.name for gate in gates.GATES} | {
            'in-use',
            'powering-off',
        }
        self.assertEqual(set(), named - there)
