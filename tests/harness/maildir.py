"""Reading Maildirs."""
import contextlib
import os


def read_maildir(path):
    """The letters in PATH/new, as bytes, oldest first; none where there is no such Maildir."""
    new = os.path.join(path, "new")
    letters = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(new),
                           key=lambda n: (os.stat(os.path.join(new, n)).st_mtime_ns, n)):
            with open(os.path.join(new, name), "rb") as f:
                letters.append(f.read())
    return letters
