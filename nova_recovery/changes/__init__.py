# SPDX-License-Identifier: Apache-2.0

"""The changes, one module a kind: how each is done, observed, reverted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_recovery.engine.change import Change, Registry

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud


def registry() -> Registry:
    """Every change by its kind."""
    # Imported here: the planners need the kinds' names, not their clients.
    from nova_recovery.changes.allocation import MoveAllocation
    from nova_recovery.changes.backup import CreateBackup
    from nova_recovery.changes.claims import (
        ClaimHost,
        ClaimServer,
        ReleaseHost,
        ReleaseServer,
    )
    from nova_recovery.changes.evacuate import EvacuateServer
    from nova_recovery.changes.guest_reboot import RebootGuest
    from nova_recovery.changes.host import FenceHost, ForceDown
    from nova_recovery.changes.legacy_mappings import CleanMappings
    from nova_recovery.changes.legacy_volumes import CleanVolumes
    from nova_recovery.changes.lock import LockServer, UnlockServer
    from nova_recovery.changes.port import BindPort
    from nova_recovery.changes.purge_queue import PurgeQueue
    from nova_recovery.changes.reboot import RebootServer, StartServer
    from nova_recovery.changes.reconnect import ReconnectVolume
    from nova_recovery.changes.record import MoveRecord
    from nova_recovery.changes.relations import RecordRelations
    from nova_recovery.changes.restart import RestartServer
    from nova_recovery.changes.states import SetStates
    from nova_recovery.changes.verify import VerifyServer
    from nova_recovery.changes.volume_attach import AttachVolume
    from nova_recovery.changes.volume_detach import DropAttachment
    from nova_recovery.changes.volume_mapping import DropMapping, LinkMapping
    from nova_recovery.changes.volume_recreate import RecreateAttachment
    from nova_recovery.changes.volume_reset import ResetVolume
    from nova_recovery.changes.watch_boot import WatchBoot

    kinds: tuple[Change[Cloud], ...] = (
        MoveAllocation(),
        CreateBackup(),
        ClaimServer(),
        ReleaseServer(),
        EvacuateServer(),
        FenceHost(),
        RebootGuest(),
        ClaimHost(),
        ForceDown(),
        ReleaseHost(),
        CleanMappings(),
        CleanVolumes(),
        LockServer(),
        UnlockServer(),
        RebootServer(),
        StartServer(),
        BindPort(),
        PurgeQueue(),
        ReconnectVolume(),
        MoveRecord(),
        RecordRelations(),
        RestartServer(),
        SetStates(),
        VerifyServer(),
        AttachVolume(),
        DropAttachment(),
        DropMapping(),
        LinkMapping(),
        RecreateAttachment(),
        ResetVolume(),
        WatchBoot(),
    )
    return {one.kind: one for one in kinds}
