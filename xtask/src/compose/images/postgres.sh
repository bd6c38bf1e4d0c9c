#!/bin/sh
# What the real image does at its first start, as far as docker-compose.yml asks for it.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # The words of POSTGRES_INITDB_ARGS are meant to be split.
    # shellcheck disable=SC2086
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_INITDB_ARGS:-} "$PGDATA"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$PGDATA" postgres
fi
exec "$@" -c listen_addresses='*'
