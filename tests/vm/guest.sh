#!/bin/sh
# What the machine under QEMU does, in a mount namespace of its own: `guest.sh RUN CHECKOUT`. It takes the real
# machine's files for its own, though nothing that it writes is kept there, carries out RUN/command in the checkout, and
# leaves in RUN, the one folder that both share, its output (`log`) and its exit status (`status`).
#
# The root that virtme-ng mounts caches nothing: to start Python takes it seconds. So the same files (tag `weft`) are
# mounted once more, with a cache, and with an overlay in memory.
run=$1 checkout=$2
exec >>"$run/log" 2>&1
set -eu
root=/mnt
release=$(uname -r)
modules=$(readlink -f "/lib/modules/$release")

mount -t tmpfs -o size=75% tmpfs /run
mkdir -p /run/below /run/above /run/work /run/checkout
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000 weft /run/below
mount -t overlay -o lowerdir=/run/below,upperdir=/run/above,workdir=/run/work overlay "$root"
mount --bind "$root$checkout" /run/checkout
for place in proc sys dev; do
    mount --rbind "/$place" "$root/$place"
done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root$checkout" "$root/lib/modules/$release" "$root/run/before"
mount --bind /run/checkout "$root$checkout" # it may be in /tmp
mkdir -p "$root$run"
mount --bind "$run" "$root$run"
mount --bind "$modules" "$root/lib/modules/$release"
# Many kernels have it built in; on others Docker loads it.
modprobe br_netfilter
# Not chroot: in there no user namespace can be made.
cd "$root"
pivot_root . run/before
umount -l run/before

cd "$checkout"
echo "kernel $release, up after $(cut -d ' ' -f 1 /proc/uptime) s"
status=0
sh "$run/command" || status=$?
echo "$status" >"$run/status"
