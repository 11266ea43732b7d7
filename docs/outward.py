"""A preprocessor of mdbook: a link that leads out of the book becomes its text."""

import json
import re
import sys

#: A link to a file or folder above `docs/`: `../` from a page there, `../../` from one in a folder of it.
LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+)[^)]*\)")


def inward(chapter):
    depth = chapter["path"].count("/")
    leads_out = lambda link: len(link[2]) // len("../") > depth
    chapter["content"] = LINK.sub(lambda link: link[1] if leads_out(link) else link[0], chapter["content"])
    for item in chapter["sub_items"]:
        inward(item["Chapter"])


if sys.argv[1:2] == ["supports"]:
    sys.exit(0)
_, book = json.load(sys.stdin)
for item in book.get("items") or book["sections"]:
    if isinstance(item, dict) and "Chapter" in item:
        inward(item["Chapter"])
json.dump(book, sys.stdout)
