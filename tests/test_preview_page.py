"""The page of a preview: which scenes, what it says of them, what it plays, how it is served."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from disk_helpers import tiny_files
from page_helpers import HOSTILE, Shelf, card, decoded, served, stored_scene, with_stems
from store_helpers import make_dataset, make_info, make_scene

from scenesynth.errors import ConfigError, CorruptShardError
from scenesynth.preview import player
from scenesynth.preview.again import again_drawn, again_from
from scenesynth.preview.choose import draw, named_scenes, worst_scenes
from scenesynth.preview.page import (
    card_html,
    check_folder,
    check_writable,
    page_html,
    write_page,
)
from scenesynth.preview.player import listening_rate, player_of
from scenesynth.preview.serve import CACHED_CARDS, Previews, serve
from scenesynth.preview.shelf import DatasetShelf
from scenesynth.store.exclude import ExcludeList, add_list
from scenesynth.store.local import LocalPlace
from scenesynth.store.places import place_of
from scenesynth.store.reader import open_dataset
from scenesynth.store.writer import ShardWriter, create_or_open, extend_to

pytestmark = pytest.mark.usefixtures("compiled_kernels")


# --- which scenes ---


@pytest.fixture(scope="module")
def holey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of four: scene 5 skipped, shard 2 not rendered, 12 to 15 and 16 excluded."""
    root = tmp_path_factory.mktemp("holey") / "dataset"
    info = make_info()
    create_or_open(root, info)
    stop = extend_to(root, 20, info)
    for shard in (0, 1, 3, 4):
        writer = ShardWriter(root, info, shard, stop)
        for index in range(writer.first, writer.stop):
            scene = make_scene(index, info)
            if index == 5:
                writer.add_skipped({"id": scene.id, "split": "train", "attempt": 0})
            else:
                writer.add(scene)
        writer.commit(writer.put_files(), {"scenesynth": "test"}, {})
    gone = {index: f"train-{index:08d}" for index in (12, 13, 14, 15, 16)}
    add_list(place_of(root), ExcludeList(action="exclude", scenes=gone, reason=""))
    return root


def test_numbers_and_indices_of_usable_scenes_are_those_of_the_table(holey: Path) -> None:
    dataset = open_dataset(holey)
    indices = [dataset.index_of(number) for number in range(len(dataset))]
    assert indices == dataset.scenes["index"].to_pylist() == [0, 1, 2, 3, 4, 6, 7, 17, 18, 19]
    for index in range(25):
        number = dataset.number_from(index)
        assert number == sum(there < index for there in indices)
        if index in indices:
            assert dataset[number].row["index"] == index


