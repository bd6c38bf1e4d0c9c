#!/bin/sh
# The first process of the guest: makes a machine of the host's files that can be written to, and runs `run` in it.
# Before this line stand SHARED, the one folder of the host that the guest may write to, SIZE, of all other writing, and ADDRESS,
# the guest's in the network with the host.
exec < /dev/null > /dev/console 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8
kernel=$(uname -r)
insmod "/usr/lib/uml/modules/$kernel/kernel/fs/overlayfs/overlay.ko"
# Programs see the host's files, and whatever they write stays in memory.
mount -t tmpfs -o "size=$SIZE" tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
root=/mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t devtmpfs dev $root/dev
mkdir -p $root/dev/pts $root/dev/shm
mount -t devpts devpts $root/dev/pts
ln -s /proc/self/fd $root/dev/fd
for place in run tmp var/lib/nfs dev/shm; do mount -t tmpfs tmpfs $root/$place; done
mkdir -p "$root$SHARED"
mount -t hostfs -o "$SHARED" none "$root$SHARED"
mkdir -p $root/lib/modules
ln -sfn "/usr/lib/uml/modules/$kernel" "$root/lib/modules/$kernel"
chroot $root ip link set lo up
chroot $root ip address add "$ADDRESS/30" dev vec0
chroot $root ip link set vec0 up
chroot $root /bin/sh "$SHARED/run" > "$root$SHARED/output" 2>&1
echo $? > "$root$SHARED/status"
busybox poweroff -f
