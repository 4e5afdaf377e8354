# SPDX-License-Identifier: Apache-2.0

"""What the status of a volume means for its attachments."""

from __future__ import annotations

from collections.abc import Iterable

from nova_recovery.cloud.db import volumes
from nova_recovery.cloud.db.volumes import Volume

#: Seconds in which a volume that is between two states may still be on its
#: way: a slow back end takes a minute or so.
SETTLE = 120
_BY_CINDER = {'attached': 'in-use', 'detached': 'available'}


def untouchable(volume: Volume) -> str:
    """Why a volume must be left alone, '' if it needn't be."""
    if volume.status not in volumes.OF_ATTACHMENTS:
        return f'it is {volume.status or "without a status"}'
    if volume.migration_status not in volumes.NOT_MIGRATING:
        return f'it is being migrated ({volume.migration_status})'
    return ''


def young(volume: Volume) -> bool:
    """Whether cinder changed it so lately that it may be under way."""
    return volume.age is None or volume.age < SETTLE


def derived(attachments: Iterable[str]) -> tuple[str, str]:
    """Status and attach_status that follow from those of attachments.

    As cinder does it (``_get_statuses_from_attachments`` in
    cinder/db/api.py): attached before attaching, detaching and reserved.
    """
    known = sorted(one for one in attachments if not one.startswith('error_'))
    attach_status = known[0] if known else 'detached'
    return _BY_CINDER.get(attach_status, attach_status), attach_status