def test_pages_of_a_shelf_go_forth_and_back_without_holes(holey: Path) -> None:
    shelf = DatasetShelf(open_dataset(holey))
    assert shelf.from_index(4, 4) == [4, 6, 7, 17]
    assert shelf.from_index(8, 2) == [17, 18]
    assert shelf.from_index(20, 2) == []
    assert shelf.before_index(17, 3) == [4, 6, 7]
    assert shelf.before_index(0, 3) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("5", "was skipped"),
        ("9", "not rendered yet"),
        ("20", "holds scenes 0 to 19"),
        ("13", "it is excluded; take that back with `scenesynth exclude"),
        ("nonsense", "no such scene"),
    ],
)
def test_a_scene_that_is_not_there_says_why(holey: Path, name: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--only {name}\b.*{why}"):
        named_scenes(open_dataset(holey), [name], "--only")


def test_a_scene_whose_spec_cannot_be_read_is_named(holey: Path) -> None:
    shelf = DatasetShelf(open_dataset(holey))  # its scenes have none
    for ask in (shelf.shown, shelf.label_error_deg):
        with pytest.raises(CorruptShardError, match="the spec of train-00000001 cannot be read"):
            ask(1)


def test_only_tables_of_chosen_shards_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path / "set", scenes=64)
    dataset = open_dataset(tmp_path / "set")
    read: list[str] = []

    def noted(self: LocalPlace, keys: Sequence[str]) -> Iterator[bytes]:
        read.extend(keys)
        return (self.read(key) for key in keys)

    monkeypatch.setattr(LocalPlace, "read_all", noted)
    chosen = [dataset.index_of(number) for number in draw(len(dataset), 3, seed=0)]
    assert read == []
    chosen += named_scenes(dataset, ["train-00000033", "50"], "--only")
    for index in chosen:
        assert dataset[dataset.number_from(index)].row["index"] == index
    shards = {index // dataset.info.shard_scenes for index in chosen}
    assert len(shards) < 16
    assert {int(key.split("part-")[1].split(".")[0]) for key in read} == shards


def test_the_worst_come_first_and_scenes_without_an_error_never() -> None:
    errors = {3: 1.0, 8: None, 5: 40.0, 9: 7.0}
    found = worst_scenes([3, 5, 8, 9], 3, lambda index: errors[index], lambda *step: None)
    assert found == [5, 9, 3]


# --- what is said ---


def test_names_labels_and_captions_are_text() -> None:
    scene = stored_scene([(HOSTILE, 60.0, 10.0)], clip=HOSTILE, row={"id": f"a{HOSTILE}"})
    scene = replace(scene, events=tuple({**e, "caption": HOSTILE} for e in scene.events))
    html = page_html(HOSTILE, HOSTILE, HOSTILE, [card(scene)], [HOSTILE])
    assert HOSTILE not in html
    assert html.count("&lt;script&gt;alert(1)") >= 6
    assert "</script>" not in html.split("data-classes=", 1)[1].split(">", 1)[0]


def test_a_card_says_what_was_measured_and_how_labels_agree() -> None:
    made = card(stored_scene())
    assert {chip.name: chip.value for chip in made.chips}["SNR"] == "20.0 dB"
    assert made.classes == ("dog bark",)
    assert made.sort_by["drr"] == 3.0
    error = made.sort_by["error"]
    assert error is not None
    assert error < 3
    assert "dog bark" in made.text
    assert json.loads(made.spec)["room"]["id"] == "den"
    assert made.timeline.span is not None
    assert made.lines[0].startswith("dog bark (target): label az +60° el +10°")


def test_a_page_needs_no_other_file_and_names_what_is_missing() -> None:
    html = page_html("set", "about", "chosen", [card(stored_scene())], ["shard 3 is damaged"])
    assert "shard 3 is damaged" in html
    assert "default-src 'none'" in html
    assert "connect-src" not in html
    for reaching_out in ('src="http', 'href="http', "@import", "url(http"):
        assert reaching_out not in html


def test_a_folder_or_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; give a file"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        check_writable(tmp_path / "file" / "page.html")
    with pytest.raises(ConfigError, match="cannot be written"):
        check_writable(tmp_path / f"{'x' * 300}.html")
    with pytest.raises(ConfigError, match="cannot be written"):
        check_folder(tmp_path / "file")
    check_writable(tmp_path / "new" / "page.html")
    assert not (tmp_path / "new" / "page.html").exists()


def test_a_page_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    write_page(page, "old")
    (tmp_path / "link.html").symlink_to(page)
    with tiny_files(tmp_path), pytest.raises(OSError, match="too large"):
        write_page(tmp_path / "link.html", "x" * 200_000)
    assert page.read_text() == "old"
    write_page(tmp_path / "link.html", "new")
    assert page.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "page.html"]


# --- what is played ---


