# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


"""What the status of a volume means for its attachments."""

from __future__ import annotations

from collections.abc import Iterable

from nova_recovery.cloud import volumes

#: Seconds in which a volume that is between two states may still be on its
#: way: a slow back end takes a minute or so.
SETTLE = 120
_BY_CINDER = {'attached': 'in-use', 'detached': 'available'}


def untouchable(volume: volumes.Volume) -> str:
    """Why a volume must be left alone, '' if it needn't be."""
    if volume.status not in volumes.OF_ATTACHMENTS:
        return f'it is {volume.status or "without a status"}'
    if volume.migration_status not in volumes.NOT_MIGRATING:
        return f'it is being migrated ({volume.migration_status})'
    return ''


def young(volume: volumes.Volume) -> bool:
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
