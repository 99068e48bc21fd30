"""Archives in memory."""

import io
import tarfile


def tar(members, mode="w"):
    """Return a tar of names and bytes; a `TarInfo` as the name makes links and devices."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in members.items() if isinstance(members, dict) else members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
