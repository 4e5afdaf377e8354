# SPDX-License-Identifier: Apache-2.0

"""Which of a server's items tells how it ended."""

from __future__ import annotations

from unittest import mock

from nova_recovery.report import summary
from tests.base import TestCase

SERVER = 'server:3f57699a-e773-4650-a443-b4b37eed5a06'


def item(kind: str, state: str, detail: str = '') -> mock.Mock:
    return mock.Mock(
        kind=kind, state=state, detail=detail, subject=SERVER, label='ui02'
    )


class TestOutcome(TestCase):
    def outcome(self, *items: mock.Mock) -> tuple[str, str]:
        _columns, (row,) = summary.of_items(items)
        return row[2:]

    def test_a_reboot_tells_more_than_the_claim_given_back(self) -> None:
        self.assertEqual(
            ('done', 'active on host2'),
            self.outcome(
                item('claim-server', 'done', 'claimed'),
                item('reboot-server', 'done', 'active on host2'),
                item('release-server', 'done', 'claim given back'),
            ),
        )

    def test_what_was_left_out_is_not_done(self) -> None:
        self.assertEqual(
            ('skipped', 'its owner stopped it'),
            self.outcome(
                item('reboot-server', 'skipped', 'its owner stopped it'),
                item('unlock-server', 'done', 'unlocked'),
                item('release-server', 'done', 'claim given back'),
            ),
        )

    def test_an_undo_that_leaves_something_is_not_to_revert(self) -> None:
        self.assertEqual(
            ('kept', 'it runs there'),
            self.outcome(
                item('verify-server', 'to revert'),
                item('evacuate-server', 'kept', 'it runs there'),
            ),
        )
