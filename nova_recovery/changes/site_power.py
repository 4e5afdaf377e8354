# SPDX-License-Identifier: Apache-2.0

"""A whole site loses its power for a drill, and gets it back.

By programs that the operator configured, or by hand: then nothing is sent,
and what is seen is all there is. That the power is off is seen by the counts
of reports of all nova-computes, which stand still; a program that says so
alone does not prove it.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import shlex
import time
from typing import Any

import sqlalchemy as sa

from nova_recovery import program
from nova_recovery.changes import once
from nova_recovery.changes.base import At, Look, OneWay
from nova_recovery.cloud.db import schema, services
from nova_recovery.cloud.db.databases import divide
from nova_recovery.engine import clock
from nova_recovery.engine.change import Observed
from nova_recovery.engine.plan import Item
from nova_recovery.engine.printable import some
from nova_recovery.exceptions import (
    ChangeFailed,
    Conflict,
    DatabaseUnavailable,
    OutcomeUnknown,
    RecoveryError,
)
from nova_recovery.fencing import programs, words

#: Seconds between two looks.
POLL = 1.0


class _Programmed(OneWay):
    """What a configured program does, or somebody by hand.

    Data: command (as it was shown when it was planned; None: by hand).
    """

    option: str

    def describe(self, item: Item) -> list[str]:
        command = item.data['command']
        return [f'> {command}' if command else '> by hand, and waited for']

    def no_way_back(self, item: Item) -> str:
        return (
            'the power of the site was taken: what lost it is brought back '
            'forward, by the same "drill site" again'
        )

    def _run(self, at: At) -> programs.Ended:
        """Run the program, which is known again by its pid.

        :raises ChangeFailed: it could not be run
        :raises OutcomeUnknown: it did not come to its end in time
        """
        where, conf = f'[drill] {self.option}', at.cloud.conf.drill

        def begun(pid: int) -> None:
            here = {**clock.stamp(), 'pid': pid, 'born': programs.born(pid)}
            at.note(program=here)

        return programs.run(
            where,
            programs.split(where, conf[self.option]),
            conf[f'{self.option}_timeout'],
            begun=begun,
            waiting=lambda gone: at.progress(f'it runs for {gone:.0f} s'),
        )

    def _failed(self, ended: programs.Ended) -> str:
        # the operator's own words: what fence agents mean by theirs is not
        # what this one means
        return (
            f'[drill] {self.option} ended with {ended.code}: '
            + words.quoted(ended.words)
        )

    def _as_planned(self, at: At) -> None:
        """:raises Conflict: another program is configured by now"""
        where = f'[drill] {self.option}'
        now = programs.shown(where, at.cloud.conf.drill[self.option])
        if now != at.data['command']:
            raise Conflict(
                f'{where} is another one by now: {now}; nothing was sent. '
                'Set it as it was, or make the drill anew'
            )

    def _still_runs(self, at: At) -> bool:
        """Whether the program of a process that was killed is at work."""
        known = at.notes.get('program')
        return bool(
            known
            and clock.since(known) is not None
            and known['born']
            and programs.born(known['pid']) == known['born']
        )

    def _wait_for_its_end(self, at: At) -> None:
        """:raises OutcomeUnknown: it runs for longer than it may"""
        deadline = (
            time.monotonic() + at.cloud.conf.drill[f'{self.option}_timeout']
        )
        while self._still_runs(at):
            if time.monotonic() > deadline:
                resume = program.call(f'run resume {at.run_id}')
                raise OutcomeUnknown(
                    f'[drill] {self.option} (pid '
                    f'{at.notes["program"]["pid"]}) does not end: end it, '
                    f'then: {resume}'
                )
            at.progress('the program still runs')
            at.wait(POLL)


class PowerOffSite(_Programmed):
    """The power is taken: sent once, and seen in that all hosts are silent.

    Data: command; hosts (host, cell and service_id of each nova-compute);
    servers (UUIDs of those that were named); quiet (seconds for which
    nothing may be heard).
    """

    kind = 'power-off-site'
    option = 'site_power_off'
    once = confirms = True

    def observe(self, at: At) -> Observed:
        if not at.begun:
            return Observed.before(dict(once.STAMPED))
        if 'sending' not in at.notes and at.image.get('stamped'):
            # killed before it was sent
            return Observed.before(at.image)
        if self._still_runs(at):
            return Observed.underway('the program still runs')
        heard, unknown = _watch(at, at.pause)
        if not heard and (not unknown or _said_so(at)):
            return Observed.after(_silent(at, unknown))
        if at.data['command'] is None:
            # nothing was sent: it can be waited for again
            return Observed.before(at.image)
        return Observed.unknown(_look_there(at, heard, unknown))

    def apply(self, at: At) -> str:
        if at.data['command'] is None:
            once.about_to_send(at)
            return 'waiting until the hosts are silent'
        _none_unnamed(at)
        self._as_planned(at)
        once.about_to_send(at)
        ended = self._run(at)
        at.note(ended=ended.code)
        if ended.code:
            raise OutcomeUnknown(self._failed(ended))
        return 'the program ended with 0'

    def follow(self, at: At) -> str:
        self._wait_for_its_end(at)
        told_off = _said_so(at)
        deadline = time.monotonic() + at.cloud.conf.drill.site_silent_timeout
        while True:
            at.progress(f'nothing may be heard for {at.data["quiet"]} s')
            heard, unknown = _watch(at, at.wait)
            if not heard and (not unknown or told_off):
                return _silent(at, unknown)
            if time.monotonic() < deadline:
                at.progress(f'heard of: {some(heard, 5) or unknown}')
                continue
            if at.data['command'] is None:
                raise ChangeFailed(
                    f'the power is not off: {some(heard, 5) or unknown}. Take '
                    f'it, then: {program.call(f"run resume {at.run_id}")}'
                )
            raise OutcomeUnknown(_look_there(at, heard, unknown))


class PowerOnSite(_Programmed):
    """The power is given back. Repeatable: whoever has it keeps it.

    Data: command.
    """

    kind = 'power-on-site'
    option = 'site_power_on'

    def observe(self, at: At) -> Observed:
        if at.begun and self._still_runs(at):
            return Observed.underway('the program still runs')
        return Observed.before(at.image if at.begun else {'looked': True})

    def apply(self, at: At) -> str:
        if at.data['command'] is None:
            return 'by hand'
        # as it is configured by now, for who had to mend it: the power is off
        try:
            ended = self._run(at)
        except (ChangeFailed, OutcomeUnknown) as error:
            raise ChangeFailed(f'{error}; {self._ways_on(at)}') from None
        if ended.code:
            raise ChangeFailed(f'{self._failed(ended)}; {self._ways_on(at)}')
        return 'the program ended with 0'

    def follow(self, at: At) -> str:
        if not self._still_runs(at):
            return ''
        # of a process that was killed: nobody learns what it ended with
        self._wait_for_its_end(at)
        return self.apply(at)

    def _ways_on(self, at: At) -> str:
        resume = program.call(f'run resume {at.run_id}')
        return (
            f'mend that, then: {resume}; or switch the power on by hand, '
            f'then: {resume} --skip {at.item.label}=REASON'
        )


class SeeSite(Look):
    """The databases of the cells and nova's API answer again.

    Data: cells; patience (seconds).
    """

    kind = 'see-site'
    watches = True

    def describe(self, item: Item) -> list[str]:
        return ['? databases and nova answer']

    def apply(self, at: At) -> str:
        return ''

    def follow(self, at: At) -> str:
        deadline = time.monotonic() + at.data['patience']
        while True:
            try:
                for name in at.data['cells']:
                    services.compute_services(at.cloud.databases.cell(name))
                return f'nova {at.cloud.compute.ping()}'
            except RecoveryError as error:
                why = str(error)
            if time.monotonic() > deadline:
                raise ChangeFailed(
                    f'not back within {at.data["patience"]} s: {why}. Mend '
                    'that, then: ' + program.call(f'run resume {at.run_id}')
                )
            at.progress(why)
            at.wait(POLL)


@dataclasses.dataclass(frozen=True)
class _Counts:
    """Host -> how often it has reported; cells that don't tell, and why."""

    reports: dict[str, int]
    silent: dict[str, str]


