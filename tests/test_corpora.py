"""Corpora, places and packs: one clip, one digest, the same samples by every way."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from corpus_helpers import SHARES, small_folder, tone, write

from scenesynth.corpus.audio import prepare
from scenesynth.corpus.check import check
from scenesynth.corpus.corpora import Corpora, Corpus, pack, place_prefixes, prepare_for_rendering
from scenesynth.corpus.packed import PACK_FILE, Packed
from scenesynth.corpus.place import Recent
from scenesynth.errors import ClipError, ConfigError


@dataclass(frozen=True)
class Ref:
    corpus: str
    id: str
    digest: str


def _open(*paths: object) -> Corpus:
    texts = [str(path) for path in paths]
    return Corpora.open(sources=texts, noise=texts)["sources"]


def test_packed_and_unpacked_clips_are_the_same_bits(tmp_path: Path) -> None:
    small_folder(tmp_path / "c")
    stereo = np.stack([tone(rate=44100), 0.2 * tone(70.0, rate=44100)], axis=1)
    write(tmp_path / "c" / "stereo.flac", stereo, rate=44100)
    corpus = _open(tmp_path / "c")
    pack(corpus, tmp_path / "pack", 32000)
    packed = _open(tmp_path / "pack")
    assert packed.digest == corpus.digest
    assert packed.clips == corpus.clips
    for clip in corpus.clips:
        loose, stored = corpus.load(clip, 32000), packed.load(clip, 32000)
        assert loose.dtype == stored.dtype == np.float32
        assert loose.tobytes() == stored.tobytes()


def test_real_clips_are_the_same_bits_packed_and_unpacked(real_audio: Path, tmp_path: Path) -> None:
    corpus = _open(real_audio / "librosa_data", real_audio / "cmu_arctic")
    assert corpus.get("cmu_arctic/" + corpus.places["cmu_arctic"].clips[0].id)
    packed = pack(corpus, tmp_path / "pack", 32000)
    for clip in corpus.clips:
        np.testing.assert_array_equal(
            packed.prepared(clip.id).samples(), corpus.load(clip, 32000), strict=True
        )


def test_a_pack_is_a_corpus_that_can_be_moved(tmp_path: Path) -> None:
    write(tmp_path / "c" / "1.wav", tone())
    (tmp_path / "c" / "clips.csv").write_text(
        "path,labels,split,group,licence\n1.wav,dog;bark,test,rex,CC0-1.0\n"
    )
    corpus = _open(tmp_path / "c")
    pack(corpus, tmp_path / "pack", 24000)
    shutil.move(tmp_path / "pack", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "c")
    moved = _open(tmp_path / "elsewhere")
    (clip,) = moved.clips
    assert (clip.labels, clip.split, clip.group) == (("dog", "bark"), "test", "rex")
    assert moved.licences == {"CC0-1.0": 1}
    assert len(moved.load(clip, 24000)) == 7200
    with pytest.raises(ConfigError, match="packed at 24000 Hz, asked for 32000 Hz"):
        moved.load(clip, 32000)


def test_packing_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scenesynth.corpus import packed as packed_module

    monkeypatch.setattr(packed_module, "MIN_PART_BYTES", 1)
    corpus = _open(small_folder(tmp_path / "c", 20))
    whole = pack(corpus, tmp_path / "whole", 16000, workers=1)
    assert len(whole.header.parts) > 5
    done: list[str] = []

    def dying(clip, rate):  # type: ignore[no-untyped-def]
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(clip.id)
        return Corpus.prepared(corpus, clip, rate)

    monkeypatch.setattr(corpus, "prepared", dying)
    with pytest.raises(KeyboardInterrupt):
        pack(corpus, tmp_path / "pack", 16000, workers=1)
    assert not (tmp_path / "pack" / PACK_FILE).exists()
    first = set(done)
    done.clear()
    monkeypatch.setattr(
        corpus, "prepared", lambda c, r: done.append(c.id) or Corpus.prepared(corpus, c, r)
    )
    resumed = pack(corpus, tmp_path / "pack", 16000, workers=2)
    assert resumed.header == whole.header
    # the part that was being written when it died is written again, finished ones are not
    assert len(set(done) & first) <= 1
    assert len(done) < 20
    assert sorted(p.name for p in (tmp_path / "pack").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
    done.clear()
    pack(corpus, tmp_path / "pack", 16000)
    assert done == []


def test_a_pack_refuses_foreign_folders_and_other_packs(tmp_path: Path) -> None:
    corpus = _open(small_folder(tmp_path / "c", 3))
    with pytest.raises(ConfigError, match=r"holds '[abc]' and is no pack"):
        pack(corpus, tmp_path / "c", 16000)
    pack(corpus, tmp_path / "pack", 16000)
    with pytest.raises(ConfigError, match="holds another pack"):
        pack(corpus, tmp_path / "pack", 32000)


def test_a_cut_or_flipped_pack_is_noticed(tmp_path: Path) -> None:
    pack(_open(small_folder(tmp_path / "c", 3)), tmp_path / "pack", 16000)
    part = tmp_path / "pack" / "part-00000.i16"
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    assert check(tmp_path / "pack").damaged == (part.name,)
    part.write_bytes(data[:-2])
    with pytest.raises(ConfigError, match=r"must have \d+ bytes"):
        Packed(tmp_path / "pack")
    part.unlink()
    with pytest.raises(ConfigError, match="missing"):
        Packed(tmp_path / "pack")


def test_a_pack_of_another_version_is_refused(tmp_path: Path) -> None:
    pack(_open(small_folder(tmp_path / "c", 3)), tmp_path / "pack", 16000)
    file = tmp_path / "pack" / PACK_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"prepare_version": 99}))
    with pytest.raises(ConfigError, match="prepare_version 99"):
        Packed(tmp_path / "pack")


def test_a_clip_that_changed_while_packing_is_left_out(tmp_path: Path) -> None:
    corpus = _open(small_folder(tmp_path / "c", 4))
    write(tmp_path / "c" / "a" / "tone0.wav", tone(3000.0))
    packed = pack(corpus, tmp_path / "pack", 16000)
    assert [clip.id for clip in packed.clips] == ["a/tone3.wav", "b/tone1.wav", "c/tone2.wav"]
    (bad,) = packed.rejected
    assert "samples changed since it was indexed" in bad.reason
    with pytest.raises(ClipError, match=r"tone0\.wav"):
        packed.prepared("a/tone0.wav")


def test_a_changed_clip_is_a_clip_error_that_names_it(tmp_path: Path) -> None:
    corpus = _open(small_folder(tmp_path, 3))
    clip = corpus.get("a/tone0.wav")
    path = tmp_path / "a" / "tone0.wav"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ClipError, match=r"tone0\.wav: its samples changed"):
        corpus.load(clip, 16000)
    path.write_bytes(b"")
    with pytest.raises(ClipError, match=r"tone0\.wav: cannot be decoded"):
        corpus.load(clip, 16000)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        corpus.load(clip, 16000)


def test_references_are_checked_by_corpus_id_and_digest(tmp_path: Path) -> None:
    small_folder(tmp_path, 3)
    corpora = Corpora.open([tmp_path], [tmp_path])
    clip = corpora["noise"].clips[0]
    assert corpora.load(Ref("noise", clip.id, clip.digest), 16000).shape == (4800,)
    with pytest.raises(ClipError, match="was made from other samples"):
        corpora.load(Ref("noise", clip.id, "0" * 32), 16000)
    with pytest.raises(ConfigError, match="no clip 'gone'"):
        corpora.load(Ref("noise", "gone", clip.digest), 16000)
    with pytest.raises(ConfigError, match=r"no corpus named 'speech'; there are sources, noise"):
        corpora.load(Ref("speech", clip.id, clip.digest), 16000)


def test_loaded_clips_are_prepared_and_belong_to_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(rate=44100), rate=44100)
    corpus = _open(tmp_path)
    first = corpus.load(corpus.clips[0], 32000)
    import soundfile

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(first, prepare(audio, rate, 32000).samples())
    first[:] = 0.0
    assert corpus.load(corpus.clips[0], 32000).any()


def test_recently_used_clips_are_kept_within_a_limit() -> None:
    from scenesynth.corpus.audio import Prepared

    recent = Recent(limit_bytes=400)
    for name in "abc":
        recent.put((name, 1), Prepared(np.zeros(100, np.int16), 1.0))
        recent.get(("a", 1))
    assert [recent.get((name, 1)) is not None for name in "abc"] == [True, False, True]
    recent.put(("big", 1), Prepared(np.zeros(1000, np.int16), 1.0))
    assert recent.get(("big", 1)) is None


def test_several_places_are_joined_under_the_ends_of_their_paths(tmp_path: Path) -> None:
    small_folder(tmp_path / "x" / "wav", 3)
    small_folder(tmp_path / "y" / "wav", 3)
    corpus = _open(tmp_path / "x" / "wav", tmp_path / "y" / "wav")
    assert corpus.clips[0].id == "x/wav/a/tone0.wav"
    assert len(corpus.clips) == 6
    assert corpus.load(corpus.clips[-1], 16000).shape == (4800,)
    shutil.move(tmp_path, tmp_path.with_name("moved"))
    moved = tmp_path.with_name("moved")
    assert _open(moved / "x" / "wav", moved / "y" / "wav").digest == corpus.digest
    assert place_prefixes("n", [Path("/d/one"), Path("/d/two/clips.csv"), Path("/d/s.csv")]) == [
        "one",
        "two",
        "s",
    ]
    with pytest.raises(ConfigError, match="given twice"):
        place_prefixes("n", [Path("/d/x"), Path("/d/../d/x")])


def test_named_places_are_corpora_and_together_the_sources(tmp_path: Path) -> None:
    small_folder(tmp_path / "one", 3)
    small_folder(tmp_path / "two", 6)
    corpora = Corpora.open(
        [f"speech={tmp_path / 'one'}", f"music={tmp_path / 'two'}"], [tmp_path / "one"]
    )
    assert {name: len(corpus.clips) for name, corpus in corpora.items()} == {
        "speech": 3,
        "music": 6,
        "sources": 9,
        "noise": 3,
    }
    assert "two/a/tone0.wav" in {clip.id for clip in corpora["sources"].clips}


def test_a_path_with_an_equals_sign_is_a_path(tmp_path: Path) -> None:
    small_folder(tmp_path / "a=b", 3)
    assert set(Corpora.open([tmp_path / "a=b"], [tmp_path / "a=b"])) == {"sources", "noise"}


def test_corpora_travel_to_workers_without_a_look_at_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_folder(tmp_path / "c", 6)
    small_folder(tmp_path / "n", 3)
    corpora = Corpora.open([tmp_path / "c", tmp_path / "n"], [tmp_path / "n"])
    corpora = prepare_for_rendering(corpora, 16000)
    descriptor = json.loads(json.dumps(corpora.descriptor()))
    loaded = corpora["sources"].load(corpora["sources"].clips[0], 16000)
    shutil.rmtree(tmp_path / "c")
    monkeypatch.chdir("/")
    for other in (Corpora.from_descriptor(descriptor), pickle.loads(pickle.dumps(corpora))):
        assert {n: c.digest for n, c in other.items()} == {n: c.digest for n, c in corpora.items()}
        assert other["sources"].clips == corpora["sources"].clips
        np.testing.assert_array_equal(
            other["sources"].load(other["sources"].clips[0], 16000), loaded
        )


def test_a_descriptor_of_other_clips_is_refused(tmp_path: Path) -> None:
    corpora = Corpora.open([small_folder(tmp_path, 3)], [tmp_path])
    descriptor = corpora.descriptor()
    descriptor["noise"]["digest"] = "0" * 32
    with pytest.raises(ConfigError, match=r"corpus noise: digest .* expected 000000000000"):
        Corpora.from_descriptor(descriptor)


def test_a_running_job_keeps_its_index_when_the_folder_is_indexed_anew(tmp_path: Path) -> None:
    corpora = Corpora.open([small_folder(tmp_path, 3)], [tmp_path])
    write(tmp_path / "a" / "new.wav", tone(999.0))
    assert len(Corpora.open([tmp_path], [tmp_path])["noise"].clips) == 4
    assert len(Corpora.from_descriptor(corpora.descriptor())["noise"].clips) == 3


def test_clips_are_packed_for_rendering_only_where_they_fit(tmp_path: Path) -> None:
    corpora = Corpora.open([small_folder(tmp_path, 3)], [tmp_path])
    assert prepare_for_rendering(corpora, 16000, limit_bytes=10_000) is corpora
    ready = prepare_for_rendering(corpora, 16000)
    assert all(16000 in p.packs for c in ready.values() for p in c.places.values())
    assert prepare_for_rendering(ready, 16000) is ready
    clip = corpora["noise"].clips[1]
    np.testing.assert_array_equal(
        ready["noise"].load(clip, 16000), corpora["noise"].load(clip, 16000)
    )
    # another rate is decoded as needed
    np.testing.assert_array_equal(
        ready["noise"].load(clip, 8000), corpora["noise"].load(clip, 8000)
    )


def test_a_corpus_counts_classes_and_licences(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / f"{k}.wav", tone(300.0 + k))
    (tmp_path / "clips.csv").write_text(
        "path,labels,licence\n0.wav,dog;bark,CC0-1.0\n1.wav,dog,CC-BY-4.0\n2.wav,,CC0-1.0\n"
    )
    corpus = _open(tmp_path)
    assert corpus.classes == {"": 1, "bark": 1, "dog": 2}
    assert corpus.licences == {"CC-BY-4.0": 1, "CC0-1.0": 2}


def test_an_empty_split_is_refused_with_the_way_out(tmp_path: Path) -> None:
    corpus = _open(small_folder(tmp_path, 3))
    assert corpus.pool("train", {"train": 1.0}) is corpus.pool("train", {"train": 1.0})
    with pytest.raises(ConfigError, match=r"no clip in split 'test'; its 3 clips of 3 groups"):
        corpus.pool("test", {"train": 1.0})


def test_pools_of_a_corpus_share_no_clip(tmp_path: Path) -> None:
    corpus = _open(small_folder(tmp_path, 40))
    pools = [corpus.pool(name, SHARES) for name in SHARES]
    ids = [clip.id for pool in pools for clip in pool.ordered()]
    assert sorted(ids) == [clip.id for clip in corpus.clips]


def test_rejected_clips_are_named_when_a_scene_asks_for_them(tmp_path: Path) -> None:
    write(tmp_path / "good.wav", tone())
    write(tmp_path / "zero.wav", np.zeros(4800, np.float32))
    with pytest.raises(ConfigError, match=r"'zero\.wav', it was rejected: digital silence"):
        _open(tmp_path).get("zero.wav")
