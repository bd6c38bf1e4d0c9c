"""A service that publishes backup and restore jobs, and follows them by their events. Needs pika.

    python publisher.py AMQP_URL LOGIN PROJECT VOLUME

It backs the volume up, restores the backup to a new volume, and prints the events it saw as JSON, one a line.
"""

import json
import sys
import uuid

import pika

JOBS, EVENTS = "bk.v1.jobs", "bk.v1.events"
ENDS = {"available", "error", "error_restoring"}


class Listener:
    def __init__(self, channel, name):
        self.name = name
        self.channel = channel
        self.deliveries = channel.consume(name, inactivity_timeout=120)

    def next(self):
        delivery, properties, body = next(self.deliveries)
        assert delivery is not None, "nothing came"
        self.channel.basic_ack(delivery.delivery_tag)
        return properties, json.loads(body)


class Publisher:
    def __init__(self, url, login):
        self.login = login
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.confirm_delivery()
        self.events = self.listen("events", f"rejected.{login}", "status.#")
        self.answers = self.listen("answers")

    def listen(self, purpose, *keys):
        """A queue of our own, whose name begins with our login, bound to events by these keys."""
        channel = self.connection.channel()
        name = f"{self.login}.{purpose}.{uuid.uuid4()}"
        channel.queue_declare(name, exclusive=True)
        for key in keys:
            channel.queue_bind(name, EVENTS, key)
        return Listener(channel, name)

    def ask(self, key, request):
        """Publishes a request, and returns the answer. Asking again with the same request is safe."""
        properties = pika.BasicProperties(
            user_id=self.login,  # the broker refuses any other than our own
            message_id=str(uuid.uuid4()),
            type="emberkeep.request.v1",
            content_type="application/json",
            delivery_mode=2,
            reply_to=self.answers.name,
        )
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        # Raises when the broker refuses it: its queue is full, later is better.
        self.channel.basic_publish(JOBS, key, body, properties)
        answered, answer = self.answers.next()
        assert answered.correlation_id == properties.message_id
        return answer

    def follow(self, member, wanted_id, statuses):
        """The next event about this backup_id or volume_id with one of these statuses."""
        while True:
            properties, event = self.events.next()
            assert properties.content_type.startswith("application/cloudevents+json")
            print(json.dumps(event), flush=True)
            data = event["data"]
            if data.get(member) == wanted_id and data.get("status") in statuses:
                return event


def request(kind, project, **rest):
    return {"schema": "emberkeep.request.v1", "job_id": str(uuid.uuid4()), "kind": kind,
            "project_id": project, **rest}


def main(url, login, project, volume):
    publisher = Publisher(url, login)
    backup = request("backup", project, backup={"volume_id": volume, "name": "from Python"})
    answer = publisher.ask("backup.nova.main", backup)
    assert answer["verdict"] == "accepted", answer
    made = publisher.follow("backup_id", answer["backup_id"], ENDS)
    assert made["data"]["status"] == "available", made

    # We do not remember whether we sent it: once more.
    again = publisher.ask("backup.nova.main", backup)
    assert (again["verdict"], again["outcome"]) == ("duplicate", "done"), again
    assert again["backup_id"] == answer["backup_id"]

    restore = request("restore", project, backup_id=answer["backup_id"], restore={"name": "restored"})
    answer = publisher.ask("restore.nova.main", restore)
    assert answer["verdict"] == "accepted", answer
    restored = publisher.follow("volume_id", answer["volume_id"], ENDS)
    assert restored["data"]["status"] == "available", restored
    return publisher


if __name__ == "__main__":
    main(*sys.argv[1:])
