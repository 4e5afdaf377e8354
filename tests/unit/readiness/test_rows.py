# SPDX-License-Identifier: Apache-2.0

"""Which rows are red, and which of them wait for others."""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time
from typing import Any
from unittest import mock

from nova_recovery import readiness
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import (
    ApiUnavailable,
    ConfigError,
    DatabaseUnavailable,
)
from nova_recovery.readiness import bounded, Site
from tests.base import TestCase


def row(name: str, state: str = readiness.NO_GO, *behind: str) -> Finding:
    layer, _, subject = name.partition('/')
    return Finding(layer, state, subject, 'seen', 'wanted', 'mend', behind)


class Probe:
    """Says what it is given, and then raises or hangs."""

    def __init__(
        self,
        *rows: Finding,
        needs: tuple[str, ...] = (),
        end: BaseException | threading.Event | None = None,
    ) -> None:
        self.needs = needs
        self._rows, self._end = rows, end

    def rows(self, site: Site) -> Iterator[Finding]:
        yield from self._rows
        if isinstance(self._end, threading.Event):
            self._end.wait()
        elif self._end is not None:
            raise self._end


class TestSettled(TestCase):
    def states(self, *rows: Finding) -> dict[str, str]:
        return {
            f'{one.code}/{one.subject}': one.severity
            for one in readiness.settled(rows)
        }

    def test_what_needs_a_red_row_waits(self) -> None:
        self.assertEqual(
            {
                'database/cell1': readiness.NO_GO,
                'quiet/cell1': readiness.WAITS,
            },
            self.states(
                row('database/cell1'),
                row('quiet/cell1', readiness.UNKNOWN, 'database/*'),
            ),
        )

    def test_what_is_go_stays_go(self) -> None:
        states = self.states(
            row('database/cell1'), row('quiet/c', readiness.GO, 'database/*')
        )
        self.assertEqual(readiness.GO, states['quiet/c'])

    def test_without_a_cause_it_is_red_itself(self) -> None:
        states = self.states(
            row('database/cell1', readiness.GO),
            row('quiet/cell1', readiness.UNKNOWN, 'database/*'),
        )
        self.assertEqual('unknown', states['quiet/cell1'])

    def test_a_chain_ends_at_one_red_row(self) -> None:
        rows = readiness.settled(
            [
                row('bus/broker'),
                row('control/nova-conductor', readiness.NO_GO, 'bus/broker*'),
                row('compute/host1', readiness.NO_GO, 'control/*'),
            ]
        )
        self.assertEqual(
            ['bus/broker'],
            [f'{r.code}/{r.subject}' for r in readiness.red(rows)],
        )

    def test_a_row_is_not_behind_itself(self) -> None:
        states = self.states(row('bus/queue x', readiness.NO_GO, 'bus/*'))
        self.assertEqual({'bus/queue x': readiness.NO_GO}, states)

    def test_those_that_are_behind_each_other_stay_red(self) -> None:
        states = self.states(
            row('a/1', readiness.NO_GO, 'b/*'),
            row('b/1', readiness.NO_GO, 'a/*'),
        )
        self.assertEqual(
            {'a/1': readiness.NO_GO, 'b/1': readiness.NO_GO}, states
        )

    def test_unknown_is_red_and_waiting_is_not(self) -> None:
        rows = [
            row('a/1', state)
            for state in (
                readiness.GO,
                readiness.NO_GO,
                readiness.UNKNOWN,
                readiness.WAITS,
            )
        ]
        self.assertEqual(rows[1:3], readiness.red(rows))


