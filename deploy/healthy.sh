#!/bin/bash
# Whether the service in this container is ready: it has its broker, the api-service its database, a worker its target.
exec 3<>"/dev/tcp/127.0.0.1/${HEALTHY_PORT:?}" || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
read -r -t 4 _ status _ <&3
[ "$status" = 200 ]
