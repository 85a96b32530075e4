"""Folders and clips.csv tables become indexes; what is wrong with a clip never stops the rest."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_helpers import small_folder, tone, write

from scenesynth.corpus import index as index_module
from scenesynth.corpus.check import check
from scenesynth.corpus.clips import parse_labels, parse_split
from scenesynth.corpus.index import KEPT_INDEXES, build_index, load_index
from scenesynth.errors import ConfigError


def test_labels_are_the_folders_on_the_way(tmp_path: Path) -> None:
    write(tmp_path / "animal" / "dog" / "rex.wav", tone())
    write(tmp_path / "plain.wav", tone(500.0))
    clips = build_index(tmp_path).clips
    assert [(c.id, c.labels) for c in clips] == [
        ("animal/dog/rex.wav", ("animal", "dog")),
        ("plain.wav", ()),
    ]
    assert clips[0].duration_s == pytest.approx(0.3)
    assert clips[0].group == clips[0].digest


def test_odd_names_and_formats_are_read(tmp_path: Path) -> None:
    stereo = np.stack([tone(rate=44100), tone(600.0, rate=44100)], axis=1)
    write(tmp_path / "größe & co" / "ça va? 100%.flac", stereo, rate=44100)
    write(tmp_path / "日本語" / "音, 'quoted'.ogg", tone(rate=48000), rate=48000)
    write(tmp_path / "UPPER.WAV", tone(rate=8000), rate=8000)
    write(tmp_path / "six channels.wav", np.stack([tone()] * 6, axis=1))
    write(tmp_path / ".hidden" / "a.wav", tone())
    write(tmp_path / "._UPPER.WAV", tone())
    (tmp_path / "notes.txt").write_text("no audio")
    index = build_index(tmp_path)
    assert not index.rejected
    assert [(c.id, c.sample_rate, c.channels) for c in index.clips] == [
        ("UPPER.WAV", 8000, 1),
        ("größe & co/ça va? 100%.flac", 44100, 2),
        ("six channels.wav", 16000, 6),
        ("日本語/音, 'quoted'.ogg", 48000, 1),
    ]


def test_ids_do_not_depend_on_how_a_file_system_spells_accents(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é.wav")
    write(tmp_path / decomposed, tone())
    (found,) = build_index(tmp_path).clips
    assert (found.id, found.path) == ("é.wav", decomposed)


def test_bad_clips_are_kept_with_their_reason(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", tone())
    write(tmp_path / "zero.wav", np.zeros(4800, np.float32))
    write(tmp_path / "short.wav", tone(seconds=0.01))
    write(tmp_path / "empty.wav", np.zeros(0, np.float32))
    write(tmp_path / "nan.wav", np.full(4800, np.nan, np.float32), subtype="FLOAT")
    (tmp_path / "broken.flac").write_bytes(b"fLaC" + bytes(range(256)))
    (tmp_path / os.fsdecode(b"latin-\xe9.wav")).write_bytes(b"")
    index = build_index(tmp_path)
    assert [c.id for c in index.clips] == ["good.wav"]
    reasons = {item.path: item.reason for item in index.rejected}
    assert "cannot be decoded" in reasons["broken.flac"]
    assert reasons["empty.wav"] == "no samples"
    assert "UTF-8" in reasons["latin-\ufffd.wav"]
    assert "NaN" in reasons["nan.wav"]
    assert "10.0 ms long" in reasons["short.wav"]
    assert "digital silence" in reasons["zero.wav"]
    assert len(reasons) == 6


@pytest.mark.parametrize("make", ["nothing", "empty", "other", "file"])
def test_a_place_without_clips_is_refused_and_named(tmp_path: Path, make: str) -> None:
    place = tmp_path / "corpus"
    if make == "file":
        place.write_text("x")
    elif make != "nothing":
        place.mkdir()
    if make == "other":
        (place / "a.txt").write_text("x")
    expected = {
        "nothing": "nothing there; a corpus is a folder of audio files, a clips.csv",
        "empty": r"no audio files in it .* \(0 other files\); looked for \.aif",
        "other": r"\(1 other files\)",
        "file": "a file of another kind",
    }
    with pytest.raises(ConfigError, match=expected[make]) as error:
        build_index(place)
    assert str(place) in str(error.value)


def test_a_folder_of_bad_clips_is_refused_with_their_reasons(tmp_path: Path) -> None:
    for k in range(7):
        write(tmp_path / f"{k}.wav", np.zeros(4800, np.float32))
    with pytest.raises(ConfigError, match=r"none of 7 clips can be used") as error:
        build_index(tmp_path)
    assert "0.wav: digital silence" in str(error.value)
    assert "and 2 more" in str(error.value)


def test_only_changed_files_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(tmp_path, 6)
    before = build_index(tmp_path)
    seen: list[str] = []
    measure = index_module.measure
    monkeypatch.setattr(
        index_module, "measure", lambda path: seen.append(path.name) or measure(path)
    )
    assert build_index(tmp_path) == before
    assert seen == []
    write(tmp_path / "a" / "tone3.wav", tone(999.0))
    write(tmp_path / "c" / "new.wav", tone(888.0))
    (tmp_path / "b" / "tone1.wav").unlink()
    after = build_index(tmp_path)
    assert sorted(seen) == ["new.wav", "tone3.wav"]
    assert {c.id for c in after.clips} ^ {c.id for c in before.clips} == {
        "c/new.wav",
        "b/tone1.wav",
    }
    assert after.digest != before.digest


def test_bad_files_are_not_measured_again_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "good.wav", tone())
    write(tmp_path / "zero.wav", np.zeros(4800, np.float32))
    before = build_index(tmp_path)
    monkeypatch.setattr(index_module, "measure", None)
    assert build_index(tmp_path).rejected == before.rejected


def test_a_moved_or_renamed_corpus_is_the_same_corpus(tmp_path: Path) -> None:
    first = build_index(small_folder(tmp_path / "here"))
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert build_index(tmp_path / "there").digest == first.digest


def test_a_renamed_clip_and_a_flipped_sample_make_another_corpus(tmp_path: Path) -> None:
    first = build_index(small_folder(tmp_path)).digest
    (tmp_path / "a" / "tone0.wav").rename(tmp_path / "a" / "renamed.wav")
    second = build_index(tmp_path).digest
    path = tmp_path / "b" / "tone1.wav"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert len({first, second, build_index(tmp_path).digest}) == 3


def test_an_index_reads_back_as_it_was_and_refuses_flipped_bytes(tmp_path: Path) -> None:
    write(tmp_path / "corpus" / "zero.wav", np.zeros(4800, np.float32))
    index = build_index(small_folder(tmp_path / "corpus", 3))
    assert load_index(index.file, index.root) == index
    data = bytearray(index.file.read_bytes())
    data[len(data) // 2] ^= 1
    index.file.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged"):
        load_index(index.file, index.root)
    index.file.unlink()
    with pytest.raises(ConfigError, match="gone from the cache"):
        load_index(index.file, index.root)


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    index = build_index(small_folder(tmp_path, 3))
    index.file.write_bytes(b"PAR1 not a table")
    assert build_index(tmp_path) == index


def test_old_index_tables_are_let_go(tmp_path: Path) -> None:
    for k in range(KEPT_INDEXES + 3):
        write(tmp_path / "corpus" / f"{k}.wav", tone(100.0 + k))
        index = build_index(tmp_path / "corpus")
    assert len(list(index.file.parent.glob("*"))) == KEPT_INDEXES


def test_results_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    small_folder(tmp_path)
    assert build_index(tmp_path, fresh=True, workers=1) == build_index(
        tmp_path, fresh=True, workers=3
    )


def test_progress_counts_every_clip(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    build_index(small_folder(tmp_path, 5), progress=lambda *call: calls.append(call))
    assert calls == [("index clips", k + 1, 5) for k in range(5)]


def _table(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "clips.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_table_states_what_folders_cannot(tmp_path: Path) -> None:
    write(tmp_path / "x" / "1.wav", tone())
    write(tmp_path / "x" / "2.wav", tone(500.0))
    file = _table(
        tmp_path,
        "\ufeffID,path,labels,split,group,fold,licence,attribution,url,caption,extra\n"
        'one,x/1.wav,"dog;bark|dog",Validation,rex,3,CC0-1.0,Ann,https://e.org,"a dog, barking",9\n'
        ",x/2.wav\n",
    )
    index = build_index(file)
    one, two = index.clips
    assert (one.id, one.labels, one.split, one.group, one.fold) == (
        "one",
        ("dog", "bark"),
        "valid",
        "rex",
        "3",
    )
    assert (one.licence, one.attribution, one.url, one.caption) == (
        "CC0-1.0",
        "Ann",
        "https://e.org",
        "a dog, barking",
    )
    assert (two.id, two.labels, two.split, two.licence) == ("x/2.wav", (), None, "")
    assert build_index(tmp_path).clips == index.clips


def test_rows_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write(root / "1.wav", tone())
    write(tmp_path / "outside.wav", tone())
    _table(
        root,
        "id,path\na,1.wav\na,1.wav\nb,../outside.wav\nc,/etc/1.wav\nd,gone.wav\n"
        "e,\nf,x/../../outside.wav\ng,sub\n",
    )
    (root / "sub").mkdir()
    index = build_index(root)
    assert [c.id for c in index.clips] == ["a"]
    reasons = [item.reason for item in index.rejected]
    assert len(reasons) == 7
    for part in (
        "id 'a' is already that of '1.wav' (clips.csv line 3)",
        "path leads out of the folder of the table",
        "the file is missing",
        "path is empty (clips.csv line 7)",
        "not a file",
    ):
        assert any(part in reason for reason in reasons), (part, reasons)
    assert sum("leads out" in reason for reason in reasons) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path'; got an empty file"),
        ("file,label\na.wav,x\n", "no column 'path'; got file, labels"),
        ("path\n", "no rows below the header"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_index(_table(tmp_path, text))


@pytest.mark.parametrize("header", ["path,path", "path,label,labels"])
def test_a_column_given_twice_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "clips.csv").write_text(f"{header}\na.wav,b.wav,c\n")
    with pytest.raises(ConfigError, match=r"clips\.csv: column '(path|labels)' is there twice"):
        build_index(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "right"), [("lables", "labels"), ("splits", "split"), ("licences", "licence")]
)
def test_a_misspelt_column_is_refused(tmp_path: Path, wrong: str, right: str) -> None:
    (tmp_path / "clips.csv").write_text(f"path,{wrong}\na.wav,c\n")
    with pytest.raises(ConfigError, match=f"column '{wrong}' is not known; did you mean '{right}'"):
        build_index(tmp_path)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(b"path\n\xff\xfe.wav\n")
    with pytest.raises(ConfigError, match="not a CSV table in UTF-8"):
        build_index(tmp_path)


def test_labels_and_splits_are_read_forgivingly() -> None:
    assert parse_labels(" a ;b|; a") == ("a", "b")
    assert parse_labels("") == ()
    assert [parse_split(x) for x in ("dev", "TRAIN", "eval", " ")] == [
        "valid",
        "train",
        "test",
        None,
    ]


def test_a_check_warns_of_what_looks_wrong(tmp_path: Path) -> None:
    write(tmp_path / "fine.wav", tone())
    write(tmp_path / "copy.wav", tone())
    write(tmp_path / "clipped.wav", np.clip(4 * tone(), -1, 1), subtype="FLOAT")
    write(tmp_path / "beyond.wav", 4 * tone(), subtype="FLOAT")
    write(tmp_path / "quiet.wav", 0.01 * tone(), subtype="FLOAT")
    write(tmp_path / "offset.wav", 0.1 * tone() + 0.5, subtype="FLOAT")
    write(tmp_path / "late.wav", np.pad(tone(), (0, 8000)))
    write(tmp_path / "zero.wav", np.zeros(4800, np.float32))
    report = check(tmp_path)
    found = {item.id: item.warning for item in report.warnings}
    assert found["fine.wav"] == "has the same samples as copy.wav"
    assert "clipped" in found["clipped.wav"]
    assert "beyond full scale" in found["beyond.wav"]
    assert "very quiet" in found["quiet.wav"]
    assert "offset or infrasound" in found["offset.wav"]
    assert "ends in 0.4" in found["late.wav"]
    assert len(found) == 6
    assert [item.path for item in report.rejected] == ["zero.wav"]
    assert not report.passed
    assert len(report.clips) == 7


def test_a_check_warns_of_groups_in_several_splits(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", tone())
    write(tmp_path / "2.wav", tone(500.0))
    _table(tmp_path, "path,split,group\n1.wav,train,g\n2.wav,test,g\n")
    assert [w.warning for w in check(tmp_path).warnings] == [
        "its group 'g' is in splits test, train"
    ] * 2


def test_real_clips_are_indexed_with_their_dirt(real_audio: Path) -> None:
    index = build_index(real_audio / "sonicpi_cc0")
    assert {Path(item.path).name for item in index.rejected} == {
        "elec_tick.flac",
        "tabla_ke1.flac",
        "tabla_ke2.flac",
    }
    assert len(index.clips) == 127
    assert {c.channels for c in index.clips} == {1, 2}
    for clip in index.clips:
        assert clip.n_frames == soundfile.info(str(real_audio / "sonicpi_cc0" / clip.path)).frames
        assert 0 <= clip.active_start_s < clip.active_end_s <= clip.duration_s
