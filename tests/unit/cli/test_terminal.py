# SPDX-License-Identifier: Apache-2.0

"""An operator at a terminal: asked, shown how far it is, told what came."""

from __future__ import annotations

import os
import pty
import re
import threading

import fixtures

from nova_recovery import exit_codes
from nova_recovery.compat import pairs
from nova_recovery.shell import Shell
from tests.unit import plans
from tests.unit.cli.programs import OwnLogging
from tests.unit.cli.runs import RecoverHost, RunsTestCase


class Terminal(fixtures.Fixture):
    """A pseudo-terminal as stdin and stderr, at which somebody types.

    :param typed: what is typed when ``question`` is on the screen, one after
        the other for each time that it is asked
    :param before: what is typed before anything is asked
    """

    def __init__(self, question: str, *typed: str, before: str = '') -> None:
        self._question = question.encode()
        self._typed = [one.encode() for one in typed]
        self._before = before.encode()
        self._seen = b''

    def _setUp(self) -> None:
        self._ours, theirs = pty.openpty()
        os.write(self._ours, self._before)
        self._theirs = [open(theirs), open(os.dup(theirs), 'w')]
        for name, stream in pairs(('sys.stdin', 'sys.stderr'), self._theirs):
            self.useFixture(fixtures.MonkeyPatch(name, stream))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.addCleanup(self.text)

    def _read(self) -> None:
        answers = iter(self._typed)
        asked = 0
        with open(self._ours, 'wb', buffering=0, closefd=True) as keyboard:
            while True:
                try:
                    self._seen += os.read(self._ours, 65536)
                except OSError:  # EIO: the program has closed it
                    return
                if self._seen.count(self._question) > asked:
                    asked += 1
                    keyboard.write(next(answers))

    def text(self) -> str:
        """All that was on the screen, once the program is over."""
        for stream in self._theirs:
            stream.close()
        self._reader.join()
        return self._seen.decode()


class TerminalTest(RunsTestCase):
    def at_terminal(
        self, question: str, *typed: str, before: str = ''
    ) -> tuple[int, str]:
        """Recover a host; the exit code and what was on the screen."""
        for name, value in (('TERM', 'xterm'), ('COLUMNS', '100')):
            self.useFixture(fixtures.EnvironmentVariable(name, value))
        with (
            OwnLogging(),
            Terminal(question, *typed, before=before) as terminal,
        ):
            app = Shell()
            app.command_manager.add_command('host recover', RecoverHost)
            code = app.run(
                ['host', 'recover', '--recovery-config-file', str(self.conf)]
            )
            text = terminal.text()
        return code, re.sub('\x1b\\[[0-9;?]*[A-Za-z]', '', text)

    def test_yes_is_typed_and_it_is_done(self) -> None:
        code, seen = self.at_terminal('Type "yes"', 'yes\n')
        self.assertEqual(0, code, seen)
        self.assertLess(seen.index('Gates'), seen.index('Type "yes"'))
        self.assertRegex(seen, r'done +at3-ui02  move: moved to np-rcc46')
        self.assertIn('done: 3 done.', seen)

    def test_a_large_plan_wants_its_number(self) -> None:
        self.plan = plans.make(100)
        code, seen = self.at_terminal('Type the number', '101\n')
        self.assertEqual(0, code, seen)
        self.assertIn('101 items, digest', seen)

    def test_y_is_asked_again(self) -> None:
        code, seen = self.at_terminal('Type "yes"', 'y\n', 'yes\n')
        self.assertEqual(0, code, seen)
        code, _ = self.at_terminal('Type "yes"', 'y\n', '\n')
        self.assertEqual(exit_codes.REFUSED, code)

    def test_what_is_typed_before_the_question_is_no_answer(self) -> None:
        code, seen = self.at_terminal('Type "yes"', 'no\n', before='yes\n')
        self.assertEqual(exit_codes.REFUSED, code, seen)
        self.assertEqual([], self.journal().runs())

    def test_no_is_no(self) -> None:
        code, seen = self.at_terminal('Type "yes"', 'no\n')
        self.assertEqual(exit_codes.REFUSED, code)
        self.assertEqual([], self.journal().runs())


class CtrlC:
    """A terminal whose user presses Ctrl-C when asked."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def fileno(self) -> int:
        return self._terminal

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        raise KeyboardInterrupt


class CtrlCTest(RunsTestCase):
    def test_at_the_question_nothing_was_changed(self) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                'nova_recovery.cli.approval.Asker.there', True
            )
        )
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        ended = self.run_program('host', 'recover', stdin=CtrlC(theirs))
        self.assertEqual(exit_codes.INTERRUPTED, ended.code)
        self.assertIn('Nothing was changed.', ended.stderr)
        self.assertEqual([], self.journal().runs())