def test_tracks_last_as_long_as_the_scene_and_share_one_gain() -> None:
    scene = with_stems(stored_scene(seconds=1.0))
    made = player_of(scene, {}, 343.0)
    names = [(track.group, track.name) for track in made.tracks]
    group = "1: dog bark (target)"
    assert names == [
        ("", "mixture"),
        (group, "direct + early + late"),
        (group, "direct"),
        (group, "early"),
        (group, "late"),
        (group, "dry"),
    ]
    heard = [decoded(track) for track in made.tracks]
    assert {(audio.shape[1], rate) for audio, rate in heard} == {(16000, 16000)}
    mixture, total, direct = (audio for audio, _ in heard[:3])
    assert np.max(np.abs(mixture)) == pytest.approx(player.PEAK, rel=0.1)
    assert np.std(total) == pytest.approx(np.std(mixture), rel=0.05)
    assert np.std(direct) == pytest.approx(np.std(mixture) / 3, rel=0.05)


def test_an_mp3_is_aligned_to_the_sample() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 24000)).astype(np.float32) * 0.1
    mime, data = player.encoded(noise, 24000, 0.5)
    assert mime == "audio/mpeg"
    assert len(data) < noise.nbytes / 8
    track = player.Track(key=0, name="", group="", mime=mime, data=base64.b64encode(data).decode())
    heard, _ = decoded(track)
    assert heard.shape == noise.shape
    spectrum = np.conj(np.fft.rfft(noise[0])) * np.fft.rfft(heard[0])
    assert np.argmax(np.fft.irfft(spectrum)) == 0


def test_stems_beyond_the_size_of_a_page_are_left_out_and_said_so() -> None:
    scene = with_stems(stored_scene(seconds=1.0))
    whole = player_of(scene, {}, 343.0)
    size = len(whole.tracks[0].data) + len(whole.tracks[1].data)
    made = player_of(scene, {}, 343.0, limit_bytes=size)
    assert [track.name for track in made.tracks] == ["mixture", "direct + early + late"]
    assert "4 stems left out" in made.notes[-1]


def test_a_rate_that_mp3_has_not_is_resampled_and_said_so() -> None:
    assert [listening_rate(rate) for rate in (8000, 20000, 48000, 96000)] == [
        *(8000, 22050, 48000, 48000)
    ]
    scene = replace(stored_scene(seconds=0.5), sample_rate=20000)
    made = player_of(scene, {}, 343.0)
    audio, rate = decoded(made.tracks[0])
    assert rate == 22050
    assert audio.shape[1] == pytest.approx(8000 * 22050 / 20000, abs=2)
    assert "resampled to 22.05 kHz for listening" in made.notes


def test_without_mp3_tracks_are_flac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "_has_mp3", lambda: False)
    (track,) = player_of(stored_scene(seconds=0.5), {}, 343.0).tracks
    assert track.mime == "audio/flac"
    assert decoded(track)[0].shape == (2, 8000)


def test_what_cannot_be_heard_is_said_in_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object) -> None:
        raise ConfigError("no downmix of it")

    monkeypatch.setattr(player, "listening", none)
    html = card_html(card(stored_scene()))
    assert "foa cannot be made audible here: no downmix of it" in html
    assert "<audio" not in html


def test_a_silent_scene_has_a_player() -> None:
    scene = stored_scene(seconds=0.5)
    silent = replace(scene, audio_by_format={"foa": np.zeros((4, 8000), np.float32)})
    (track,) = player_of(silent, {}, 343.0).tracks
    assert not np.any(decoded(track)[0])


# --- how a scene is made again ---


def test_clips_that_are_not_built_in_are_asked_for() -> None:
    scene = stored_scene()
    info = make_info(corpora={"noise": {"clips": 1}, "speech": {"clips": 9}})
    made = again_from(Path("/data/my set"), info, scene)
    assert made.text == (
        "scenesynth render --from '/data/my set' --only train-00000000 --anew "
        "--noise NOISE_CLIPS --sources speech=SPEECH_CLIPS --out out/again"
    )
    assert made.note == "Put in where the clips of noise and speech are."


