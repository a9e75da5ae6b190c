"""The drop-in switch, with RustyBT absent and (a stand-in of it) present."""

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import barcache
import barcache.rustybt as switch
import pytest
from barcache.metadata_catalog import ParquetMetadataCatalog, calculate_file_checksum

MODULE = "rustybt.data.polars.cache_manager"


def _forget_rustybt():
    for name in [n for n in sys.modules if n.partition(".")[0] == "rustybt"]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("BARCACHE_DISABLE", raising=False)
    switch.uninstall()
    kept = {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "rustybt"}
    _forget_rustybt()
    yield
    switch.uninstall()
    _forget_rustybt()
    sys.modules.update(kept)


@pytest.fixture
def absent():
    """No RustyBT on the path, also where the real one is installed."""
    # Not by monkeypatch: it would put back the path as a later syspath_prepend had found it.
    kept = list(sys.path)
    sys.path[:] = [folder for folder in kept if not _has_rustybt(folder)]
    try:
        assert importlib.util.find_spec("rustybt") is None
        yield
    finally:
        sys.path[:] = kept


def _has_rustybt(path):
    return importlib.machinery.PathFinder.find_spec("rustybt", [path]) is not None


@pytest.fixture
def present(tmp_path, monkeypatch):
    """A package of RustyBT's shape that is not RustyBT."""
    package = tmp_path / "site" / "rustybt" / "data" / "polars"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("REAL = True\n")
    (package / "cache_manager.py").write_text(
        "from rustybt.data.polars.metadata_catalog import ParquetMetadataCatalog\n"
        "class CacheManager: REAL = True\n"
        "class LRUCache: REAL = True\n"
    )
    (package / "metadata_catalog.py").write_text("class ParquetMetadataCatalog: REAL = True\n")
    (package / "user.py").write_text(
        "from rustybt.data.polars.cache_manager import CacheManager as Manager\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


@pytest.mark.usefixtures("absent")
def test_absent_supplies_both_modules_and_nothing_else():
    assert switch.status().live == "none"
    assert switch.install().live == "barcache"
    module = importlib.import_module(MODULE)
    assert module.CacheManager is barcache.CacheManager
    assert module.LRUCache is barcache.LRUCache
    catalog = importlib.import_module("rustybt.data.polars.metadata_catalog")
    assert catalog.ParquetMetadataCatalog is ParquetMetadataCatalog
    assert catalog.calculate_file_checksum is calculate_file_checksum
    for other in ("rustybt.finance", "rustybt.data.bundles", "rustybt.data.polars.aggregation"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(other)


@pytest.mark.usefixtures("absent")
def test_absent_parents_are_marked_as_stubs():
    switch.install()
    import rustybt

    assert rustybt.__barcache_stub__ is True
    assert importlib.util.find_spec("rustybt.data").origin == "barcache.rustybt"
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("rustybt")
    assert switch.status().rustybt_version is None


@pytest.mark.usefixtures("absent")
def test_every_import_form_works():
    switch.install()
    namespace = {}
    exec("import rustybt.data.polars.cache_manager as a", namespace)
    exec("from rustybt.data.polars import cache_manager as b", namespace)
    exec("from rustybt.data.polars.cache_manager import CacheManager, LRUCache", namespace)
    assert namespace["a"] is namespace["b"]
    assert namespace["CacheManager"] is barcache.CacheManager


@pytest.mark.usefixtures("absent")
def test_uninstall_takes_everything_back():
    before = list(sys.meta_path)
    switch.install()
    switch.install()
    importlib.import_module(MODULE)
    assert len(sys.meta_path) == len(before) + 1
    status = switch.uninstall()
    assert (status.live, status.installed) == ("none", False)
    assert sys.meta_path == before
    assert not [name for name in sys.modules if name.partition(".")[0] == "rustybt"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(MODULE)
    assert switch.uninstall() == status
    assert switch.install().live == "barcache"
    assert importlib.import_module(MODULE).CacheManager is barcache.CacheManager


@pytest.mark.usefixtures("absent")
def test_a_mere_folder_of_that_name_does_not_hide_the_switch(tmp_path):
    (tmp_path / "rustybt").mkdir()
    sys.path.insert(0, str(tmp_path))  # The fixture takes it out again.
    importlib.invalidate_caches()
    assert switch.status().live == "none"
    switch.install()
    assert importlib.import_module(MODULE).CacheManager is barcache.CacheManager


@pytest.mark.usefixtures("present")
def test_present_replaces_only_the_cache_manager():
    assert switch.status().live == "rustybt"
    assert switch.install().live == "barcache"
    module = importlib.import_module(MODULE)
    assert module.CacheManager is barcache.CacheManager
    import rustybt.data.polars
    from rustybt.data.polars.metadata_catalog import ParquetMetadataCatalog as Real

    assert rustybt.REAL
    assert rustybt.data.polars.REAL
    assert Real.REAL
    assert switch.uninstall().live == "rustybt"
    assert importlib.import_module(MODULE).CacheManager.REAL
    assert rustybt.data.polars.cache_manager.LRUCache.REAL


@pytest.mark.usefixtures("present")
def test_present_and_imported_before_is_rebound_with_a_warning():
    real = importlib.import_module(MODULE)
    user = importlib.import_module("rustybt.data.polars.user")
    original = real.CacheManager
    with pytest.warns(RuntimeWarning, match=r"imported before.*rustybt\.data\.polars\.user"):
        switch.install()
    assert real.CacheManager is barcache.CacheManager
    assert user.Manager is barcache.CacheManager
    assert importlib.import_module(MODULE).CacheManager is barcache.CacheManager
    assert sys.modules["rustybt.data.polars"].cache_manager is sys.modules[MODULE]
    switch.uninstall()
    assert user.Manager is real.CacheManager is original
    assert sys.modules[MODULE] is real
    assert sys.modules["rustybt.data.polars"].cache_manager is real


@pytest.mark.usefixtures("absent")
def test_disabled_by_the_environment(monkeypatch):
    monkeypatch.setenv("BARCACHE_DISABLE", "1")
    status = switch.install()
    assert (status.live, status.installed, status.disabled) == ("none", False, True)
    assert "disabled" in str(status)
    monkeypatch.setenv("BARCACHE_DISABLE", "0")
    assert switch.install().live == "barcache"


@pytest.mark.usefixtures("absent")
def test_notebook_extension(capsys):
    switch.load_ipython_extension(None)
    assert importlib.import_module(MODULE).CacheManager is barcache.CacheManager
    switch.unload_ipython_extension(None)
    out = capsys.readouterr().out.splitlines()
    assert "is barcache's (switch on" in out[0]
    assert "(switch off" in out[1]


@pytest.mark.usefixtures("absent")
def test_install_is_silent_when_nothing_was_imported():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        switch.install()


# --- python -m barcache.rustybt ------------------------------------------------------------


def run(*arguments, folder, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "barcache.rustybt", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


PROGRAM = textwrap.dedent(
    """
    import multiprocessing, os, sys
    from rustybt.data.polars.cache_manager import CacheManager

    def used(number):
        return number, CacheManager.__module__, __name__

    if __name__ == "__main__":
        print(sys.argv[1:], os.path.basename(__file__), os.path.basename(sys.path[0]))
        for method in ("spawn", "fork"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                print(method, pool.map(used, [1]))
        sys.exit(5)
    """
)


def test_runs_a_script_and_its_children(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "script.py").write_text(PROGRAM)
    done = run("folder/script.py", "a", "--b", folder=tmp_path, code=5)
    assert done.stdout.splitlines() == [
        "['a', '--b'] script.py folder",
        "spawn [(1, 'barcache.cache_manager', '__mp_main__')]",
        "fork [(1, 'barcache.cache_manager', '__main__')]",
    ]


def test_runs_a_module_and_its_children(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "values.py").write_text("SEVEN = 7")
    (tmp_path / "package" / "__main__.py").write_text("from .values import SEVEN\n" + PROGRAM)
    done = run("-m", "package", "x", folder=tmp_path, code=5)
    assert done.stdout.splitlines() == [
        f"['x'] __main__.py {tmp_path.name}",
        "spawn [(1, 'barcache.cache_manager', '__mp_main__')]",
        "fork [(1, 'barcache.cache_manager', '__main__')]",
    ]


def test_usage_errors(tmp_path):
    assert "no such file: absent.py" in run("absent.py", folder=tmp_path, code=2).stderr
    assert "usage:" in run(folder=tmp_path, code=2).stderr
    assert "unknown option --what" in run("--what", folder=tmp_path, code=2).stderr
    assert "usage:" in run("--help", folder=tmp_path).stdout
    assert "is barcache's (switch on" in run("--status", folder=tmp_path).stdout


def test_a_failing_script_shows_its_own_traceback(tmp_path):
    (tmp_path / "fails.py").write_text("def f():\n    raise KeyError('why')\nf()\n")
    done = run("fails.py", folder=tmp_path, code=1)
    assert "KeyError: 'why'" in done.stderr
    assert 'fails.py", line 2, in f' in done.stderr


@pytest.mark.rustybt
def test_beside_the_real_rustybt(tmp_path):
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            import barcache.rustybt
            from rustybt.data.polars.cache_manager import CacheManager
            from rustybt.data.polars.metadata_catalog import ParquetMetadataCatalog
            print(CacheManager.__module__, ParquetMetadataCatalog.__module__)
            barcache.rustybt.uninstall()
            from rustybt.data.polars import cache_manager
            print(cache_manager.CacheManager.__module__)
            barcache.rustybt.install()
            print(cache_manager.CacheManager.__module__)
            """
        )
    )
    done = run("script.py", folder=tmp_path)
    assert done.stdout.splitlines()[-3:] == [
        "barcache.cache_manager rustybt.data.polars.metadata_catalog",
        "rustybt.data.polars.cache_manager",
        "barcache.cache_manager",
    ]
    assert "was imported before the switch was turned on" in done.stderr


def test_nothing_named_rustybt_is_shipped():
    beside_barcache = Path(barcache.__file__).parent.parent / "rustybt"
    assert is_the_real_one(beside_barcache) or not beside_barcache.exists()
    for distribution in importlib.metadata.distributions(name="barcache"):
        for file in distribution.files or []:
            assert not str(file).startswith("rustybt")


def is_the_real_one(folder):
    """Site-packages of `make test-rustybt` hold RustyBT itself."""
    return (folder / "finance").is_dir()
