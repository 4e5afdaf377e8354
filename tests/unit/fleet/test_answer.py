# SPDX-License-Identifier: Apache-2.0

"""What is read out of what a terminal gave back."""

from __future__ import annotations

import subprocess

from nova_recovery.exceptions import ChangeFailed, OutcomeUnknown
from nova_recovery.fleet import answer, script
from nova_recovery.fleet.answer import Said
from nova_recovery.host import zipapp
from nova_recovery.host.agent import lines
from tests import base

MARK = 'feed'
RESULT = '{"event": "progress"}\n{"event": "result", "n": 1}\n'
#: As raw gives it: a banner, a pty's line ends, sudo's word behind it.
AROUND = 'Welcome!\r\n{}sudo: unable to resolve host c1\r\n'


def printed(code: int, text: str) -> str:
    return AROUND.format(lines.marked(MARK, code, text)).replace('\n', '\r\n')


class Read(base.TestCase):
    def read(self, text: str, reason: str = '') -> answer.Answer:
        return answer.read('c1', MARK, Said(text, reason, 'words'))

    def test_result_is_found_among_banners(self) -> None:
        found = self.read(printed(0, RESULT))
        self.assertEqual(('done', {'n': 1}), (found.state, found.need()))
        self.assertEqual(2, len(found.lines))

    def test_something_left_is_done_with_its_code(self) -> None:
        found = self.read(printed(4, RESULT))
        self.assertEqual(('done', 4), (found.state, found.code))

    def test_result_counts_though_the_connection_was_lost_then(self) -> None:
        found = self.read(printed(0, RESULT), answer.UNREACHABLE)
        self.assertEqual('done', found.state)

    def test_no_result_line_is_in_doubt_whatever_else_was_said(self) -> None:
        whole = printed(0, RESULT)
        for text in (
            '',
            'hello',
            whole[: whole.index(':end')],
            whole.replace(MARK, 'other'),
            printed(0, ''),
            printed(0, '{"event": "progress"}\n'),
            printed(0, 'no JSON\n'),
            printed(1, '{"event": "error"}\n'),
        ):
            for reason in ('', answer.UNREACHABLE, answer.TIMED_OUT):
                found = self.read(text, reason)
                self.assertEqual(
                    ('doubt', reason or 'failed'), (found.state, found.reason)
                )
                self.assertRaises(OutcomeUnknown, found.need)

    def test_command_that_a_terminal_echoes_is_no_answer(self) -> None:
        text = script.call(zipapp.agent(), '/h', MARK, ['identity'], True)
        self.assertEqual('doubt', self.read(text).state)

    def test_refusal_says_that_nothing_was_done(self) -> None:
        found = self.read(printed(3, '{"event": "refused", "text": "no"}\n'))
        self.assertEqual('refused', found.state)
        error = self.assertRaises(ChangeFailed, found.need)
        self.assertEqual('c1: no', str(error))

    def test_error_may_have_done_some_of_it(self) -> None:
        found = self.read(printed(1, '{"event": "error", "text": "no"}\n'))
        self.assertEqual('failed', found.state)
        self.assertRaises(OutcomeUnknown, found.need)

    def test_host_that_lacks_something_says_so(self) -> None:
        text = AROUND.format(f'\nnova-recovery:{MARK}:lacks-agent:end\n')
        self.assertEqual('agent', answer.lacks(MARK, Said(text)))
        # an echo of what was sent must not have it sent again
        for send in (True, False):
            text = script.call(zipapp.agent(), '/h', MARK, ['x'], send)
            self.assertEqual('', answer.lacks(MARK, Said(text)))


class Script(base.TestCase):
    def test_data_are_what_a_person_would_type(self) -> None:
        self.assertEqual(
            [
                *('owners', 'change', '--root=/srv/a b', '--uid=1:2'),
                *('--uid=2:3', '--lift-immutable'),
            ],
            script.verb(
                'owners change',
                {
                    'root': '/srv/a b',
                    'uid': ['1:2', '2:3'],
                    'lift_immutable': True,
                    'state': None,
                    'gid': [],
                },
            ),
        )

    def test_jinja_reads_nothing_in_it(self) -> None:
        word = "--root=/{{ x }}'{%{#'{"
        text = script.call(zipapp.agent(), '/h', MARK, [word], True)
        for begin in ('{{', '{%', '{#'):
            self.assertNotIn(begin, text)
        quoted = text.rpartition(f'{MARK} --home /h ')[2]
        done = subprocess.run(
            ['sh', '-c', f'printf %s {quoted}'], capture_output=True, text=True
        )
        self.assertEqual(word, done.stdout)