def _counts(at: At) -> _Counts:
    wanted = {one['service_id']: one['host'] for one in at.data['hosts']}
    cells = {one['cell'] for one in at.data['hosts']}
    reports: dict[str, int] = {}
    silent: dict[str, str] = {}
    for cell in sorted(cells):
        try:
            found = services.compute_services(at.cloud.databases.cell(cell))
        except DatabaseUnavailable as error:
            silent[cell] = str(error)
            continue
        reports |= {
            one.host: one.report_count for one in found if one.id in wanted
        }
    return _Counts(reports, silent)


def _watch(at: At, wait: Callable[[float], None]) -> tuple[list[str], str]:
    """Hosts that are heard of, and why others can't be.

    :param wait: lets some seconds pass
    """
    first = _counts(at)
    deadline = time.monotonic() + at.data['quiet']
    while time.monotonic() < deadline:
        wait(POLL)
        now = _counts(at)
        heard = sorted(
            host
            for host, count in now.reports.items()
            if count != first.reports.get(host, count)
        ) or [
            # What its hosts did meanwhile is not known, and it has power.
            f'the database of {cell}'
            for cell in sorted(first.silent.keys() - now.silent.keys())
        ]
        if heard:
            return heard, ''
        first.silent.update(now.silent)
    return [], '; '.join(first.silent.values())


