# SPDX-License-Identifier: Apache-2.0

"""Each command's help has an example that works as it is printed."""

from __future__ import annotations

import inspect
import re
import shlex

from nova_recovery import shell
from nova_recovery.compat import entry_points
from tests.base import TestCase

#: A command; a line that goes on ends with a backslash, as in a shell.
_EXAMPLE = (
    r'(?:^ +|Example: )(openstack {}(?: (?:[^\\\n]|\\\n)*|$))(?:\n +(--))?'
)


class ExamplesTest(TestCase):
    def test_each_command_has_one_and_its_parser_takes_it(self) -> None:
        app = shell.Shell()
        wrong: list[str] = []
        for point in entry_points('openstack.recovery.v1'):
            name = point.name.replace('_', ' ')
            command = point.load()
            found = re.findall(
                _EXAMPLE.format(re.escape(name)),
                inspect.getdoc(command) or '',
                re.MULTILINE,
            )
            if not found and name != 'recovery':
                wrong.append(f'{name}: no example')
            parser = command(app, None, cmd_name=name).get_parser(name)
            for example, more in found:
                if more:
                    wrong.append(f'goes on without a backslash: {example}')
                line = example.replace('\\\n', ' ')
                typed = shlex.split(line)[1 + len(name.split()) :]
                try:
                    parser.parse_args(typed)
                except SystemExit:
                    wrong.append(f'not understood: {example}')
        self.assertEqual([], wrong)
