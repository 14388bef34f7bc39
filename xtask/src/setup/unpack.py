"""Takes named files and folders out of a wheel or a source distribution.

Usage: unpack.py ARCHIVE DESTINATION, with one "MEMBER<tab>PATH" line each on standard input;
a member that ends in "/" is a whole folder. Wheels are zip files (PEP 427), source
distributions gzipped tar files (PEP 625); Python's own library reads both.
"""

import os
import shutil
import sys
import tarfile
import zipfile


def main(archive, destination):
    wanted = [line.rstrip("\n").split("\t") for line in sys.stdin]
    found = set()
    for name, source in members(archive):
        for member, path in wanted:
            if name == member:
                write(source(), os.path.join(destination, path))
                found.add(member)
            elif member.endswith("/") and name.startswith(member):
                rest = name[len(member):]
                if ".." in rest.split("/") or rest.startswith("/"):
                    sys.exit(f"{archive}: refusing the path {name}")
                write(source(), os.path.join(destination, path, rest))
                found.add(member)
    missing = [member for member, _ in wanted if member not in found]
    if missing:
        sys.exit(f"{archive} has no {', '.join(missing)}")


def members(archive):
    if archive.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir():
                    yield info.filename, lambda info=info: wheel.open(info)
    else:
        with tarfile.open(archive, "r:gz") as source:
            for info in source:
                if info.isfile():
                    yield info.name, lambda info=info: source.extractfile(info)


def write(source, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with source, open(path, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
