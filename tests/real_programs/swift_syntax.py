"""Prints every place where a Swift file is no Swift, by the grammar of PyPI's tree-sitter-swift; exits 1 if there is one."""

import sys

import tree_sitter_swift
from tree_sitter import Language, Parser


def faults(node):
    if node.is_error or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from faults(child)


tree = Parser(Language(tree_sitter_swift.language())).parse(sys.stdin.buffer.read())
found = list(faults(tree.root_node))
for node in found:
    kind = f"missing {node.type}" if node.is_missing else "no Swift"
    print(f"line {node.start_point[0] + 1}: {kind}: {node.text.decode()[:80]!r}")
print(f"{tree.root_node.child_count} declarations")
sys.exit(bool(found))
