# SPDX-License-Identifier: Apache-2.0

"""What findings come to: a table, an exit code, a line for monitoring."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from nova_recovery import exit_codes, program
from nova_recovery.engine import findings
from nova_recovery.engine.findings import (
    Assessment,
    DANGER,
    Finding,
    GOOD,
    NOTE,
    STALE,
    UNKNOWN,
)
from tests.base import TestCase

COLUMNS = (('Code', attrgetter('code')), ('Cause', attrgetter('cause')))


def assessment(*severities: str, **more: Any) -> Assessment:
    return Assessment(
        None,
        tuple(
            Finding(f'X-{one.upper()}', one, 'host:h', f'it is {one}')
            for one in severities
        ),
        COLUMNS,
        **more,
    )


class TestAssessment(TestCase):
    def test_the_worst_stands_for_all(self) -> None:
        for some, worst in (
            ((), GOOD),
            ((GOOD, NOTE), NOTE),
            ((NOTE, STALE, NOTE), STALE),
            ((STALE, UNKNOWN), UNKNOWN),
            ((NOTE, UNKNOWN, DANGER, STALE), DANGER),
        ):
            self.assertEqual(worst, assessment(*some).worst)

    def test_notes_are_no_reason_to_fail(self) -> None:
        self.assertEqual(exit_codes.DONE, assessment(NOTE, GOOD).exit_code)
        for bad in (DANGER, UNKNOWN, STALE):
            self.assertEqual(
                exit_codes.PARTLY, assessment(NOTE, bad).exit_code
            )

    def test_how_it_is_read_what_the_worst_codes_mean(self) -> None:
        self.assertEqual('', assessment(NOTE, GOOD).meaning)
        self.assertEqual(
            'What it means: '
            + program.call('guide X-DANGER X-UNKNOWN X-STALE'),
            assessment(STALE, NOTE, UNKNOWN, STALE, DANGER).meaning,
        )
        only = assessment(STALE, DANGER, codes=('X-STALE',))
        self.assertEqual(
            f'What it means: {program.call("guide X-STALE")}', only.meaning
        )

    def test_what_was_not_looked_at_is_an_error(self) -> None:
        result = assessment(STALE, silent=('cell2 does not answer',))
        self.assertEqual(exit_codes.ERROR, result.exit_code)

    def test_a_command_may_end_otherwise(self) -> None:
        result = assessment(DANGER, ends={DANGER: exit_codes.REFUSED})
        self.assertEqual(exit_codes.REFUSED, result.exit_code)

    def test_the_table(self) -> None:
        self.assertEqual(
            (
                ('Code', 'Cause'),
                [('X-DANGER', 'it is danger'), ('X-NOTE', 'it is note')],
            ),
            assessment(DANGER, NOTE).table,
        )

    def test_a_program_is_told_where_each_code_is_explained(self) -> None:
        headers, ((*_, guide),) = assessment(DANGER).guided
        self.assertEqual(('Code', 'Cause', 'Guide'), headers)
        self.assertEqual('user/codes.html#x-danger', guide)

    def test_findings_that_are_not_shown_count(self) -> None:
        result = assessment(DANGER, NOTE, codes=('X-NOTE',))
        self.assertEqual([('X-NOTE', 'it is note')], result.table[1])
        self.assertEqual(exit_codes.PARTLY, result.exit_code)


class TestMonitoring(TestCase):
    def test_a_word_and_an_exit_code_for_each_severity(self) -> None:
        for some, word, code in (
            ((), 'OK', 0),
            ((NOTE,), 'OK', 0),
            ((STALE, NOTE), 'WARNING', 1),
            ((DANGER, STALE), 'CRITICAL', 2),
            ((UNKNOWN, STALE), 'UNKNOWN', 3),
        ):
            line, ends = assessment(*some).monitoring
            self.assertEqual((word, code), (line.split(' - ')[0], ends))

    def test_the_line(self) -> None:
        self.assertEqual(
            (
                'CRITICAL - 1 danger, 2 note: X-DANGER host:h: it is danger '
                '| danger=1 unknown=0 stale=0 note=2',
                2,
            ),
            assessment(NOTE, DANGER, NOTE).monitoring,
        )
        self.assertEqual(
            ('OK - nothing is wrong | danger=0 unknown=0 stale=0 note=0', 0),
            assessment().monitoring,
        )

    def test_what_was_not_looked_at_is_unknown(self) -> None:
        line, ends = assessment(STALE, silent=('cell2 is silent',)).monitoring
        self.assertEqual(3, ends)
        self.assertIn('UNKNOWN - 1 stale: cell2 is silent |', line)
        line, ends = assessment(DANGER, silent=('cell2',)).monitoring
        self.assertEqual(2, ends)
        line, ends = findings.failed('no such file').monitoring
        self.assertEqual(3, ends)
        self.assertIn('UNKNOWN - no such file |', line)

    def test_a_bar_in_a_name_is_not_the_end_of_the_text(self) -> None:
        one = Finding('X', DANGER, 's', 'a|b', label='c|d')
        line, _ = Assessment(None, (one,), COLUMNS).monitoring
        self.assertEqual(1, line.count('|'))


class TestAsAGate(TestCase):
    def test_what_is_bad_refuses(self) -> None:
        for severity, state in (
            (DANGER, 'refused'),
            (STALE, 'refused'),
            (UNKNOWN, 'unknown'),
            (NOTE, 'ok'),
            (GOOD, 'ok'),
        ):
            one = Finding('X', severity, 's', 'seen', 'wanted', 'mend it')
            gate = one.gate('gate', 'cell1')
            self.assertEqual(state, gate.state)
        self.assertEqual(
            ('seen; expected: wanted', 'mend it', 'hard'),
            (gate.observed, gate.remedy, gate.klass),
        )
