"""Names that a server chooses never reach a list as markup: classic menus of frontends 1.27 and 1.35 show entries as HTML."""

import pytest
from catalogs import catalog, model
from comfyui_drawthings.drawthings_core.errors import ProfileError
from comfyui_drawthings.drawthings_core.servers import Profiles
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes import known_files
from comfyui_drawthings.nodes.page import lists

EVIL = "<img src=x onerror=alert(1)>.ckpt"


def test_files_and_names_with_markup():
    seen = catalog(models=[model(EVIL, "v1"), model("good.ckpt", "v1", name="<b>A & B</b>")])
    rows = lists.files_of(seen)["model"]
    assert [row["file"] for row in rows] == ["good.ckpt"]
    assert rows[0]["name"] == "＜b＞A ＆ B＜/b＞"
    known_files.remember("127.0.0.1:1", seen)
    assert EVIL not in known_files.listed("model")


def test_saved_servers(tmp_path):
    with pytest.raises(ProfileError, match="cannot hold <"):
        Profiles(tmp_path / "servers.json").save_server("<img>", "localhost", 7859, TLSMode.auto, "", "")
