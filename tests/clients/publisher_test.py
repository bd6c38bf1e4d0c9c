"""What publisher.py may rely on, beyond its own way.

    python publisher_test.py AMQP_URL LOGIN PROJECT VOLUME OTHERS_VOLUME DOCS
"""

import json
import pathlib
import sys

import jsonschema
import yaml

import publisher as example


def main(url, login, project, volume, others_volume, docs):
    docs = pathlib.Path(docs)
    schemas = {path.stem: json.loads(path.read_text()) for path in (docs / "schemas").glob("*.json")}
    document = yaml.safe_load((docs / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    heard = []

    class Checked(example.Publisher):
        def ask(self, key, request):
            answer = super().ask(key, request)
            jsonschema.validate(answer, schemas["reply"])
            if answer["verdict"] != "rejected":
                jsonschema.validate(request, schemas["request"])
            return answer

    class CheckedListener(example.Listener):
        def next(self):
            properties, message = super().next()
            if "specversion" in message:
                kind = "rejected" if message["type"] == "request.rejected.v1" else "status"
                jsonschema.validate(message, schemas[f"{kind}-event"])
                heard.append(message)
            return properties, message

    example.Listener = CheckedListener
    example.Publisher = Checked
    publisher = example.main(url, login, project, volume)
    types = {event["type"] for event in heard}
    assert {"backup.creating.v1", "backup.available.v1", "backup.restoring.v1"} <= types, types

    validator = jsonschema.Draft202012Validator(schemas["request"])
    # Another project's volume is not there, whatever it is; a wrong body is refused by name.
    wrong = example.request("backup", project, backup={"volume_id": volume, "size": 3})
    assert not validator.is_valid(wrong)
    for request, code, word in [
        (example.request("backup", project, backup={"volume_id": others_volume}), "itemNotFound", others_volume),
        (example.request("backup", "somebody", backup={"volume_id": volume}), "forbidden", "somebody"),
        (wrong, "badRequest", "size"),
        (b"{no json", "unreadable", ""),
    ]:
        answer = publisher.ask("backup.nova.main", request)
        assert answer["verdict"] == "rejected", answer
        assert answer["rejection"]["code"] == code, answer
        assert word in answer["rejection"]["message"], answer
        while True:
            _, event = publisher.events.next()
            if event["type"] == "request.rejected.v1":
                break
        assert event["data"]["code"] == code, event
        assert event["data"]["login"] == login, event
    print("PUBLISHER OK", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