def _said_so(at: At) -> bool:
    """Whether the program, or whoever did it by hand, says that it is off."""
    return at.data['command'] is None or at.notes.get('ended') == 0


def _silent(at: At, unknown: str) -> str:
    hosts = len(at.data['hosts'])
    if unknown:
        return f'it is said to be off, and the database is silent: {unknown}'
    return f'nothing is heard of {hosts} hosts for {at.data["quiet"]} s'


def _look_there(at: At, heard: list[str], unknown: str) -> str:
    why = f'still heard of: {some(heard, 5)}' if heard else unknown
    resume = program.call(f'run resume {at.run_id}')
    label = shlex.quote(f'{at.item.label}=REASON')
    return (
        f'whether the power is off is in doubt; {why}. Look at the site. '
        f'It is off: {resume} --skip {label}; it is on, and nothing more '
        f'will come: {resume} --again {label}'
    )


def _none_unnamed(at: At) -> None:
    """Return if nobody but those that were named has a server there by now.

    :raises Conflict: somebody has; nothing was sent
    :raises DatabaseUnavailable: it can't be known
    """
    named = set(at.data['servers'])
    cells = sorted({one['cell'] for one in at.data['hosts']})
    known, unknown = divide(
        at.cloud.databases.each_cell(
            lambda cell: on_hosts(cell) if cell.name in cells else []
        )
    )
    for error in unknown.values():
        raise error
    more = sorted({uuid for some in known.values() for uuid in some} - named)
    if more:
        raise Conflict(
            f'{len(more)} servers more than were named, such as {more[0]}: '
            'nothing was sent. Make the drill anew'
        )


def on_hosts(database: Any) -> list[str]:
    """UUIDs of the live servers that are on a host."""
    table = database.tables['instances']
    with database.reader() as connection:
        return [
            row[0]
            for row in connection.execute(
                sa.select(table.c.uuid).where(
                    schema.live(table), table.c.host.is_not(None)
                )
            )
        ]
