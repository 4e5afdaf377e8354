# Runs in the tree, by "sh -eu": what makes a compute host's tree one of a
# whole machine, with a kernel of its own.
systemctl --quiet unmask systemd-udevd systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-udev-trigger iscsid.socket iscsid \
    open-iscsi tgt systemd-networkd lvm2-monitor dm-event.socket \
    nfs-server nfs-client.target proc-fs-nfsd.mount
systemctl --quiet mask systemd-networkd-wait-online systemd-timesyncd \
    serial-getty@ttyS0 systemd-pstore logrotate.timer

cat >/etc/systemd/system/serial-shell.service <<'END'
[Unit]
Description=A shell on the second serial port, for who holds the machine

[Service]
ExecStart=/bin/sh
StandardInput=tty
StandardOutput=tty
StandardError=journal
TTYPath=/dev/ttyS1
TTYReset=yes
Restart=always
WorkingDirectory=/root

[Install]
WantedBy=multi-user.target
END
systemctl --quiet disable nfs-server
systemctl --quiet enable tgt iscsid open-iscsi systemd-networkd serial-shell

cat >/etc/systemd/network/10-switch.network <<'END'
[Match]
Name=eth0
[Network]
LinkLocalAddressing=no
END
# a session of PAM and logind takes seconds here
echo 'UsePAM no' >/etc/ssh/sshd_config.d/machine.conf
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
