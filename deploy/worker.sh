#!/bin/sh
# A worker of a scaled service: its name is that of its container, which it keeps over restarts.
EMBERKEEP__WORKER__NAME="${EMBERKEEP__WORKER__NAME:-worker-$(hostname)}"
export EMBERKEEP__WORKER__NAME
if [ -f /etc/emberkeep/emberkeep.toml ]; then
    exec backup-worker --config /etc/emberkeep/emberkeep.toml "$@"
fi
exec backup-worker "$@"
