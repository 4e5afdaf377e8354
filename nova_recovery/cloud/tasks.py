# SPDX-License-Identifier: Apache-2.0

"""What a server's task means when nobody is at it any more.

``_init_instance`` and ``_retry_reboot`` in nova/compute/manager.py say what
a nova-compute that starts makes of the task of each of its servers.
"""

from __future__ import annotations

import dataclasses
import shlex

from nova_recovery import program

#: Taken up at the start by newer releases only (34 does, 27 doesn't): there
#: is no request any more, and the task stays for ever.
LEFT = frozenset({'rebooting', 'rebooting_hard'})
#: Seconds in which a nova-compute that is up shows a task of these that is
#: at work under another name (reboot_pending…, reboot_started…).
TAKEN_UP = 60


def unstuck(uuid: str, name: str, why: str = 'nobody is at it') -> str:
    """The command that clears a task that nobody is at."""
    override = shlex.quote(f'no-task:{name}={why}')
    return program.call(
        f'server set {uuid} --task-state none --override {override}'
    )


def stopped(uuid: str, name: str, state: str = 'stopped') -> str:
    """The command that makes a server of a dead host a stopped one.

    Why that can be no lie is for whoever types it to say.

    :param state: another vm_state that it shall have
    """
    override = shlex.quote(f'guest-agrees:{name}=REASON')
    return program.call(
        f'server set {uuid} --vm-state {state} --override {override}'
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the task of a server means whose host is dead.

    :ivar means: what it was at
    :ivar way: what to do about that, lines; a command has one of its own
    """

    means: str
    way: str


_BUILD = Recipe(
    'it was being built, and nothing of it is whole',
    'have its owner delete it and make it anew',
)
_UNSHELVE = Recipe(
    'it was being unshelved, and has all that it is in its image and volumes '
    'still',
    'once its task is cleared, its owner unshelves it again',
)
_SHELVE = Recipe(
    'it was being shelved',
    'once it is recovered, its owner has to ask for that again, and to '
    'delete the image that was begun',
)
#: ``_shelve_instance`` saves this after the image is whole, and before
#: ``_shelve_offload_instance`` destroys the disk.
_OFFLOAD = Recipe(
    'it was being offloaded: its image is complete, and its disk may be gone',
    'its image may be all that is left of it: nobody may delete that',
)
_REBUILD = Recipe(
    'it was being made anew from an image, and its disk may be half of it',
    'once it is recovered, its owner has to ask for that again',
)
_REBOOT = Recipe(
    'a reboot was asked for',
    'recovering it starts it anew, which is all that a reboot does',
)
_IMAGE = Recipe(
    'an image was being made of it',
    'the image stays unfinished: have its owner delete and make it anew',
)
_REST = Recipe(
    'it was to come to rest',
    'once it is recovered, its owner has to ask for that again',
)
_WAKE = Recipe(
    'it was to run again',
    'once it is recovered, its owner has to ask for that again',
)
#: Task -> what it means. Those of a migration are for ``whereabouts``, and
#: ``deleting`` is never recovered.
RECIPES = {
    **dict.fromkeys(
        ('scheduling', 'block_device_mapping', 'networking', 'spawning'),
        _BUILD,
    ),
    **dict.fromkeys(
        (
            'rebooting',
            'reboot_pending',
            'reboot_started',
            'rebooting_hard',
            'reboot_pending_hard',
            'reboot_started_hard',
        ),
        _REBOOT,
    ),
    **dict.fromkeys(
        (
            'image_backup',
            'image_snapshot',
            'image_snapshot_pending',
            'image_pending_upload',
            'image_uploading',
        ),
        _IMAGE,
    ),
    **dict.fromkeys(
        ('rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning'),
        _REBUILD,
    ),
    **dict.fromkeys(
        (
            'shelving',
            'shelving_image_pending_upload',
            'shelving_image_uploading',
        ),
        _SHELVE,
    ),
    'shelving_offloading': _OFFLOAD,
    'unshelving': _UNSHELVE,
    **dict.fromkeys(('powering-off', 'suspending', 'pausing'), _REST),
    **dict.fromkeys(
        ('powering-on', 'resuming', 'unpausing', 'unrescuing'), _WAKE
    ),
}


def of_dead(task: str, host: str, vm_state: str | None = None) -> Recipe:
    """What a task means for a server whose host is dead, and what to do.

    One that is spawning is being built, or unshelved (``unshelve_instance``
    in nova/compute/manager.py): then the owner who deletes it loses it.

    The request may still wait in the message bus, to be carried out on a
    host that the server has left by then: the queue is purged in any case.
    """
    known = RECIPES.get(task, Recipe('something was asked for', ''))
    if vm_state == 'shelved_offloaded':
        known = _UNSHELVE
    means = (
        f'its task is {task}: {known.means}, and the request may wait in the '
        f'queue compute.{host} until the host returns'
    )
    purge = (
        f'purge what waits for {host} before it returns:\n'
        + program.call(f'disaster assess --ready --purge --host {host}')
        + '\nthen say so'
    )
    return Recipe(means, '\n'.join(filter(None, (known.way, purge))))
