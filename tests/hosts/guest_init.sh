#!/bin/sh
# The first process of a guest on a bed: as tests/guests/init.sh, but its
# address is in the kernel's command line.
export PATH=/bin:/sbin
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module"; done
ip link set lo up
ip link set eth0 up
ip addr add "$(sed -n 's/.*address=\([^ ]*\).*/\1/p' /proc/cmdline)" dev eth0
dropbear -s -E 2>/dev/console
echo "boot $(cat /proc/sys/kernel/random/boot_id)" >/dev/console
while :; do sleep 3600; done
