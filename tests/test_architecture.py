"""The design: imports between modules, cost of the import, budgets of size, and names."""

from __future__ import annotations

import ast
import graphlib
import importlib
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinygrad_edu

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinygrad_edu"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")
)

# The core: each module and the modules of the package that it imports, these and no others.
CORE: dict[str, set[str]] = {
    "arrays": set(),
    "recording": set(),
    "operation": {"arrays"},
    "engine": {"arrays", "operation", "recording"},
    "gradients": {"arrays", "engine", "recording"},
    "pytorch_names": set(),
    "capture_gate": set(),
    "ops": {"arrays", "capture_gate", "engine", "operation"},
    "losses": {"arrays", "engine", "ops"},
    "windows": {"arrays", "engine", "ops"},
    "linalg": {"engine", "ops"},
    "numpy_functions": {"capture_gate", "engine", "linalg", "ops", "windows"},
    "hooks": {"arrays", "engine"},
    "releasing": set(),
    "tensor": {
        "arrays",
        "capture_gate",
        "engine",
        "gradients",
        "hooks",
        "numpy_functions",
        "ops",
        "pytorch_names",
        "releasing",
    },
    "init": {"arrays"},
    "module": {"arrays", "engine", "pytorch_names", "tensor"},
    "nn": {
        "arrays",
        "capture_gate",
        "engine",
        "init",
        "losses",
        "module",
        "ops",
        "pytorch_names",
        "tensor",
        "windows",
    },
    "lr_scheduler": {"arrays"},
    "optim": {"arrays", "capture_gate", "lr_scheduler", "ops", "tensor"},
    "data": {"arrays", "engine", "init", "ops"},
    "threads": set(),
    "frames": {"engine", "nn"},
    "naming": {"engine", "nn"},
    "anomaly": {"arrays", "engine", "nn", "operation"},
    "function": {"arrays", "engine", "recording", "tensor"},
    "files": {"arrays"},
    "saving": {"arrays", "engine", "files", "init"},
}
# What reads the graph or helps beside it: the folder, and what it imports besides the core.
FOLDERS: dict[str, set[str]] = {
    "explaining": set(),
    "verifying": set(),
    "pictures": set(),
    "checking": set(),
    "capturing": set(),
    "training": {"capturing"},
    "keras": {"training"},
}
OUTSIDE = {"numpy"} | sys.stdlib_module_names
# Packages of extras: who uses which, imported inside the function that needs it.
OPTIONAL: dict[str, set[str]] = {
    "capturing.compiler": {"llvmlite"},
    "capturing.machine_code": {"llvmlite"},
    "capturing.service": {"subprocess", "tempfile"},
    "capturing.mathematics": {"llvmlite", "numba"},  # these two are imported by generated code
    "capturing.products": {"llvmlite", "numba"},
    "checking.rules": {"hypothesis"},
    "files": {"safetensors"},
    "threads": {"threadpoolctl"},
    "keras.bridges": {"keras"},
    "keras.files": {"h5py"},
    "training.history": {"matplotlib"},
    "training.progress": {"rich"},
    "verifying.limits": {"resource"},  # not on Windows
    "verifying.table": {"rich"},
}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom)))


