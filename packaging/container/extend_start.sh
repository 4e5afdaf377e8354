#!/bin/bash
# Sourced by kolla_start, as nova.

if [[ ! -d /var/log/kolla/nova-recovery ]]; then
    mkdir -p /var/log/kolla/nova-recovery
fi
if [[ $(stat -c %a /var/log/kolla/nova-recovery) != "755" ]]; then
    chmod 755 /var/log/kolla/nova-recovery
fi
