"""`make mutants`: the tests are tested. Each mutant leaves out one step that a promise rests on.

    python -m tests.torture.mutants [NAME ...]

The steps are in the sources as `Mutant("name")` (src/base/failpoint.h), switched by the environment
in one build. A mutant is caught when what it names fails with it and passes without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.torture.outcome import ROOT

BUILD = ROOT / "build" / "torture"


@dataclass(frozen=True)
class Mutant:
    """A step that is left out, and who has to notice.

    `caught_by` is a C++ test, "cold_test ColdTierTest.Name" (with * as GoogleTest takes it), or a
    part of the torture tests in its sample effort, "part kills".
    """

    name: str
    about: str
    caught_by: str


MUTANTS: tuple[Mutant, ...] = (
    Mutant("no_hot_coherence", "A hot hit does not look at the change counters.", "part storm"),
    Mutant("no_change_counted", "A commit does not move the change counters.", "part storm"),
    Mutant(
        "drop_without_condition",
        "A read drops its entry also when a newer one has taken its place.",
        "catalog_test *EraseIf*",
    ),
    Mutant(
        "merge_without_condition",
        "A merge takes the place of entries that have changed since it read them.",
        "cache_test CacheMergeTest.*",
    ),
    Mutant("no_order_of_puts", "A put that began earlier replaces a later one.", "catalog_test *"),
    Mutant("no_writers_lock", "Processes do not take turns to write.", "catalog_test Epochs*"),
    Mutant("no_mending", "Counters left odd by a dead writer stay odd.", "catalog_test Epochs*"),
    Mutant(
        "fork_keeps_connections",
        "A child goes on with its parent's connections to SQLite.",
        "cache_test CacheTest.WhatAForkedChild*",
    ),
    Mutant("no_odd_epochs", "A change counter moves only after its commit.", "part kills"),
    Mutant("files_before_rows", "Files are removed before their rows are.", "part kills"),
    Mutant("no_transaction", "Each statement of a put is a transaction.", "part kills"),
    Mutant("journal_in_memory", "The catalog's journal is not on disk.", "part kills"),
    Mutant("no_file_sync", "A file's bytes are not synced.", "part power"),
    Mutant("no_rename", "A file that is written does not get its name.", "base_test FileSystem*"),
    Mutant("no_directory_sync", "A file's name is not synced.", "part replay"),
    Mutant("no_full_sync", "The catalog does not sync a commit in full mode.", "part power"),
    Mutant("no_sync", "The catalog never syncs.", "part power"),
    Mutant("no_drop", "A read that finds wrong bytes keeps the entry.", "part power"),
    Mutant("repair_keeps_orphans", "A repair leaves files without rows.", "part kills"),
    Mutant("no_record_baseline", "Statistics are recorded twice.", "cache_test *"),
    Mutant("victims_without_touches", "Victims are chosen without the last uses.", "cache_test *"),
    Mutant(
        "rebuild_without_digest",
        "A rebuilt catalog names files whatever their bytes are.",
        "cache_test RebuildTest.OnlyFiles*",
    ),
    Mutant(
        "rebuild_foreign",
        "A damaged database with tables of others is rebuilt.",
        "cache_test RebuildTest.AForeign*",
    ),
    Mutant(
        "rebuild_shared",
        "A damaged catalog that RustyBT shares is rebuilt unasked.",
        "cache_test RebuildTest.AShared*",
    ),
    Mutant(
        "rebuild_keeps_nothing",
        "The damaged catalog is not kept beside the rebuilt one.",
        "cache_test RebuildTest.ADamagedHeader*",
    ),
    Mutant(
        "no_rebuild_lock",
        "Several processes rebuild a catalog at once.",
        "cache_test RebuildTest.OneOf*",
    ),
    Mutant(
        "rebuild_leaves_log",
        "The log of the damaged catalog stays beside the new one.",
        "cache_test RebuildTest.TheLogOfTheOld*",
    ),
    Mutant(
        "rebuild_takes_oldest",
        "Of several files of a key the oldest is served.",
        "cache_test RebuildTest.TheNewest*",
    ),
    Mutant(
        "unread_note_is_none",
        "A note of a lost catalog that cannot be read is taken for none.",
        "catalog_test EpochsTest.ANoteThat*",
    ),
    Mutant(
        "rebuild_without_unread",
        "A rebuilt catalog lacks the files that could not be read.",
        "cache_test RebuildTest.AFileThatMayNot*",
    ),
    Mutant("no_checksum", "A file's hash is not compared with its row.", "part rot"),
    Mutant("no_stamp_key", "The footer may name another key.", "cold_test HostileRows.RowsThat*"),
    Mutant(
        "no_stamp_generation", "The footer may name another put.", "cold_test HostileRows.AFileOf*"
    ),
    Mutant("no_stamp_due", "A stamp may be missing.", "cold_test HostileRows.AFileWithout*"),
    Mutant(
        "no_index_bounds", "Indices may point beyond a dictionary.", "frame_test IndexRuns.Refuses*"
    ),
    Mutant("no_decode_budget", "A frame may take any memory.", "frame_test ForgedFooter.*"),
    Mutant("no_utf8_check", "Text need not be text.", "frame_test *Utf8*"),
    Mutant("follow_links", "Symbolic links are followed.", "base_test FileSystemTest.*"),
    Mutant(
        "follow_counters_link",
        "A symbolic link in place of the change counters is followed.",
        "catalog_test EpochsTest.RefusesLinks*",
    ),
    Mutant("any_kind_of_file", "FIFOs and devices are read.", "base_test FileSystemTest.Only*"),
    Mutant(
        "no_file_budget", "A file may be larger than its row says.", "base_test FileSystemTest.*"
    ),
    Mutant("no_confinement", "Names may be paths.", "base_test FileSystemTest.*"),
    Mutant(
        "foreign_triggers",
        "Triggers of somebody else run in our transactions.",
        "catalog_test CatalogSchemaTest.RefusesForeignTriggers",
    ),
    Mutant(
        "no_hardening", "SQLite does what a database says.", "catalog_test HostileCatalog.Every*"
    ),
    Mutant("no_newest_put", "An older put may come back.", "cache_test RestoredTest.*"),
    Mutant("no_takeover", "A lease holds for ever.", "cache_test FlightBoardTest.AHolder*"),
    Mutant("no_renewal", "A lease is not renewed.", "cache_test FlightBoardTest.TheBackground*"),
    Mutant(
        "child_keeps_leases",
        "A child takes its parent's leases for its own.",
        "cache_test FlightBoardTest.AChildOfAFork*",
    ),
    Mutant("number_is_process", "A number used again is the process.", "base_test ProcessTest.*"),
    Mutant(
        "close_loses_log",
        "A connection that could not read the write-ahead log throws it away as it closes.",
        "part calls",
    ),
    Mutant(
        "no_identity_check",
        "Nobody notices that another file has the catalog's name.",
        "catalog_test CatalogClosingTest.*",
    ),
    Mutant(
        "sweep_without_grace",
        "What a put is writing is taken for left over.",
        "cold_test OrphanSweepTest.Spares*",
    ),
    Mutant(
        "sweep_without_look",
        "A file goes though it has a row by now.",
        "cold_test OrphanSweepTest.AFileThatGets*",
    ),
    Mutant(
        "no_file_required",
        "A put stores its row though its file was swept.",
        "cold_test OrphanSweepTest.APutWhose*",
    ),
    Mutant(
        "lease_without_token",
        "A lease is ended by who does not hold it.",
        "catalog_test CatalogLeasesTest.ALeaseComesBack*",
    ),
    Mutant(
        "lease_end_unseen",
        "The end of a lease moves no change counter.",
        "catalog_test CatalogLeasesTest.TheCounter*",
    ),
    Mutant(
        "dataset_without_look",
        "A dataset is made though there is one.",
        "catalog_test CatalogLeasesTest.ADataset*",
    ),
    Mutant(
        "no_swap_counted",
        "Nobody is told that a rebuilt catalog has taken the name.",
        "cache_test RebuildTest.WhoHas*",
    ),
    Mutant(
        "answer_without_condition",
        "What was merged replaces coverage that has changed meanwhile.",
        "bars_test LedgerTest.AnAnswerInPlaceOf*",
    ),
    Mutant(
        "no_lost_segments",
        "Coverage is recorded of a segment that is gone.",
        "bars_test LedgerTest.DataWhoseSegment*",
    ),
    Mutant(
        "no_corrupt_mark",
        "A segment with wrong bytes is taken for an evicted one.",
        "bars_test LedgerTest.ASegmentWith*",
    ),
    Mutant(
        "series_from_memory",
        "A remembered series is served though it changed.",
        "bars_test LedgerTest.AnErasedSegment*",
    ),
    Mutant(
        "coverage_may_overlap",
        "Intervals that overlap are recorded.",
        "bars_test LedgerTest.CoverageThat*",
    ),
    Mutant("pins_keep_nothing", "A pinned entry is evicted.", "cold_test ColdTierTest.APinned*"),
    Mutant(
        "pins_without_limit", "Pins may exceed the limit.", "cold_test ColdTierTest.PinsBeyond*"
    ),
    Mutant(
        "no_room_beside_pinned",
        "A put is admitted though the pinned leave no room.",
        "cold_test ColdTierTest.APinned*",
    ),
    Mutant("hot_without_limit", "The hot tier evicts nothing.", "hot_test *"),
)

PART_SEED = 1  # A part that needs luck to catch a mutant shows nothing.


def _command(caught_by: str) -> list[str]:
    program, _, what = caught_by.partition(" ")
    if program == "part":
        run = [sys.executable, "-m", "tests.torture.run", "sample", "--seed", str(PART_SEED)]
        return [*run, "--part", what]
    return [str(BUILD / program), f"--gtest_filter={what}", "--gtest_brief=1"]


def _fails(caught_by: str, mutant: str) -> tuple[bool, str]:
    """Whether it fails, and the end of what it said."""
    environment = {**os.environ, "BARCACHE_MUTANT": mutant}
    done = subprocess.run(
        _command(caught_by),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
    )
    text = done.stdout + done.stderr
    # A filter that names no test passes everything, and argparse's 2 is a typing error here.
    if done.returncode == 2 or "Running 0 tests" in text or "did not match any test" in text:
        raise SystemExit(f"{caught_by}: {text[-500:]}")
    if done.returncode == 0 and "passed, 0 failed" not in text and "PASSED" not in text:
        raise SystemExit(f"{caught_by} ran no test: {text[-500:]}")
    return done.returncode != 0, text[-2000:]


def main(names: list[str]) -> int:
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise SystemExit(f"no such mutants: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    sound: dict[str, bool] = {}
    caught = 0
    for mutant in chosen:
        began = time.monotonic()
        if mutant.caught_by not in sound:
            fails, text = _fails(mutant.caught_by, "")
            sound[mutant.caught_by] = not fails
            if fails:
                print(f"{mutant.caught_by} fails without any mutant:\n{text}")
        noticed = sound[mutant.caught_by] and _fails(mutant.caught_by, mutant.name)[0]
        caught += noticed
        verdict = "caught" if noticed else "NOT CAUGHT"
        took = time.monotonic() - began
        print(f"{mutant.name:36} {verdict:10} {took:5.1f} s  by {mutant.caught_by}", flush=True)
    print(f"mutants: {caught} passed, {len(chosen) - caught} failed")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
