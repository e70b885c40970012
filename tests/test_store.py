"""Records on the disk: what was written is read, and nothing else; a store is whole or not there."""

from __future__ import annotations

import errno
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_rl.errors import NoRoom, StageError
from cascade_rl.run.store import BYTE, LONG, WORD, open_store, writing


def write(folder, records, key="k", **columns):
    with writing(folder, {"numbers": LONG, "small": BYTE, "words": WORD}) as writer:
        for record in records:
            writer.add(record)
        for name, values in columns.items():
            writer.columns[name].extend(values)
        writer.finish(key, {"said": [1, "two"]})


@settings(deadline=None, max_examples=50)
@given(
    records=st.lists(st.binary(max_size=40)), numbers=st.lists(st.integers(0, 2**64 - 1)), small=st.binary()
)
def test_what_is_written_is_read(tmp_path_factory, records, numbers, small):
    folder = tmp_path_factory.mktemp("stores") / "store"
    write(folder, records, numbers=numbers, small=small)
    store = open_store(folder, "k")
    assert [store[i] for i in range(len(store))] == records
    assert store.columns["numbers"].tolist() == numbers and bytes(store.columns["small"]) == small
    assert store.facts == {"said": [1, "two"]} and len(store.columns["words"]) == 0
    for place in (-1, len(store)):
        with pytest.raises(IndexError):
            store[place]


def test_another_key_is_another_store(tmp_path):
    write(tmp_path / "store", [b"a"])
    assert open_store(tmp_path / "store", "other") is None and open_store(tmp_path / "none", "k") is None


@pytest.mark.parametrize("name", ["store.json", "ends.bin", "numbers.bin", "records"])
def test_a_store_that_lost_a_file_or_a_part_of_one_is_not_there(tmp_path, name):
    folder = tmp_path / "store"
    for hurt in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-3])):
        write(folder, [b"first", b"second"], numbers=[1, 2])
        assert open_store(folder, "k")
        hurt(folder / name)
        if name == "records" and (folder / name).exists():
            store = open_store(folder, "k")
            assert store[0] == b"first"
            with pytest.raises(
                StageError, match=r"store is damaged .* remove it and give the same command again"
            ):
                store[1]
        else:
            assert open_store(folder, "k") is None


def test_one_flipped_bit_is_found(tmp_path):
    folder = tmp_path / "store"
    write(folder, [b"first", b"second"], numbers=[7])
    data = bytearray((folder / "records").read_bytes())
    data[7] ^= 1
    (folder / "records").write_bytes(data)
    with pytest.raises(StageError, match="checksum of record 1"):
        open_store(folder, "k")[1]
    column = bytearray((folder / "numbers.bin").read_bytes())
    column[0] ^= 1
    (folder / "numbers.bin").write_bytes(column)
    assert open_store(folder, "k") is None


def test_what_goes_wrong_leaves_what_was_there_and_nothing_else(tmp_path):
    write(tmp_path / "store", [b"old"])
    (tmp_path / ".store.tmp").mkdir()  # of a process that was killed
    for error, seen in (
        (KeyError("x"), KeyError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), NoRoom),
    ):
        with pytest.raises(seen) as told, writing(tmp_path / "store", {}) as writer:
            writer.add(b"new")
            raise error
        assert [path.name for path in tmp_path.iterdir()] == ["store"]
        assert open_store(tmp_path / "store", "k")[0] == b"old"
    assert str(told.value).startswith(f"{tmp_path / 'store'} could not be written: ")


def test_a_store_takes_the_place_of_an_older_one(tmp_path):
    write(tmp_path / "store", [b"old", b"older"])
    write(tmp_path / "store", [b"new"], key="other")
    assert len(open_store(tmp_path / "store", "other")) == 1
    assert json.loads((tmp_path / "store" / "store.json").read_text())["key"] == "other"