def packages(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top packages that an import names; '' for this one."""
    if isinstance(node, ast.ImportFrom):
        return {"" if node.level else (node.module or "").partition(".")[0]}
    return {alias.name.partition(".")[0] for alias in node.names}


def path_of(module: str) -> Path:
    return PACKAGE / f"{module.replace('.', '/')}.py"


def inside_and_outside(path: Path) -> tuple[set[str], set[str]]:
    """The modules of its own package that a file imports, and the names of other packages."""
    root = next(folder for folder in path.parents if not (folder.parent / "__init__.py").exists())
    inside, outside = set(), set()
    for node in imports(parse(path)):
        if isinstance(node, ast.Import):
            places = [alias.name for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                folders = path.parents[node.level - 1].relative_to(root.parent).parts
                base = ".".join([*folders, *filter(None, [node.module])])
            places = [f"{base}.{alias.name}" for alias in node.names]
        for place in places:
            top, *rest = place.split(".")
            if top != root.name:
                outside.add(top)
                continue
            while rest and not (root / "/".join(rest)).with_suffix(".py").exists():
                rest.pop()
            inside.add(".".join(rest) or "__init__")
    return inside, outside


FOUND = {name: inside_and_outside(path_of(name))[0] for name in MODULES}


def test_the_core_imports_what_the_design_says() -> None:
    programs = {"__init__", "__main__"}
    assert {name: FOUND[name] for name in MODULES if "." not in name} == CORE | {
        name: FOUND[name] for name in programs
    }


def test_folders_keep_to_themselves() -> None:
    used: dict[str, set[str]] = {}
    for name in MODULES:
        folder, dot, _ = name.partition(".")
        if dot:
            others = {other.partition(".")[0] for other in FOUND[name] if "." in other}
            used[folder] = used.get(folder, set()) | others - {folder}
    assert used == FOLDERS


def test_there_is_no_cycle() -> None:
    order = list(graphlib.TopologicalSorter(FOUND).static_order())  # raises CycleError
    assert len(order) == len(MODULES)
    assert not any("__init__" in used for name, used in FOUND.items() if name != "__main__")
    # Programs: they use the library, and the library does not know of them.
    programs = {"__main__", "verifying.student", "verifying.worker"}
    assert not programs & {name for used in FOUND.values() for name in used}


@pytest.mark.parametrize("name", MODULES)
def test_the_core_needs_numpy_and_nothing_else(name: str) -> None:
    assert inside_and_outside(path_of(name))[1] <= OUTSIDE | OPTIONAL.get(name, set())


def test_the_reference_imports_numpy_only() -> None:
    # It must not be able to inherit a mistake of the engine that is checked against it.
    inside, outside = inside_and_outside(ROOT / "models" / "reference.py")
    assert inside == set()
    assert outside - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize("name", MODULES)
def test_imports_stand_at_the_top(name: str) -> None:
    tree = parse(path_of(name))
    top = list(tree.body)
    if name == "__init__":  # what is imported when it is asked for is told to type checkers only
        top += [node for part in tree.body if isinstance(part, ast.If) for node in part.body]
    inside = set(imports(tree)) - set(top)
    assert {used for node in inside for used in packages(node)} <= OPTIONAL.get(name, set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            assert node.id not in {"__import__", "importlib"}, f"line {node.lineno}"


def imported_names(tree: ast.Module) -> set[str]:
    return {(alias.asname or alias.name) for node in imports(tree) for alias in node.names}


def root_of(node: ast.expr) -> str | None:
    """`a` of `a.b.c`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def patches(tree: ast.Module) -> list[int]:
    """The lines in which something imported gets, or loses, an attribute or entry."""
    foreign, lines = imported_names(tree), []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            if root_of(node) in foreign:
                lines.append(node.lineno)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"setattr", "delattr"}
            and root_of(node.args[0]) in foreign
        ):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("name", MODULES)
def test_no_module_changes_what_belongs_to_another(name: str) -> None:
    assert patches(parse(path_of(name))) == []


@pytest.mark.parametrize(
    "line",
    [
        "Box.__add__ = add",
        "ops.add = None",
        "ops.PIECEWISE_CONSTANT[1] = None",
        "Box.a, x = 1, 2",
        "Box.count += 1",
        "del ops.add",
        "setattr(Box, 'a', 1)",
        "def f():\n    ops.a.b = 1",
        "for Box.a in range(3): pass",
    ],
)
def test_the_search_for_patches_finds_them(line: str) -> None:
    assert patches(ast.parse(f"from . import ops\nfrom .engine import Box\n{line}"))
    assert not patches(ast.parse("from .engine import Box\nx = Box.a\nx.b = Box\nself.x = 1"))