def test_built_in_clips_need_no_option() -> None:
    events = ({"corpus": "sources", "clip": "dog_bark/dog_bark-0-0"},)
    scene = replace(stored_scene(), events=events)
    info = make_info(corpora={"sources": {"clips": 256}, "noise": {"clips": 24}})
    assert "CLIPS" not in again_from(Path("set"), info, scene).text
    other = replace(scene, events=({"corpus": "sources", "clip": "mine.wav"},))
    assert "--sources CLIPS" in again_from(Path("set"), info, other).text


def test_the_program_for_a_drawn_scene_is_a_program() -> None:
    made = again_drawn(
        "gram", [("noise.snr_db", "3")], stored_scene(row={"attempt": 1}), seed=4, formats=["foa"]
    )
    compile(made.text, "again", "exec")
    assert "load_recipe('gram', [('noise.snr_db', '3')])" in made.text
    assert "seed=4, index=0, split='train', attempt=1)" in made.text


# --- served ---


def asked(port: int, path: str, host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture(scope="module")
def port(compiled_kernels: None) -> Iterator[int]:
    with served(Previews(Shelf(), [7, 3], "by hand", 12)) as port:
        yield port


def test_a_server_gives_page_lists_and_cards(port: int) -> None:
    status, page = asked(port, "/")
    assert status == 200
    assert "connect-src 'self'" in page
    assert "The 2 chosen" in page
    assert json.loads(asked(port, "/chosen")[1])["scenes"] == [7, 3]
    later = json.loads(asked(port, "/scenes?from=990")[1])
    assert (later["scenes"][0], len(later["scenes"]), later["after"]) == (990, 10, False)
    before = json.loads(asked(port, "/scenes?before=5")[1])
    assert (before["scenes"], before["before"], before["next"]) == ([0, 1, 2, 3, 4], False, 5)
    status, fragment = asked(port, "/card/4")
    assert status == 200
    assert fragment.lstrip().startswith("<article")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/card/13", 404, "shard 3 is damaged"),
        ("/card/1000", 404, "scene 1000 is not there"),
        ("/card/../../etc/passwd", 404, "no such page"),
        ("/card/%2e%2e", 404, "no such page"),
        ("/../pyproject.toml", 404, "no such page"),
        ("/card/²", 404, "no such page"),
        ("/scenes", 400, "not understood"),
        ("/scenes?from=-1", 400, "not understood"),
        ("/scenes?from=x", 400, "not understood"),
        ("/scenes?from=1&from=2", 400, "not understood"),
        ("http://[", 400, "not understood"),
    ],
)
def test_nothing_else_is_served(port: int, path: str, status: int, text: str) -> None:
    assert asked(port, path.replace("²", "%C2%B2")) == (status, text)


def test_a_reader_that_hangs_up_is_no_error(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    for sent in (b"", request):
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.sendall(sent)
    while any(thread.name.endswith("(process_request_thread)") for thread in threading.enumerate()):
        time.sleep(0.01)
    assert capsys.readouterr().err == ""
    assert asked(port, "/")[0] == 200


def test_a_name_that_was_made_to_lead_here_is_refused(port: int) -> None:
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert asked(port, "/", host)[0] == 403
    assert asked(port, "/", f"localhost:{port}")[0] == 200


def test_cards_are_kept_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenesynth.preview.serve.card_of", lambda shown: shown)
    monkeypatch.setattr("scenesynth.preview.serve.card_html", lambda card: card.scene.id)
    shelf = Shelf()
    previews = Previews(shelf, [], "", 12)
    for index in (0, *range(100, 100 + CACHED_CARDS - 1), 0, 200, 0):
        previews.card(index)
    assert shelf.made.count(0) == 1
    previews.card(100)
    assert shelf.made.count(100) == 2


def test_a_port_in_use_is_refused_and_an_interrupt_ends_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    previews = Previews(Shelf(), [], "", 12)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {taken}: cannot be listened on"):
            serve(previews, taken, lambda address: None)

    def interrupted(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("socketserver.BaseServer.serve_forever", interrupted)
    serve(previews, 0, lambda address: None)
