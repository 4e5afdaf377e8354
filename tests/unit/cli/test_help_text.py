# SPDX-License-Identifier: Apache-2.0

"""What --help says can be read, and its examples copied."""

from __future__ import annotations

import argparse

from nova_recovery.cli.base import Help
from tests.base import TestCase

EXAMPLE = (
    '    openstack recovery server recover at3-ui02 --target-host np-rcc46 '
    '--fenced "PDU port 14 is off"'
)


class TestHelp(TestCase):
    def text(self, description: str) -> str:
        return argparse.ArgumentParser(
            description=description, formatter_class=Help
        ).format_help()

    def test_an_example_stays_one_line_however_long(self) -> None:
        text = self.text(f'Like this::\n\n{EXAMPLE}')
        self.assertIn(f'Like this:\n\n{EXAMPLE}\n', text)

    def test_paragraphs_stay_apart_and_are_filled(self) -> None:
        text = self.text('One\nthing.\n\nAnother.')
        self.assertIn('One thing.\n\nAnother.', text)

    def test_an_option_is_not_divided_at_its_hyphen(self) -> None:
        for pad in range(50, 75):
            words = 'x ' * (pad // 2) + '--target-host and more'
            self.assertIn('--target-host', self.text(words))