def test_only_frames_sets_a_profiler() -> None:
    setting = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if names_in(path.read_text(encoding="utf-8")) & {"setprofile", "settrace"}
    }
    assert setting == {"tinygrad_edu/frames.py"}


def test_importing_the_package_loads_nothing_but_numpy() -> None:
    code = """
import sys
import numpy
before = set(sys.modules)
import tinygrad_edu
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "tinygrad_edu.engine" in loaded
    others = {name.partition(".")[0] for name in loaded} - {"tinygrad_edu"}
    assert others <= OUTSIDE
    heavy = "matplotlib pooch rich scipy sklearn tensorflow torch models numpy.random asyncio"
    assert loaded.isdisjoint(heavy.split())


def test_dir_lists_what_is_imported_later_and_nothing_else() -> None:
    code = """
import sys
import tinygrad_edu
names = dir(tinygrad_edu)
print("tinygrad_edu.training" in sys.modules, *names)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, *names = done.stdout.split()
    assert loaded == "False"
    assert {name for name in names if not name.startswith("_")} == set(tinygrad_edu.__all__)
    assert {"explain", "fit", "testing", "from_keras"} <= set(names)
    assert {"__name__", "__version__"} <= set(names)


def test_the_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert Path(tinygrad_edu.__file__ or "").parent == PACKAGE  # it is this one that is tested


@pytest.mark.parametrize("name", MODULES)
def test_the_names_in_all_exist(name: str) -> None:
    try:
        module = importlib.import_module(f"tinygrad_edu.{name}".removesuffix(".__init__"))
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in OPTIONAL.get(name, set()):
            raise
        pytest.skip(f"needs {missing.name}")
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    for public in names:
        assert hasattr(module, public), public
    if name in ("ops", "losses", "windows"):
        assert set(names) <= set(tinygrad_edu.__all__)


# --- budgets --------------------------------------------------------------------------------------

