# SPDX-License-Identifier: Apache-2.0

"""Which of nova's requests are a run's own."""

from __future__ import annotations

import argparse
import datetime
import io
import types
from typing import Any

import fixtures

from nova_recovery.cli import stage
from nova_recovery.cli.stage import Stage
from tests.base import TestCase

SENT = 'req-44ae8660-305b-451d-aae0-862102e1aee5'
LOST = 'req-7758dca8-0d7c-41fc-a0c7-9fb51f7aea49'
OTHER = 'req-37f9c00d-0f9a-404f-8f1e-32c7f21a0944'


def item(
    notes: Any = None, detail: str = '', begun: bool = True
) -> types.SimpleNamespace:
    return types.SimpleNamespace(notes=notes or {}, detail=detail, begun=begun)


def ago(**span: int) -> str:
    """A moment as the journal writes it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now - datetime.timedelta(**span)).strftime('%Y-%m-%dT%H:%M:%SZ')


class SayTest(TestCase):
    def test_a_name_moves_no_cursor(self) -> None:
        command: Any = types.SimpleNamespace(
            app=types.SimpleNamespace(stderr=io.StringIO())
        )
        here = Stage(command, argparse.Namespace())
        here.say('\nPaused: \x1b[2Jweb\u202e.')
        self.assertEqual(
            '\nPaused: \\x1b[2Jweb\\u202e.\n', command.app.stderr.getvalue()
        )


class CloudNameTest(TestCase):
    def of(self, **options: str) -> str:
        for name in ('OS_CLOUD', 'OS_AUTH_URL'):
            self.useFixture(fixtures.EnvironmentVariable(name))
        command: Any = types.SimpleNamespace(
            app=types.SimpleNamespace(
                stderr=io.StringIO(), options=types.SimpleNamespace(**options)
            )
        )
        return Stage(command, argparse.Namespace()).cloud_name()

    def test_its_name_or_the_host_of_keystone(self) -> None:
        self.assertEqual('practice', self.of(cloud='practice'))
        self.assertEqual('ctl1', self.of(auth_url='http://ctl1:5000/v3'))

    def test_what_is_no_url_is_no_name(self) -> None:
        for url in ('http://[fd00::1:5000/v3', 'admin:hunter2@ctl1:5000/v3'):
            self.assertEqual('', self.of(auth_url=url))


class RequestsTest(TestCase):
    """A journal of three runs.

    :ivar ended: run -> when
    """

    def setUp(self) -> None:
        super().setUp()
        self.ended = {'now': '', 'before': ago(minutes=2), 'old': ago(days=1)}
        self.items: dict[str, list[Any]] = {
            'now': [], 'before': [], 'old': []
        }  # fmt: skip
        self.journal: Any = types.SimpleNamespace(
            items=lambda run_id: self.items[run_id],
            runs=lambda limit: [
                types.SimpleNamespace(id=name, finished_at=ended)
                for name, ended in self.ended.items()
            ],
        )

    def test_what_was_answered_and_what_was_found(self) -> None:
        self.items['now'] = [
            item({'request_id': SENT}, f'after a start ({OTHER})'),
            item({'request_id': LOST}, f'runs on host1: reboot ({LOST})'),
            item(detail=f'runs already: start ({OTHER})', begun=False),
            # looked at again after a crash: it was never sent, and this is
            # somebody else's
            item(detail=f'somebody asked for its reboot ({OTHER}) since'),
        ]
        self.assertEqual({SENT, LOST}, stage.requests_of(self.journal, 'now'))

    def test_a_run_that_ended_just_now_was_ours_too(self) -> None:
        self.items['now'] = [item({'request_id': LOST})]
        self.items['before'] = [item({'request_id': SENT})]
        self.items['old'] = [item({'request_id': OTHER})]
        self.assertEqual({SENT}, stage.requests_of_others(self.journal, 'now'))
