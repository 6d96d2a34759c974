import struct
import zipfile

import pytest

from relatent.core.archive import LEAST_TABLE, Archive, ArchiveError, MemberTooLargeError, TableTooLongError


def packed(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_members_are_read_up_to_their_limit(tmp_path):
    with Archive(packed(tmp_path / "a.zip", {"a": b"x" * 1000}), 0) as archive:
        [member] = archive.members
        assert archive.read(member, 1000) == b"x" * 1000
        with pytest.raises(MemberTooLargeError) as error:
            archive.read(member, 999)
        assert error.value.size == 1000


def test_a_member_is_unpacked_into_its_place(tmp_path):
    with Archive(packed(tmp_path / "a.zip", {"a": b"x" * 1000}), 0) as archive:
        target = bytearray(1000)
        archive.read_into(archive.members[0], memoryview(target))
        assert target == b"x" * 1000
        for size in (999, 1001):
            with pytest.raises(ArchiveError):
                archive.read_into(archive.members[0], memoryview(bytearray(size)))


def test_a_long_table_is_not_read(tmp_path):
    path = packed(tmp_path / "a.zip", {f"{'n' * 60}{number}": b"" for number in range(2000)})
    with pytest.raises(TableTooLongError, match=r"table of contents has \d+ bytes"):
        Archive(path, LEAST_TABLE)
    with Archive(path, 2**20) as archive:
        assert len(archive.members) == 2000


def test_a_lying_size_is_not_believed(tmp_path):
    path = packed(tmp_path / "a.zip", {"a": b"x" * 1000})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 1000), struct.pack("<I", 10)))
    with Archive(path, 0) as archive, pytest.raises(ArchiveError):
        archive.read(archive.members[0], 100)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"PK\x03\x04" + bytes(100) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 2, 0, 0)]
)
def test_damage_has_one_error(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ArchiveError):
        Archive(tmp_path / "a.zip", 2**20)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(ArchiveError, match="No such file"):
        Archive(tmp_path / "none.zip", 0)
    with pytest.raises(ArchiveError, match="directory"):
        Archive(tmp_path, 0)
