#!/bin/sh
# Makes the logins of broker and database for docker-compose.yml, once, in deploy/secrets (which git ignores). To change them:
# remove the folder, run this again, and start everything anew; the database keeps the password it was made with, in its volume.
set -eu
cd "$(dirname "$0")"
if [ -f secrets/api-database-url ]; then
    echo "deploy/secrets is there already" >&2
    exit 0
fi
umask 077
rm -rf secrets.new
mkdir secrets.new
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ -d secrets ]; then
    # Of an earlier version, when there was no server for the database.
    cp secrets/* secrets.new
else
    api=$(password) worker=$(password) operator=$(password)
    sed -e "s/@api-service@/$api/" -e "s/@backup-worker@/$worker/" -e "s/@operator@/$operator/" \
        rabbitmq/definitions.json >secrets.new/rabbitmq-definitions.json
    printf '%s' "$operator" >secrets.new/operator-password
    printf 'amqp://api-service:%s@rabbitmq:5672/%%2f' "$api" >secrets.new/api-amqp-url
    printf 'amqp://backup-worker:%s@rabbitmq:5672/%%2f' "$worker" >secrets.new/worker-amqp-url
fi
database=$(password)
printf '%s' "$database" >secrets.new/postgres-password
printf 'postgres://emberkeep:%s@postgres:5432/emberkeep' "$database" >secrets.new/api-database-url
# The services are other users than you. Nobody else gets through the folder, which is yours alone.
chmod 644 secrets.new/*
rm -rf secrets
mv secrets.new secrets
