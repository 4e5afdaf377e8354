# SPDX-License-Identifier: Apache-2.0

"""Each back end's cinder-volume is up and answers over the message bus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import functools
from typing import Any

from nova_recovery import readiness
from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import bounded, bus, common, control, Site
from nova_recovery.readiness.bus import Unheard

LAYER = 'volume'
_PATIENCE = 8.0


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = (*control.NEEDS, 'control/cinder-api')

    def rows(self, site: Site) -> Iterator[Finding]:
        backends = common.backends(site)
        if not backends:
            yield Finding(LAYER, readiness.GO, 'back ends', 'no volumes', '')
            return
        cinder = site.apis().volume
        asks: dict[str, Callable[[], Any]] = {}
        states: dict[str, str] = {}
        if site.brief:
            # an answer is more than a heartbeat
            states = dict.fromkeys(backends, 'up')
        else:
            asks[''] = functools.partial(cinder.services, 'cinder-volume')
        deaf: dict[str, Any] = {}
        for name in backends:
            queue = bus.unheard(site, f'{LAYER}/{name}')
            if queue:
                deaf[name] = Unheard(f'nobody listens to {queue}')
            else:
                asks[name] = functools.partial(cinder.answers, name)
        asked = bounded.each(asks, _PATIENCE, workers=min(32, len(asks)))
        services = asked.pop('', [])
        asked |= deaf
        if not isinstance(services, BaseException):
            for one in services:
                states[one['host']] = one['state']
                if one.get('cluster'):
                    states.setdefault(one['cluster'], one['state'])
        yield from judge(asked, states)


def judge(
    answers: Mapping[str, Any], states: Mapping[str, str]
) -> Iterator[Finding]:
    """One row for all that are well, one for each that isn't.

    :param answers: back end -> None, or why it didn't answer
    :param states: back end -> what its heartbeat says, where known
    """
    bad = []
    for name, answer in answers.items():
        state = states.get(name, 'not known')
        if answer is None and state == 'up':
            continue
        observed = f'heartbeat: {state}'
        if answer is not None:
            observed += f'; {bounded.words(answer)}'
        host = name.partition('@')[0]
        bad.append(
            Finding(
                LAYER,
                readiness.NO_GO
                if state == 'down' or isinstance(answer, Unheard)
                else readiness.UNKNOWN,
                name,
                observed,
                'up, and answers within 10 s',
                f'systemctl restart cinder-volume  # on {host}; one that will '
                f'not come back: --skip-backend {name}=REASON',
            )
        )
    yield from common.on_one_line(
        bad,
        Finding(
            LAYER,
            readiness.GO,
            'back ends',
            f'all answer: {common.many(list(answers))}',
            'up, and answers within 10 s',
        ),
    )