class TestLook(TestCase):
    def look(self, layers: Any = None, **probes: Probe) -> list[Finding]:
        with mock.patch.object(readiness, 'load', return_value=probes):
            return readiness.look(Site(mock.Mock()), layers)

    def test_rows_come_in_the_order_of_the_layers(self) -> None:
        rows = self.look(
            b=Probe(row('b/1', readiness.GO)), a=Probe(row('a/1'))
        )
        self.assertEqual(['b', 'a'], [one.code for one in rows])

    def test_a_probe_that_fails_is_unknown_after_what_it_said(self) -> None:
        said = row('a/1', readiness.GO)
        rows = self.look(a=Probe(said, end=ValueError('pw=secret')))
        self.assertEqual(said, rows[0])
        self.assertEqual(readiness.UNKNOWN, rows[1].severity)
        self.assertIn('ValueError', rows[1].cause)

    def test_a_probe_that_hangs_is_unknown_in_time(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)
        self.patch(readiness, 'PATIENCE', 0.1)
        began = time.monotonic()
        rows = self.look(
            a=Probe(row('a/1', readiness.GO), end=released),
            b=Probe(row('b/1', readiness.GO)),
        )
        self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(
            [readiness.GO, readiness.UNKNOWN, readiness.GO],
            [one.severity for one in rows],
        )
        self.assertIn('no answer within', rows[1].cause)

    def test_what_a_probe_needs_explains_all_its_rows(self) -> None:
        rows = self.look(
            database=Probe(row('database/cell1')),
            quiet=Probe(
                needs=('database/*',),
                end=DatabaseUnavailable('cell1', 'it is down'),
            ),
        )
        self.assertEqual(
            [readiness.NO_GO, readiness.WAITS], [one.severity for one in rows]
        )

    def test_only_what_is_asked_for(self) -> None:
        rows = self.look({'a'}, a=Probe(row('a/1')), b=Probe(row('b/1')))
        self.assertEqual(['a'], [one.code for one in rows])

    def test_a_layer_that_is_not_there_is_an_error(self) -> None:
        self.assertRaises(ConfigError, self.look, {'nonsense'}, a=Probe())

    def test_every_layer_has_its_probe(self) -> None:
        self.assertEqual(
            list(readiness.LAYERS),
            [name for name in readiness.load() if name in readiness.LAYERS],
        )
        self.assertLessEqual(
            readiness.STORAGE | readiness.VITAL, set(readiness.LAYERS)
        )


class TestSite(TestCase):
    def test_probes_ask_the_same_thing_once(self) -> None:
        site = Site(mock.Mock())
        asked = mock.Mock(return_value=7)
        answers = bounded.each(
            {n: lambda: site.once('it', asked) for n in range(8)}, 5
        )
        self.assertEqual({7}, set(answers.values()))
        asked.assert_called_once_with()

    def test_an_error_is_each_ones(self) -> None:
        site = Site(mock.Mock())
        asked = mock.Mock(side_effect=ApiUnavailable('down'))
        for _ in range(2):
            self.assertRaises(ApiUnavailable, site.once, 'it', asked)
        asked.assert_called_once_with()

    def test_the_next_look_asks_anew(self) -> None:
        asked: list[int] = []

        class Counting:
            needs = ()

            def rows(self, site: Site) -> list[Finding]:
                site.once('it', lambda: asked.append(1))
                return []

        site = Site(mock.Mock())
        with mock.patch.object(
            readiness, 'load', return_value={'a': Counting()}
        ):
            readiness.look(site)
            readiness.look(site)
        self.assertEqual(2, len(asked))


class TestBounded(TestCase):
    def test_answers_errors_and_silence(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)

        def broken() -> int:
            raise KeyError('x')

        found = bounded.each(
            {'good': lambda: 1, 'broken': broken, 'hangs': released.wait}, 0.2
        )
        self.assertEqual(1, found['good'])
        self.assertIsInstance(found['broken'], KeyError)
        self.assertIsInstance(found['hangs'], TimeoutError)
        self.assertEqual(['good', 'broken', 'hangs'], list(found))

    def test_one_that_hangs_does_not_hold_up_many(self) -> None:
        released = threading.Event()
        self.addCleanup(released.set)
        asks: dict[int, Any] = {n: (lambda n=n: n) for n in range(50)}
        asks[0] = released.wait
        found = bounded.each(asks, 2, workers=2)
        self.assertEqual(list(range(1, 50)), list(found.values())[1:])

    def test_words_hide_secrets_and_the_layers_of_requests(self) -> None:
        self.assertEqual(
            'nothing listens at http://api:8774: start nova-api there',
            bounded.words(
                type('X', (Exception,), {})(
                    'Unable to connect to http://api:8774/v2.1: '
                    "HTTPConnectionPool(host='api'): … refused'))"
                )
            ),
        )
        self.assertEqual('KeyError: 1', bounded.words(KeyError(1)))
        self.assertNotIn(
            'hunter2', bounded.words(ValueError('amqp://u:hunter2@mq/'))
        )
