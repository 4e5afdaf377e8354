# SPDX-License-Identifier: Apache-2.0

"""The changes, one module a kind: how each is done, observed, reverted."""

from __future__ import annotations

from nova_recovery.engine import change


def registry() -> change.Registry:
    """Every change by its kind."""
    # Imported here: the planners need the kinds' names, not their clients.
    from nova_recovery.changes import allocation
    from nova_recovery.changes import backup
    from nova_recovery.changes import claim_server
    from nova_recovery.changes import evacuate
    from nova_recovery.changes import fence
    from nova_recovery.changes import guest_reboot
    from nova_recovery.changes import host
    from nova_recovery.changes import legacy_mappings
    from nova_recovery.changes import legacy_volumes
    from nova_recovery.changes import lock
    from nova_recovery.changes import port
    from nova_recovery.changes import purge_queue
    from nova_recovery.changes import reboot
    from nova_recovery.changes import reconnect
    from nova_recovery.changes import record
    from nova_recovery.changes import relations
    from nova_recovery.changes import restart
    from nova_recovery.changes import states
    from nova_recovery.changes import verify
    from nova_recovery.changes import volume_attach
    from nova_recovery.changes import volume_detach
    from nova_recovery.changes import volume_mapping
    from nova_recovery.changes import volume_recreate
    from nova_recovery.changes import volume_reset
    from nova_recovery.changes import watch_boot

    kinds: tuple[change.Change, ...] = (
        allocation.MoveAllocation(),
        backup.CreateBackup(),
        claim_server.ClaimServer(),
        claim_server.ReleaseServer(),
        evacuate.EvacuateServer(),
        fence.FenceHost(),
        guest_reboot.RebootGuest(),
        host.ClaimHost(),
        host.ForceDown(),
        host.ReleaseHost(),
        legacy_mappings.CleanMappings(),
        legacy_volumes.CleanVolumes(),
        lock.LockServer(),
        lock.UnlockServer(),
        reboot.RebootServer(),
        reboot.StartServer(),
        port.BindPort(),
        purge_queue.PurgeQueue(),
        reconnect.ReconnectVolume(),
        record.MoveRecord(),
        relations.RecordRelations(),
        restart.RestartServer(),
        states.SetStates(),
        verify.VerifyServer(),
        volume_attach.AttachVolume(),
        volume_detach.DropAttachment(),
        volume_mapping.DropMapping(),
        volume_mapping.LinkMapping(),
        volume_recreate.RecreateAttachment(),
        volume_reset.ResetVolume(),
        watch_boot.WatchBoot(),
    )
    return {one.kind: one for one in kinds}
