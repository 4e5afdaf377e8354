# SPDX-License-Identifier: Apache-2.0

"""The APIs, conductors and schedulers that everything goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import functools
from typing import Any

from nova_recovery import program, readiness
from nova_recovery.cloud.api import apis
from nova_recovery.engine.findings import Finding
from nova_recovery.exceptions import ApiUnavailable
from nova_recovery.readiness import bounded, bus, common, Site

LAYER = 'control'

#: What nova-compute and cinder-volume depend on.
NEEDS = ('database/*', 'bus/broker *', 'keystone/*')

_PATIENCE = 8.0

Service = dict[str, Any]


class Probe:
    """See :class:`nova_recovery.readiness.Probe`."""

    needs: tuple[str, ...] = NEEDS

    def rows(self, site: Site) -> Iterator[Finding]:
        asks: dict[str, Callable[[], Any]] = {
            'nova-api': functools.partial(common.nova_services, site),
            'cinder-api': functools.partial(_cinder, site),
            'glance-api': functools.partial(images, site),
        }
        found = bounded.each(asks, _PATIENCE)
        for name, answer in found.items():
            yield _api(name, answer)
        nova = found['nova-api']
        for binary in ('nova-conductor', 'nova-scheduler'):
            if not isinstance(nova, BaseException):
                yield judge(binary, nova, _queue(site, binary))
        cinder = found['cinder-api']
        if cinder is not None and not isinstance(cinder, BaseException):
            binary = 'cinder-scheduler'
            yield judge(binary, cinder, _queue(site, binary))


def judge(
    binary: str, services: Iterable[Service], unheard: str = ''
) -> Finding:
    """Whether one of a service is up: any of them does the work.

    :param unheard: its queue, if nobody listens to that
    """
    own = [one for one in services if one['binary'] == binary]
    up = sorted(one['host'] for one in own if one['state'] == 'up')
    down = sorted(one['host'] for one in own if one['state'] != 'up')
    observed = f'{len(up)} of {len(own)} up'
    if down:
        observed += f'; no heartbeat from {common.many(down)}'
    if unheard:
        # a heartbeat is a minute old before it says so
        observed += f'; nobody listens to {unheard}'
    good = up and not unheard
    hosts = common.many([*up, *down]) or 'one host'
    return Finding(
        LAYER,
        readiness.GO if good else readiness.NO_GO,
        binary,
        observed,
        'at least one is up and listens',
        '' if good else f'systemctl restart {binary}  # on {hosts}',
        # it can't be seen without
        (f'{LAYER}/nova-api',)
        if binary.startswith('nova')
        else (f'{LAYER}/cinder-api',),
    )


def _api(name: str, answer: Any) -> Finding:
    bad = isinstance(answer, BaseException)
    observed = 'answers'
    if bad:
        observed = bounded.words(answer)
    elif answer is None:
        observed = 'not in the catalogue, and no cinder.conf was found'
    return Finding(
        LAYER,
        readiness.UNKNOWN if bad else readiness.GO,
        name,
        observed,
        'answers an administrator',
        (common.mend_api(answer, name) or program.call('config check'))
        if bad
        else '',
    )


def _queue(site: Site, binary: str) -> str:
    return bus.unheard(site, f'{LAYER}/{binary}')


def _cinder(site: Site) -> list[Service] | None:
    cloud = site.apis()
    if cloud.databases.cinder is None:
        # a cloud without volumes has no cinder
        return None
    found: list[Service] = cloud.volume.services('cinder-scheduler')
    return found


def images(site: Site) -> bool:
    """Whether images can be had: a disk whose base is gone needs one.

    :raises ApiUnavailable: they can't
    """
    connection = site.apis().connection
    with apis.reading('glance', 'glance-api'):
        answer = connection.image.get(
            '/images', params={'limit': 1}, timeout=readiness.PATIENCE
        )
    if answer.status_code >= 400:
        raise ApiUnavailable(
            f'glance: HTTP {answer.status_code}: look at the log of glance-api'
        )
    return True
