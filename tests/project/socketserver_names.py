"""Lists what is public in socketserver, and the cases of CPython's test of it, one a line: first word what it is, then its name."""

import ast
import importlib.util
import inspect
import socketserver
import sys

print("python", f"{sys.version_info.major}.{sys.version_info.minor}")


def attributes(cls):
    """What the class's body defines, and what its methods assign to self."""
    yield from vars(cls)
    for node in ast.walk(ast.parse(inspect.getsource(cls).strip())):
        stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if stored and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


for name, cls in vars(socketserver).items():
    if not inspect.isclass(cls) or cls.__module__ != "socketserver" or name.startswith("_"):
        continue
    print("name", name)
    for attribute in sorted(set(attributes(cls))):
        if not attribute.startswith("_"):
            print("name", f"{name}.{attribute}")

try:
    spec = importlib.util.find_spec("test.test_socketserver")
except ModuleNotFoundError:
    spec = None
if spec is not None:
    with open(spec.origin, encoding="utf-8") as file:
        module = ast.parse(file.read())
    for cls in module.body:
        for function in getattr(cls, "body", []):
            if isinstance(function, ast.FunctionDef) and function.name.startswith("test_"):
                print("case", f"{cls.name}.{function.name}")