ENGINE_LINES, MOST_BRANCHES, MOST_LINES = 200, 20, 60
# Functions over the budget, and files with lines kept from the formatter: these lists only shrink.
LARGE = {
    "tinygrad_edu/capturing/expansions.py:_einsum",
    "tinygrad_edu/capturing/kernels.py:kernel",
    "tinygrad_edu/capturing/lowering.py:lower",
    "tinygrad_edu/capturing/moves.py:_indexed",
    "tinygrad_edu/capturing/native.py:_fill",
    "tinygrad_edu/capturing/program.py:bind",
    "tinygrad_edu/capturing/program.py:finish",
    "tinygrad_edu/capturing/surroundings.py:_walk",
    "tinygrad_edu/explaining/algebra.py:_common",
    "tinygrad_edu/explaining/matrices.py:_base",
    "tinygrad_edu/explaining/matrices.py:_without",
    "tinygrad_edu/explaining/notation.py:_arithmetic",
    "tinygrad_edu/explaining/notation.py:_code",
    "tinygrad_edu/explaining/notation.py:_latex",
    "tinygrad_edu/explaining/notation.py:_text",
    "tinygrad_edu/explaining/notation.py:kind_of",
    "tinygrad_edu/explaining/reading.py:_op_einsum",
    "tinygrad_edu/verifying/expressions.py:_bracketed",
    "tinygrad_edu/verifying/expressions.py:_spelled",
}
UNFORMATTED = {
    "tinygrad_edu/capturing/calls.py",
    "tinygrad_edu/capturing/capture.py",
    "tinygrad_edu/capturing/expansions.py",
    "tinygrad_edu/capturing/formulas.py",
    "tinygrad_edu/capturing/kernels.py",
    "tinygrad_edu/capturing/listing.py",
    "tinygrad_edu/capturing/lowering.py",
    "tinygrad_edu/capturing/moves.py",
    "tinygrad_edu/capturing/products.py",
    "tinygrad_edu/capturing/rates.py",
    "tinygrad_edu/explaining/algebra.py",
    "tinygrad_edu/explaining/author.py",
    "tinygrad_edu/explaining/explanation.py",
    "tinygrad_edu/explaining/losses.py",
    "tinygrad_edu/explaining/matrices.py",
    "tinygrad_edu/explaining/notation.py",
    "tinygrad_edu/explaining/reading.py",
    "tinygrad_edu/explaining/selecting.py",
    "tinygrad_edu/explaining/tracing.py",
    "tinygrad_edu/verifying/branches.py",
    "tinygrad_edu/verifying/claims.py",
    "tinygrad_edu/verifying/derivations.py",
    "tinygrad_edu/verifying/evaluation.py",
    "tinygrad_edu/verifying/functions.py",
    "tinygrad_edu/verifying/grammar.py",
    "tinygrad_edu/verifying/inputs.py",
    "tinygrad_edu/verifying/mistakes.py",
    "tinygrad_edu/verifying/problems.py",
    "tinygrad_edu/verifying/proposals.py",
    "tinygrad_edu/verifying/repair.py",
    "tinygrad_edu/verifying/verification.py",
    "tinygrad_edu/verifying/vocabulary.py",
}
SOURCES = [
    path
    for folder in ("tinygrad_edu", "models", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BRANCH = (
    *(ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.comprehension),
    *(ast.match_case, ast.Assert),
)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that are neither blank nor a comment nor part of a docstring."""
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTION)) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                documentation |= {*range(first.lineno, (first.end_lineno or 0) + 1)}
    return {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in documentation
    }


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of the functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, (*FUNCTION, ast.ClassDef, ast.Lambda)):
            yield from own_nodes(child)


def branches(function: ast.AST) -> int:
    return sum(
        len(node.values) - 1 if isinstance(node, ast.BoolOp) else isinstance(node, BRANCH)
        for node in own_nodes(function)
    )


def large_functions(source: str) -> dict[str, tuple[int, int]]:
    """Branches and code lines of each function that is over the budget."""
    lines, found = code_lines(source), {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTION):
            size = len([n for n in lines if node.lineno <= n <= (node.end_lineno or 0)])
            if branches(node) > MOST_BRANCHES or size > MOST_LINES:
                found[node.name] = branches(node), size
    return found


def is_unformatted(source: str) -> bool:
    return re.search(r"# fmt: (skip|off)\s*(#|$)", source, re.MULTILINE) is not None


def test_the_engine_is_short() -> None:
    source = path_of("engine").read_text(encoding="utf-8")
    assert len(code_lines(source)) <= ENGINE_LINES


def test_functions_are_within_the_budget() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{name}": size
        for path in SOURCES + TESTS
        for name, size in large_functions(path.read_text(encoding="utf-8")).items()
    }
    assert {name: size for name, size in found.items() if name not in LARGE} == {}
    assert LARGE - found.keys() == set(), "within the budget now: take it off the list"


def test_the_formatter_formats_every_line() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES + TESTS
        if is_unformatted(path.read_text(encoding="utf-8"))
    }
    assert found - UNFORMATTED == set()
    assert UNFORMATTED - found == set(), "formatted now: take it off the list"


@pytest.mark.parametrize(
    ("body", "is_large"),
    [
        ("    if a and b: pass\n" * 10, False),
        ("    if a and b: pass\n" * 10 + "    assert c\n", True),
        ("    x = 1\n" * 59, False),
        ("    x = 1\n" * 60, True),
        ('    """\n' + "    text\n" * 99 + '    """\n' + "    # a comment\n\n" * 99, False),
        ("    def g():\n" + "        if a: pass\n" * 15 + "    if a: pass\n" * 15, False),
    ],
)
def test_large_functions_are_found(body: str, is_large: bool) -> None:
    assert ("f" in large_functions("def f():\n" + body)) == is_large


def test_unformatted_lines_are_found() -> None:
    assert is_unformatted("x = 1  # fmt: " + "skip\n")
    assert is_unformatted("# fmt: " + "off\nx = 1\n")
    assert not is_unformatted("x = 'a # fmt: " + "skipped line'\n")


# --- names ----------------------------------------------------------------------------------------

# Names of the core that were replaced, by module; they must not come back.
OLD_NAMES = {
    "engine": "fit Watch watches history _on_the_way _box _seed MOST needs",
    "capture_gate": "Watcher watcher leaves keeps fills assigns expects moves",
    "naming": "watching",
    "numpy_functions": "VALUES FILLED SHAPES watcher watching",
    "ops": "STEPS tops tops_of_rows whole lie_alike watcher watching",
    "recording": "Function",
    "training.keras_losses": "beside unreduced checked plain Function",
    "training.metrics": "beside unreduced is_ours total checked plain Function",
    "training.measures": "beside unreduced total",
    "training.fitting": "take taking held alone is_ours of_parameter",
    "training.stepping": "taking alone of_parameter",
    "losses": "_each _shared _rows _pair tops whole lie_alike total",
    "tensor": "watcher watching",
    "optim": "watcher watching",
    "threads": "SMALL A_THREAD",
}


def names_in(source: str) -> set[str]:
    """The names that a module defines or uses, attributes included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.ClassDef, *FUNCTION, ast.alias)):
            found.add(node.name)
    return found


