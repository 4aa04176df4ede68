"""A run folder belongs to one identity and one live process; what a killed run leaves does not stand in the way."""

import json
import os
import subprocess
import sys

import pytest

from shiftlab.errors import RunError
from shiftlab.run.folder import open_run

IDENTITY = {"study": {"seed": 1}, "source": "abc"}


HOLD = """
import json, pathlib, sys
from shiftlab.run.folder import open_run
with open_run(pathlib.Path(sys.argv[1]), "demo", json.loads(sys.argv[2])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A live run of the same identity in another process."""
    words = [sys.executable, "-c", HOLD, str(tmp_path), json.dumps(IDENTITY)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_equal_identities_share_a_folder_and_others_do_not(tmp_path):
    with open_run(tmp_path, "demo", IDENTITY) as a:
        first = a.path
    with open_run(tmp_path, "demo", dict(reversed(IDENTITY.items()))) as b:
        assert b.path == first
    with open_run(tmp_path, "demo", IDENTITY | {"source": "abd"}) as c:
        assert c.path != first
    assert first.name == a.digest[:12]


def test_a_second_live_run_is_refused_and_its_process_named(tmp_path, holder):
    with (
        pytest.raises(RunError, match=f"in use by a run with process id {holder.pid}"),
        open_run(tmp_path, "demo", IDENTITY),
    ):
        pass


def test_the_lock_of_a_killed_run_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with open_run(tmp_path, "demo", IDENTITY) as folder:
        assert not folder.done


def test_a_folder_of_another_identity_is_refused_unless_fresh(tmp_path):
    with open_run(tmp_path, "demo", IDENTITY) as folder:
        folder.finish()
    file = folder.path / "identity.json"
    file.write_text(json.dumps({"digest": "0" * 64, "identity": {}}))
    with pytest.raises(RunError, match="another identity"), open_run(tmp_path, "demo", IDENTITY):
        pass
    with open_run(tmp_path, "demo", IDENTITY, fresh=True) as folder:
        assert not folder.done


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": {}}'])
def test_an_unreadable_identity_is_refused(tmp_path, text):
    with open_run(tmp_path, "demo", IDENTITY) as folder:
        pass
    (folder.path / "identity.json").write_text(text)
    with pytest.raises(RunError, match="--fresh"), open_run(tmp_path, "demo", IDENTITY):
        pass


def test_files_without_an_identity_are_refused(tmp_path):
    with open_run(tmp_path, "demo", IDENTITY) as folder:
        (folder.path / "bias.csv").write_text("")
    (folder.path / "identity.json").unlink()
    with pytest.raises(RunError, match="holds files but no identity"), open_run(tmp_path, "demo", IDENTITY):
        pass


def test_half_written_files_of_a_killed_run_are_removed(tmp_path):
    with open_run(tmp_path, "demo", IDENTITY) as folder:
        part = folder.path / "csv" / ".bias.csv.x1.part"
        part.parent.mkdir()
        part.write_text("arm,se")
    with open_run(tmp_path, "demo", IDENTITY):
        assert not part.exists()


def test_latest_points_to_the_run_that_was_asked_for_last(tmp_path):
    for source in ("abc", "abd", "abc"):
        with open_run(tmp_path, "demo", IDENTITY | {"source": source}) as folder:
            folder.point_latest()
        latest = tmp_path / "demo" / "latest"
        assert latest.resolve() == folder.path.resolve()
        assert not os.path.isabs(os.readlink(latest))


def test_something_else_called_latest_is_left_alone(tmp_path):
    (tmp_path / "demo" / "latest").mkdir(parents=True)
    with open_run(tmp_path, "demo", IDENTITY) as folder, pytest.raises(RunError, match="not a link"):
        folder.point_latest()


def test_a_root_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "demo").write_text("a file")
    with pytest.raises(RunError, match="cannot make the run folder"), open_run(tmp_path, "demo", IDENTITY):
        pass
