"""Takes the package `sessions_tests` out of Django's source package: unpack.py FOLDER-WITH-IT INTO."""

import os
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

[packed] = Path(sys.argv[1]).glob("*.tar.gz")
into = Path(sys.argv[2])
with tempfile.TemporaryDirectory(dir=into.parent) as folder, tarfile.open(packed) as archive:
    for member in archive:
        parts = PurePosixPath(member.name).parts
        if member.isfile() and parts[1:3] == ("tests", "sessions_tests") and ".." not in parts:
            path = Path(folder, *parts[2:])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())
    into.mkdir(exist_ok=True)
    os.replace(Path(folder, "sessions_tests"), into / "sessions_tests")
