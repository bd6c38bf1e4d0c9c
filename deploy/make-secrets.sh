#!/bin/sh
# Makes the broker's logins for docker-compose.yml, once, in deploy/secrets (which git ignores). To change them: remove the
# folder, run this again, and start everything anew.
set -eu
cd "$(dirname "$0")"
if [ -d secrets ]; then
    echo "deploy/secrets is there already" >&2
    exit 0
fi
umask 077
mkdir secrets.new
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
api=$(password) worker=$(password)
sed -e "s/@api-service@/$api/" -e "s/@backup-worker@/$worker/" rabbitmq/definitions.json >secrets.new/rabbitmq-definitions.json
printf 'amqp://api-service:%s@rabbitmq:5672/%%2f' "$api" >secrets.new/api-amqp-url
printf 'amqp://backup-worker:%s@rabbitmq:5672/%%2f' "$worker" >secrets.new/worker-amqp-url
# The services are other users than you. Nobody else gets through the folder, which is yours alone.
chmod 644 secrets.new/*
mv secrets.new secrets
