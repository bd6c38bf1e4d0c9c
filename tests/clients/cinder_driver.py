"""Drives the backup driver classes of a real Cinder without its database, broker or API.

    cinder_driver.py --repository DIR [--driver posix|nfs] backup  --volume FILE --volume-id ID --backup-id ID [--parent ID] ...
    cinder_driver.py --repository DIR [--driver posix|nfs] restore (--backup-id ID --target FILE)... [--new]

The catalogue rows that Cinder would have are read from the metadata files in the repository, as a
restore by hand would do it. Prints one JSON object; exit 0 only when the driver raised nothing.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import pathlib
import sys
from unittest import mock

GIB = 1 << 30


class Row(dict):
    """A catalogue row: what the drivers use of `cinder.objects.Backup`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value

    def save(self):
        pass

    def refresh(self):
        pass

    @contextlib.contextmanager
    def as_read_deleted(self):
        yield


def rows(repository):
    """The rows of every finished backup in the repository, by id."""
    found = {}
    for path in pathlib.Path(repository).rglob("*_metadata"):
        head = json.loads(path.read_text("utf-8"))
        found[head["backup_id"]] = Row(
            id=head["backup_id"],
            volume_id=head["volume_id"],
            parent_id=head.get("parent_id"),
            container=str(path.parent.relative_to(repository)),
            service_metadata=path.name.removesuffix("_metadata"),
            size=2**31,
            status="restoring",
            display_name=head.get("backup_name"),
            display_description=head.get("backup_description"),
        )
    return found


def make_driver(arguments, catalogue):
    """An instance of the driver class, with its outside world replaced by the catalogue."""
    from cinder import context, objects
    from cinder.backup import chunkeddriver
    from cinder.backup.drivers import nfs, posix
    from oslo_config import cfg

    configuration = cfg.CONF
    configuration([], project="cinder", default_config_files=[])
    configuration.set_override("backup_posix_path", arguments.repository)
    configuration.set_override("backup_compression_algorithm", arguments.compression)
    configuration.set_override("backup_file_size", arguments.object_size)
    configuration.set_override("backup_sha_block_size_bytes", arguments.block_size)
    configuration.set_override("backup_enable_progress_timer", False)
    configuration.set_override("connection", "sqlite://", group="database")  # never used, but a driver opens it
    objects.register_all()
    objects.Backup.get_by_id = staticmethod(lambda _context, backup_id: catalogue[backup_id])
    chunkeddriver.ChunkedBackupDriver._send_progress_end = lambda *_: None
    chunkeddriver.ChunkedBackupDriver._send_progress_notification = lambda *_: None
    chunkeddriver.ChunkedBackupDriver.get_metadata = lambda *_: None
    chunkeddriver.ChunkedBackupDriver.put_metadata = lambda *_: None
    if arguments.driver == "nfs":
        nfs.NFSBackupDriver._init_backup_repo_path = lambda _self: arguments.repository
        driver = nfs.NFSBackupDriver(context.get_admin_context())
    else:
        driver = posix.PosixBackupDriver(context.get_admin_context())
    return driver


def backup(arguments):
    catalogue = rows(arguments.repository)
    size_bytes = os.path.getsize(arguments.volume)
    size_gib = max(1, math.ceil(size_bytes / GIB))
    row = Row(
        id=arguments.backup_id,
        volume_id=arguments.volume_id,
        parent_id=arguments.parent,
        container=None,
        service_metadata=None,
        size=size_gib,
        status="creating",
        display_name="made by cinder",
        display_description=None,
        created_at=datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    )
    driver = make_driver(arguments, catalogue)
    driver.db = mock.Mock()
    driver.db.volume_get.return_value = {"size": size_gib}
    with open(arguments.volume, "rb") as volume:
        driver.backup(row, volume)
    return {"backup_id": row.id, "container": row.container, "service_metadata": row.service_metadata,
            "object_count": row.object_count}


def restore(arguments):
    catalogue = rows(arguments.repository)
    restored = []
    for backup_id, path in zip(arguments.backup_id, arguments.target, strict=True):
        row = catalogue[backup_id]
        driver = make_driver(arguments, catalogue)
        with open(path, "r+b") as target:
            driver.restore(row, row.volume_id, target, arguments.new)
        restored.append({"backup_id": row.id, "target_bytes": os.path.getsize(path)})
    return restored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", required=True)
    parser.add_argument("--driver", choices=["posix", "nfs"], default="posix")
    parser.add_argument("--compression", default="zlib")
    parser.add_argument("--object-size", type=int, default=16 << 20)
    parser.add_argument("--block-size", type=int, default=32768)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("backup")
    verb.add_argument("--volume", required=True)
    verb.add_argument("--volume-id", required=True)
    verb.add_argument("--backup-id", required=True)
    verb.add_argument("--parent")
    verb.set_defaults(run=backup)
    verb = verbs.add_parser("restore")
    verb.add_argument("--backup-id", required=True, action="append")
    verb.add_argument("--target", required=True, action="append")
    verb.add_argument("--new", action="store_true")
    verb.set_defaults(run=restore)
    arguments = parser.parse_args()
    arguments.repository = os.path.abspath(arguments.repository)
    try:
        print(json.dumps(arguments.run(arguments)))
    except Exception as error:  # the driver's own words, and a failing exit
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
