# SPDX-License-Identifier: Apache-2.0

"""Whether targets see the disks of a dead host's servers.

They are asked themselves, over the fleet, where one is configured. The dead
host can't be asked, but its nova-compute has left its word in the directory
that it kept its servers in: each writes its name and the time there, for the
image cache (``_run_image_cache_manager_pass`` in nova/compute/manager.py,
every 2,400 s). So one file has the names of both, each by its own clock, or
they don't share a directory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
import dataclasses
import itertools
from typing import Any, TYPE_CHECKING

from nova_recovery.exceptions import RecoveryError
from nova_recovery.procedures import reached
from nova_recovery.procedures.recover import ways
from nova_recovery.procedures.recover.situation import Sight, Situation
from nova_recovery.procedures.recover.ways import Assignment

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud

#: What is asked in one call: all of its words go to a host as one line.
_AT_ONCE = 300


def look(
    cloud: Cloud, found: Situation, assigned: Iterable[Assignment]
) -> Situation:
    """The situation with what the targets see; unknown stays unknown.

    Nobody is asked where no disk may be lost, or no fleet is configured.
    """
    asked: dict[str, list[str]] = {}
    for one in assigned:
        if one.target and ways.disks(one.server, one.method):
            asked.setdefault(one.target, []).append(one.server.uuid)
    if not asked or not _configured(cloud):
        return found
    every = sorted({uuid for some in asked.values() for uuid in some})
    sights: dict[str, Sight] = {}
    for uuids in _parts(every, _AT_ONCE):
        for sight in _ask(cloud, asked, uuids):
            before = sights.get(sight.host, sight)
            sights[sight.host] = _both(before, sight)
    return dataclasses.replace(found, sights=sights)


def _configured(cloud: Cloud) -> bool:
    """Whether somebody said how hosts are reached."""
    fleet = cloud.conf.fleet
    return bool(
        fleet.driver != 'ansible'
        or fleet.inventory
        or fleet.directory
        or fleet.host
        or fleet.host_map
    )


def _ask(
    cloud: Cloud, hosts: Collection[str], uuids: list[str]
) -> Iterable[Sight]:
    try:
        answers = reached.read(cloud, hosts, ('disks', {'server': uuids}))
    except RecoveryError as error:
        return [Sight(host, problem=str(error)) for host in hosts]
    return [
        Sight(one.name, problem=one.problem)
        if one.problem
        else of_answer(one.name, one.said[0])
        for one in answers
    ]


def of_answer(host: str, said: Mapping[str, Any]) -> Sight:
    """What a host sees, as the agent's ``disks`` says it."""
    directory, ceph = said['directory'], said['ceph']
    return Sight(
        host,
        time=said['time'],
        path=directory['path'],
        lies_on=f'{directory["type"]} ({directory["source"]})',
        remote=directory['remote'],
        users=directory['users'],
        files=directory['files'],
        images_type=ceph['type'],
        pool=ceph['pool'],
        images=ceph['images'],
        problem=directory['why'] or ceph['why'],
    )


def _both(one: Sight, other: Sight) -> Sight:
    return dataclasses.replace(
        other,
        files={**one.files, **other.files},
        images={**one.images, **other.images},
        problem=one.problem or other.problem,
    )


def _parts(every: list[str], size: int) -> Iterable[list[str]]:
    some = iter(every)
    while part := list(itertools.islice(some, size)):
        yield part