# Words of the prose that were replaced by the field's, and beginnings of docstrings that leave the
# reader to guess what a function does. Capturing, explaining and verifying have old words still.
OLD_WORDS = re.compile(
    r"\b(nobody|somebody|whoever|everybody|ways out|lies? alike|tells? itself)\b"
    r"|\b(Watch|Watcher|watching|lie_alike|tops_of_rows|_on_the_way)\b",
    re.IGNORECASE,
)
RIDDLE = re.compile(r"^(what|whether|who|which|where|how often|of what)\b", re.IGNORECASE)
PLAIN = [
    path
    for path in SOURCES + TESTS
    if not {"capturing", "explaining", "verifying"} & {*path.relative_to(ROOT).parts[:2]}
]


UNCLEAR = {path_of("ops"), path_of("numpy_functions")}  # this set only shrinks


def docstrings(source: str) -> list[str]:
    return [
        text
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTION))
        and (text := ast.get_docstring(node)) is not None
    ]


def comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def unclear(source: str) -> list[str]:
    """The docstrings that begin with a riddle, and docstrings and comments with an old word."""
    texts = docstrings(source)
    return [text for text in texts if RIDDLE.match(text)] + [
        text for text in texts + comments(source) if OLD_WORDS.search(text)
    ]


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_and_comments_use_the_words_of_the_field(path: Path) -> None:
    if path != Path(__file__):
        found = unclear(path.read_text(encoding="utf-8"))
        assert (found != []) == (path in UNCLEAR), found


@pytest.mark.parametrize(
    "line",
    [
        '"""What it is."""',
        'def f(): "Whether it is."',
        "x = 1  # the ways out",
        "# of the Watcher",
        'class A:\n    """Of whoever asks."""',
    ],
)
def test_unclear_words_are_found(line: str) -> None:
    assert unclear(line)
    assert not unclear('"""Return x."""\nnobody = "What?"  # the answer\n')


@pytest.mark.parametrize("page", ["README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=str)
def test_pages_have_no_old_words(page: str | Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [found[0] for found in OLD_WORDS.finditer(text)] == []


@pytest.mark.parametrize("name", OLD_NAMES)
def test_no_old_name_is_left(name: str) -> None:
    source = path_of(name).read_text(encoding="utf-8")
    assert names_in(source) & set(OLD_NAMES[name].split()) == set()


def test_old_names_are_found() -> None:
    found = names_in("from .ops import tops\n\ndef whole(x):\n    x.needs = STEPS\n")
    assert found >= {"tops", "whole", "needs", "STEPS"}


@pytest.mark.parametrize("name", ["watch", "dispatch", "hints"])
def test_no_module_has_an_old_name(name: str) -> None:
    assert not path_of(name).exists()
