# Runs in the new tree, by "sh -eu": what makes Debian a compute host.

# the numbers of the guide: nova is 108 and 120 before they are changed
groupadd --system --gid 120 nova
useradd --system --uid 108 --gid nova --groups libvirt,kvm \
    --home-dir /var/lib/nova --shell /bin/sh nova
install -d -o nova -g nova /var/lib/nova /var/lib/nova/instances /var/log/nova

# somebody who becomes root by sudo, with a password
useradd --create-home --groups sudo --shell /bin/bash stack
echo stack:practice | chpasswd

# what a container has no use for, or must not do
systemctl --quiet mask systemd-udevd systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-udev-trigger iscsid.socket iscsid \
    open-iscsi tgt systemd-networkd systemd-resolved console-getty \
    getty@tty1 libvirt-guests apt-daily.timer apt-daily-upgrade.timer \
    lvm2-monitor dm-event.socket dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer nfs-server nfs-blkmap nfs-client.target rpcbind \
    rpcbind.socket proc-fs-nfsd.mount
systemctl --quiet enable nova-compute ssh libvirtd

# it runs all the time, not only when it is asked
echo 'LIBVIRTD_ARGS=""' >/etc/default/libvirtd

# each host has keys of its own, and a machine-id
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
: >/etc/machine-id
: >/etc/fstab
rm -f /etc/resolv.conf

# cgroups and mount namespaces of guests need more than a container has;
# owners of disks are changed and remembered, as on any host
cat >>/etc/libvirt/qemu.conf <<'END'
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
END
