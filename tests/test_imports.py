"""The shape of the house: which module may import which, and what stays out of which room."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "roofline"

# A module imports from layers above its own line only. A package counts as one module; its files may import each other.
LAYERS: list[set[str]] = [
    {"units", "files", "columns"},
    {"spec", "tables"},
    {"tensor", "workload"},
    {"demand"},
    {"blocks", "ceilings", "quantization"},
    {"model", "hardware", "precision"},
    {"runtime", "weights", "fitted", "economy", "numa"},
    {"timing", "quality"},
    {"machine", "readers", "local", "stack"},
    {"placement", "splitting", "machines"},
    {"parts"},
    {"buffers", "links"},
    {"band", "memory", "catalog"},
    {"disk", "inverse", "lineup", "paging"},
    {"prediction"},
    {"tensor_parallel"},
    {"calculator"},
    {"grid"},
    {"upgrades"},
    {"api", "explain", "ways_out", "reasons"},
    {"points", "beyond_memory"},
    {"report", "comparison", "serving", "speculation", "threads", "itemised", "sizing", "loading"},
    {"comparison_verdicts"},
    {"file_quality"},
    {"listing", "inspection", "comparison_report", "serving_report", "fit_report", "mixes", "loading_report"},
    {"__init__"},
    {"sweep", "recommend"},
    {"bench"},
    {"measure"},
    {"check"},
    {"calibrate"},
    {"engine"},
    {"charts"},
    {"plot"},
    {"document"},
    {"explorer"},
    {"cli"},
    {"__main__"},
]
RANK = {module: rank for rank, modules in enumerate(LAYERS) for module in modules}

# Loaded only inside the function that needs them, so that `predict` and `--help` start fast.
LAZY = {
    "plotly", "psutil", "cpuinfo", "gguf", "pandas", "httpx", "filelock", "torch", "pynvml", "threadpoolctl",
    "pyarrow", "distributed", "dask", "kaleido", "dash", "flask", "waitress", "werkzeug",
}  # fmt: skip
ALLOWED_AT_START = {"numpy", "pydantic", "pydantic_core", "typer", "click", "rich", "annotated_types"}
# What a room may load with itself, since all of it is used or nothing: only a function imports the explorer.
OF_A_ROOM = {"explorer": {"dash", "flask", "psutil", "waitress", "werkzeug"}}
DRAWS_ONLY = ("cli", "report", "tables", "plot", "document", "explorer")
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The top-level module or package of roofline that ``path`` belongs to: 'units', 'cli', '__init__'."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import under ``tree``; 'from a import b' gives 'a.b'."""
    package = ["roofline", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            parts = [*base, *(node.module.split(".") if node.module else [])]
            yield from ((node.lineno, ".".join([*parts, alias.name])) for alias in node.names)


def target_of(dotted: str) -> str | None:
    """The room an import reaches, or None outside roofline; ``from roofline import predict`` is the room predict."""
    parts = dotted.split(".")
    if parts[0] != "roofline":
        return None
    inside = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").is_file())
    return parts[1] if inside else "__init__"


def at_import_time(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: not function bodies, not ``if TYPE_CHECKING``."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            waiting.extend(statement.orelse)
            continue
        yield statement
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                waiting.append(child)
            elif isinstance(child, ast.ExceptHandler):
                waiting.extend(child.body)


def numbers_that_are_prefixes() -> set[float]:
    return {1e3**power for power in range(1, 6)} | {1024.0**power for power in range(1, 6)} | {1e-3, 1e-6, 1e-9}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    me = room(path)
    assert me in RANK, f"{name_of(path)} is in no layer: add {me!r} to LAYERS"
    for line, dotted in imports(tree_of(path), path):
        other = target_of(dotted)
        if other is not None and other != me:
            assert other in RANK, f"{name_of(path)}:{line} imports {dotted}, which is in no layer"
            assert RANK[other] < RANK[me], f"{name_of(path)}:{line}: {me} must not import {other}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_slow_packages_are_imported_where_they_are_used(path: Path) -> None:
    for statement in at_import_time(tree_of(path)):
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for line, dotted in imports(statement, path):
                top = dotted.split(".")[0]
                assert target_of(dotted) not in OF_A_ROOM or room(path) in OF_A_ROOM, f"{name_of(path)}:{line}"
                if top in OF_A_ROOM.get(room(path), ()):
                    continue
                assert top not in LAZY, f"{name_of(path)}:{line} imports {top} when the module loads"
                known = top in sys.stdlib_module_names or top == "roofline" or top in ALLOWED_AT_START
                assert known, f"{name_of(path)}:{line}: {top} is not a dependency of the core"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) not in {"cli", "__main__"}], ids=name_of)
def test_the_library_does_not_print(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "sys.stdout.write", "sys.stderr.write", "typer.echo", "click.echo"}, (
                f"{name_of(path)}:{node.lineno} calls {called}"
            )


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in DRAWS_ONLY], ids=name_of)
def test_cli_and_reports_do_not_calculate(path: Path) -> None:
    texts = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple)

    def is_text(node: ast.expr) -> bool:  # "-" * width, [None] * n and folder / "name.toml" are no physics
        return isinstance(node, texts) and not (isinstance(node, ast.Constant) and not isinstance(node.value, str))

    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, (ast.Mult, ast.Div, ast.Pow)):
            operands = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.value]
            assert any(map(is_text, operands)), f"{name_of(path)}:{node.lineno} calculates: {ast.unparse(node)}"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) != "units"], ids=name_of)
def test_only_units_knows_a_prefix(path: Path) -> None:
    prefixes = numbers_that_are_prefixes()

    def is_prefix(node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            text = ast.unparse(node).replace(" ", "").replace("_", "").replace(".0", "")
            return re.fullmatch(r"(10|1000|1024|2)\*\*-?\d+|1e3\*\*\d+", text) is not None
        if not isinstance(node, ast.Constant) or isinstance(node.value, (bool, str, bytes)):
            return False
        return isinstance(node.value, (int, float)) and float(node.value) in prefixes

    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
            assert not (is_prefix(node.left) or is_prefix(node.right)), (
                f"{name_of(path)}:{node.lineno} converts a unit: {ast.unparse(node)}"
            )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["predict", "--hw", "rpi5", "--model", "mistral7b", "--quant", "q4_0"]],
    ids=["help", "predict"],
)
def test_a_prediction_loads_no_slow_package(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['roofline', *{arguments!r}]\n"
        "from roofline.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "LOADED" in loaded
    assert loaded & (LAZY | {"requests", "yaml"}) == set()
