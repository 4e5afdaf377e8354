# SPDX-License-Identifier: Apache-2.0

"""Each command's help has an example that works as it is printed."""

from __future__ import annotations

import inspect
import io
import re
import shlex

from nova_recovery import exit_codes, shell
from nova_recovery.cli import base
from nova_recovery.compat import entry_points
from tests.base import TestCase


class ExamplesTest(TestCase):
    def test_each_command_has_one_and_its_parser_takes_it(self) -> None:
        app = shell.Shell()
        wrong: list[str] = []
        for point in entry_points('openstack.recovery.v1'):
            name = point.name.replace('_', ' ')
            command = point.load()
            found = base.examples(command, name)
            if not found and name != 'recovery':
                wrong.append(f'{name}: no example')
            # a line of options without a backslash before it
            if re.search(
                r'^ +openstack .*[^\\\n]\n +--\w',
                inspect.getdoc(command) or '',
                re.MULTILINE,
            ):
                wrong.append(f'{name}: goes on without a backslash')
            parser = command(app, None, cmd_name=name).get_parser(name)
            for example in found:
                typed = shlex.split(example)[1 + len(name.split()) :]
                try:
                    parser.parse_args(typed)
                except SystemExit:
                    wrong.append(f'not understood: {example}')
        self.assertEqual([], wrong)


class WrongTest(TestCase):
    """Words that are wrong: what is, what is right, an example."""

    def said(self, *words: str) -> list[str]:
        app = shell.Shell()
        app.stderr = io.StringIO()
        try:
            code = app.run(list(words))
        except SystemExit as end:
            code = int(str(end.code))
        self.assertEqual(exit_codes.USAGE, code)
        return app.stderr.getvalue().splitlines()

    def test_what_the_parser_refuses(self) -> None:
        self.assertEqual(
            [
                'the following arguments are required: --host',
                'for example: nova-recovery server adopt at3-ui07 --host '
                'np-rcc46 --seen-running "virsh list on np-rcc46" --fenced '
                '"PDU port 14 is off"',
                'all of it: nova-recovery server adopt --help',
            ],
            self.said('server', 'adopt', 'at3-ui07'),
        )

    def test_what_the_command_refuses(self) -> None:
        told = self.said('server', 'set', 'at3-ui02')
        self.assertEqual(
            'for example: nova-recovery server set at3-ui02 --vm-state '
            'stopped',
            told[-1],
        )
        for words, right in (
            (['guest', 'stop', 'web1', '--host', 'h'], 'virsh list --uuid'),
            (
                ['guest', 'set', 'g', '--host', 'h', '--vnc-listen', 'no/t'],
                'such as 10.0.0.11',
            ),
        ):
            told = self.said(*words)
            self.assertIn(right, ' '.join(told))
            self.assertTrue(told[-1].startswith('for example: '), told)
