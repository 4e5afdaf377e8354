# SPDX-License-Identifier: Apache-2.0

"""Both programs, run inside the test with commands made up by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import io
import logging
from typing import Any

import fixtures

Commands = Mapping[str, type[Any]]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int
    stdout: str
    stderr: str


def run(
    test: Any, make_app: Any, prefix: str, argv: str | Sequence[str]
) -> Ended:
    """Run a program as the shell would, and return how it ended.

    :param make_app: returns the cliff application, made when the output is
        already caught
    :param prefix: what comes before the noun, ``recovery`` or nothing
    :param argv: the words after that, and global options before ``--``; in
        one string, or apart where a word has a blank in it
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        fixtures.MonkeyPatch('sys.stdout', stdout),
        fixtures.MonkeyPatch('sys.stderr', stderr),
        OwnLogging(),
    ):
        app = make_app()
        for name, command in test.commands.items():
            app.command_manager.add_command(f'{prefix}{name}', command)
        try:
            words = argv.split() if isinstance(argv, str) else argv
            code = app.run([*prefix.split(), *words])
        except SystemExit as end:
            code = end.code
    return Ended(code, stdout.getvalue(), stderr.getvalue())


class OwnLogging(fixtures.Fixture):
    """Handlers and levels that a program sets are gone afterwards."""

    def _setUp(self) -> None:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        self.addCleanup(root.setLevel, level)
        self.addCleanup(setattr, root, 'handlers', handlers)
        root.handlers = []


class Standalone:
    """Mixed into a test case: ``self.run_program`` is nova-recovery."""

    def run_program(self, argv: str) -> Ended:
        from nova_recovery import shell

        return run(self, shell.Shell, '', argv)


class UnifiedClient:
    """Mixed into a test case: ``self.run_program`` is openstack recovery."""

    def run_program(self, argv: str) -> Ended:
        from openstackclient import shell

        return run(self, shell.OpenStackShell, 'recovery ', argv)
