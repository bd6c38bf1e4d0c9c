#!/bin/sh
# In place of mount(8) in the unit tests: -t nfs -o OPTIONS -- SHARE POINT. It notes what it was asked for in the
# mountinfo of the test, beside the mount base, and refuses or hangs when the test says so.
place=$(dirname "$(dirname "$7")")
echo "$4 $6" >> "$place/asked"
if [ -e "$place/hang" ]; then exec sleep 1000; fi
if [ -e "$place/refuse" ]; then cat "$place/refuse" >&2; exit 32; fi
echo "$(cat "$place/mount-id") 1 0:99 / $7 rw,relatime - nfs4 $6 rw,vers=4.2" >> "$place/mountinfo"
