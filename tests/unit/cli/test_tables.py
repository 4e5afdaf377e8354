# SPDX-License-Identifier: Apache-2.0

"""Tables on terminals of 80 and 120 columns; ``golden/`` has the screens."""

from __future__ import annotations

import argparse
import fcntl
import os
import pathlib
import pty
import re
import struct
import termios
from typing import Any

from nova_recovery.cli import tables
from tests.base import TestCase
from tests.unit import golden

GOLDEN = pathlib.Path(__file__).parent / 'golden'
COLUMNS = ('Code', 'Severity', 'Subject', 'Name', 'Project', 'Cause', 'Fix')


def uuid(number: int) -> str:
    return f'9620e5{number:02}-e1d7-42b8-9a7e-b9b72277dd7d'


ROWS = [
    (
        'SRV-DOWN',
        'stale',
        f'server:{uuid(number)}',
        f'customer-web-at3-ui{number:02}',
        None,
        'it is active; nova-compute on host1 is forced down, so nothing is '
        'sent there',
        'openstack recovery disaster status --host host1',
    )
    for number in range(1, 4)
]


class Screen:
    """A terminal of so many columns."""

    def __init__(self, columns: int) -> None:
        self._ours, theirs = pty.openpty()
        size = struct.pack('HHHH', 50, columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        self.stream = open(theirs, 'w')

    def text(self) -> str:
        """What is on it, without colours; it is closed then."""
        self.stream.close()
        seen = b''
        while True:
            try:
                seen += os.read(self._ours, 65536)
            except OSError:  # EIO: all was read
                os.close(self._ours)
                break
        plain = re.sub('\x1b\\[[0-9;?]*[A-Za-z]', '', seen.decode())
        return '\n'.join(line.rstrip() for line in plain.split('\n'))


class FieldsTest(TestCase):
    """What one thing has, on a terminal."""

    def test_nothing_is_divided_and_what_is_empty_is_left_out(self) -> None:
        path = f'/srv/{"x" * 70}/2026-03-01T14-42-50Z.snapshot'
        command = (
            'openstack recovery run show 3fb04a53 --all --somewhat-longer'
        )
        screen = Screen(60)
        tables.show_fields(
            ('File', 'Rows', 'Deleted', 'Next'),
            (path, 104, '', f'it is late; {"see " * 20}\n{command}'),
            screen.stream,
        )
        lines = screen.text().splitlines()
        self.assertEqual([f'File  {path}', 'Rows  104'], lines[:2])
        self.assertEqual(f'      {command}', lines[-1])
        self.assertTrue(lines[2].startswith('Next  it is late; see'))
        for line in lines[2:-1]:
            self.assertLessEqual(len(line), 60)


class ShowTest(TestCase):
    def shown(
        self, width: int, rows: Any = ROWS, short: tuple[str, ...] = ()
    ) -> str:
        screen = Screen(width)
        tables.show(COLUMNS, rows, short, screen.stream)
        text = screen.text()
        for line in text.splitlines():
            if not line.startswith(('openstack', '#')):
                self.assertLessEqual(len(line), width)
        return text

    def test_at_80_columns_prose_is_below_its_row(self) -> None:
        golden.compare(self, GOLDEN / 'table_80.txt', self.shown(80))

    def test_at_120_columns_it_is_beside(self) -> None:
        golden.compare(self, GOLDEN / 'table_120.txt', self.shown(120))

    def test_a_command_is_whole_and_told_once(self) -> None:
        command = 'openstack recovery ' + 'volume attach ' * 20
        rows = [(*row[:6], command) for row in ROWS]
        lines = self.shown(80, rows).splitlines()
        self.assertEqual(
            ['# SRV-DOWN customer-web-at3-ui01 and 2 more', command.rstrip()],
            lines[-2:],
        )

    def test_ids_are_as_long_as_they_must_be(self) -> None:
        twin = uuid(1).replace('b9b7', 'b9b8')
        rows = [
            ('A', '', f'server:{one}', '', '', '', '')
            for one in (uuid(1), twin, uuid(2))
        ]
        self.assertEqual(
            ['Code  Subject']
            + [
                f'A     server:{one}'
                for one in (uuid(1), twin, uuid(2)[: tables.wording.SHORT])
            ],
            self.shown(80, rows).splitlines(),
        )

    def test_only_what_is_worth_its_room(self) -> None:
        self.assertEqual(
            ['Code      Name']
            + [f'SRV-DOWN  customer-web-at3-ui0{n}' for n in (1, 2, 3)],
            self.shown(80, short=('Code', 'Name')).splitlines()[:4],
        )

    def test_nothing_of_nothing(self) -> None:
        self.assertEqual('', self.shown(80, []))


class WantedTest(TestCase):
    def wanted(self, terminal: bool = True, **given: Any) -> bool:
        parsed = argparse.Namespace(
            formatter='table',
            long=False,
            columns=[],
            fit_width=False,
            max_width=0,
        )
        vars(parsed).update(given)
        stream = argparse.Namespace(isatty=lambda: terminal)
        return tables.wanted(parsed, stream)

    def test_on_a_terminal_that_nothing_was_said_about(self) -> None:
        self.assertTrue(self.wanted())

    def test_all_is_shown_where_it_was_asked_for(self) -> None:
        self.assertFalse(self.wanted(terminal=False))
        for given in (
            {'formatter': 'json'},
            {'long': True},
            {'columns': ['Name']},
            {'fit_width': True},
            {'max_width': 80},
        ):
            self.assertFalse(self.wanted(**given), given)
