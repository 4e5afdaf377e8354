# SPDX-License-Identifier: Apache-2.0

"""Each command has its page in the reference, made from its own parser."""

from __future__ import annotations

import pathlib
import re

from nova_recovery.compat import entry_points
from tests.base import TestCase

PAGES = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'cli'
COMMAND = re.compile(
    r'\.\. autoprogram-cliff:: openstack\.recovery\.v1\n'
    r'   :command: (recovery .+)\n'
)


class ReferenceTest(TestCase):
    def test_each_command_has_a_page_of_its_name(self) -> None:
        commands = {
            point.name.replace('_', ' ')
            for point in entry_points('openstack.recovery.v1')
        } - {'recovery'}
        pages = {}
        for path in PAGES.glob('*.rst'):
            for name in COMMAND.findall(path.read_text()):
                pages[name] = path.stem
        self.assertEqual(
            {
                name: name.removeprefix('recovery ').replace(' ', '-')
                for name in commands
            },
            pages,
        )

    def test_each_page_leads_to_where_the_command_is_used(self) -> None:
        for path in PAGES.glob('*.rst'):
            if path.stem != 'index':
                linked = re.findall(':doc:`/(.*?)`', path.read_text())
                self.assertTrue(linked, path.name)
                for page in linked:
                    source = PAGES.parent / f'{page}.rst'
                    self.assertTrue(source.exists(), f'{path.name}: {page}')
