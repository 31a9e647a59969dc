"""What the page is told about saved servers, and what it can change: nodes/page/servers.py against simulators over sockets."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat

import pytest
from comfyui_drawthings.drawthings_core import errors, report
from comfyui_drawthings.drawthings_core.client import Cancellation
from comfyui_drawthings.drawthings_core.errors import CertificateChanged, InvalidInput, ProfileError, SecretNotAllowed
from comfyui_drawthings.drawthings_core.servers import Profiles, is_this_machine
from comfyui_drawthings.drawthings_core.simulator.process import SimulatorProcess
from comfyui_drawthings.drawthings_core.tls import TLSMode
from comfyui_drawthings.nodes.load_server import LoadServer, server_from
from comfyui_drawthings.nodes.page import ROUTES
from conftest import SECRET
from test_routes import Page

ELSEWHERE = "127.1"
"""Leads to this machine, but is not spelled so: to us an address like any stranger's."""


def ask(route, **body):
    return ROUTES[route].answer(body, Cancellation())


def at(simulator, **more):
    return {"host": simulator.host, "port": simulator.port, "tls": "auto", **more}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


# -- saving and forgetting


def test_a_server_is_saved_with_its_secret_and_comes_back_without():
    answer = ask("servers/save", name=" Studio ", host="My-Mac.local", port=7860.0, tls="auto", new_secret="hunter2")
    assert answer["servers"] == [
        {
            "name": "Studio",
            "address": "My-Mac.local:7860",
            "host": "My-Mac.local",
            "port": 7860,
            "tls": "auto",
            "ca_file": "",
            "secret": "Studio",
        }
    ]
    assert answer["secrets"] == [{"name": "Studio", "allowed": ["my-mac.local:7860"]}]
    assert answer["discovered"] is None
    assert "DRAWTHINGS_DISCOVERY" in answer["discovery_problem"]
    assert "hunter2" not in json.dumps(answer)
    profiles = Profiles()
    assert profiles.secret("Studio") == "hunter2"
    assert stat.S_IMODE(os.stat(profiles.path).st_mode) == 0o600


def test_a_server_is_edited_and_renamed_and_keeps_its_secret():
    ask("servers/save", name="Studio", host="a", new_secret="hunter2")
    answer = ask("servers/save", name="Loft", host="b:7861", secret="Studio", instead_of="Studio")
    assert [(row["name"], row["address"], row["secret"]) for row in answer["servers"]] == [("Loft", "b:7861", "Studio")]
    ask("servers/save", name="Loft", host="b:7861", secret="Studio", new_secret="hunter3", instead_of="Loft")
    assert Profiles().secret("Studio") == "hunter3"


def test_saving_overwrites_neither_another_server_nor_its_secret():
    ask("servers/save", name="Studio", host="a", new_secret="hunter2")
    ask("servers/save", name="Loft", host="b", secret="Studio")
    with pytest.raises(ProfileError, match="another saved server 'Studio'"):
        ask("servers/save", name="Studio", host="b", instead_of="Loft")
    ask("servers/save", name="Loft", host="b", secret="Studio", new_secret="hunter3", instead_of="Loft")
    assert {name: Profiles().secret(name) for name in ("Studio", "Loft")} == {"Studio": "hunter2", "Loft": "hunter3"}


def test_a_new_server_does_not_replace_a_saved_one():
    ask("servers/save", name="Studio", host="a")
    with pytest.raises(ProfileError, match="another saved server"):
        ask("servers/save", name="Studio", host="b")


def test_a_typed_secret_is_not_saved_under_a_name_that_the_environment_has(monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_STUDIO", "other")
    answer = ask("servers/save", name="Studio", host="a", new_secret="hunter2")
    assert Profiles().server("Studio").secret == "hunter2"
    assert answer["servers"][0]["secret"] == "Studio 2"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"name": "", "host": "a"}, "needs a name"),
        ({"name": "a\nb", "host": "a"}, "needs a name"),
        ({"name": "x" * 101, "host": "a"}, "needs a name"),
        ({"name": "none", "host": "a"}, "cannot be called 'none'"),
        ({"name": "10.0.0.1", "host": "a"}, "is no address"),
        ({"name": "mac:7859", "host": "a"}, "is no address"),
        ({"name": "localhost", "host": "a"}, "is no address"),
        ({"name": "a", "host": "a b"}, "is not a server address"),
        ({"name": "a", "host": "a", "port": 70000}, "ports go from 1 to 65535"),
        ({"name": "a", "host": "a", "port": "many"}, "whole number"),
        ({"name": "a", "host": "a", "tls": "maybe"}, "tls is 'maybe'"),
        ({"name": "a", "host": "a", "secret": "nobody"}, "not saved on this machine"),
        ({"name": "a", "host": "a", "new_secret": "\ud800"}, "not text"),
        ({"name": 5, "host": "a"}, "'name'"),
    ],
)
def test_what_cannot_be_saved_is_told_and_nothing_is_written(body, words):
    with pytest.raises((InvalidInput, ProfileError), match=words):
        ask("servers/save", **body)
    assert not Profiles().path.exists()


def test_forgetting_removes_only_what_is_named():
    ask("servers/save", name="Studio", host="a", new_secret="hunter2")
    Profiles().save_secret("a:7859", "x")  # as an address is called
    Profiles().pin("a:7859", CERTIFICATE)
    answer = ask("servers/forget", certificates=["a:7859"])
    assert (len(answer["servers"]), len(answer["secrets"]), answer["certificates"]) == (1, 2, [])
    answer = ask("servers/forget", servers=["Studio"], secrets=["Studio", "a:7859", "nobody"])
    assert (answer["servers"], answer["secrets"]) == ([], [])
    with pytest.raises(InvalidInput, match="no name"):
        ask("servers/forget", servers=[5])


# -- testing


def test_a_good_server_passes(simulator):
    outcome = ask("servers/check", server=at(simulator))
    assert outcome["report"] is not None
    assert outcome["ask"] is None
    assert outcome["problem"] is None
    assert outcome["change"] is None
    assert outcome["report"]["model_browser"] is True
    assert outcome["report"]["tls"]["encrypted"] is False
    assert outcome["report"]["secret"] == "not_asked"
    assert 0 < outcome["report"]["latency_ms"] < 5000
    (listed,) = ask("lists", servers=[at(simulator)], refresh=False)["servers"]
    assert outcome["counts"]["models"] == len(listed["files"]["model"]) > 5
    assert Profiles().certificates() == {}


def test_a_first_certificate_is_shown_before_it_is_trusted_and_before_a_secret_is_sent(guarded):
    Profiles().save_secret("studio", SECRET)
    guarded.clear()
    outcome = ask("servers/check", server=at(guarded, secret="studio"))
    assert (outcome["report"], outcome["ask"], outcome["problem"]) == (None, "certificate", None)
    assert outcome["question"] == {"fingerprint": guarded.fingerprint}
    assert outcome["certificate"] == {"fingerprint": guarded.fingerprint, "built_in": False, "problem": "", "pinned": ""}
    assert guarded.requests(None) == []
    assert Profiles().certificates() == {}

    answer = ask("servers/accept", server=at(guarded), fingerprint=guarded.fingerprint)
    assert answer["certificates"] == [{"address": guarded.address, "fingerprint": guarded.fingerprint, "built_in": False}]
    outcome = ask("servers/check", server=at(guarded, secret="studio"))
    assert outcome["report"] is not None
    assert outcome["report"]["secret"] == "accepted"
    assert outcome["report"]["tls"]["fingerprint"] == guarded.fingerprint
    assert SECRET not in json.dumps(outcome)


def test_a_changed_certificate_is_asked_about_and_accepted_by_its_fingerprint():
    with SimulatorProcess("--model-browser") as server:
        ask("servers/accept", server=at(server), fingerprint=server.fingerprint)
        first = server.fingerprint
        server.restart()
        assert server.fingerprint != first
        outcome = ask("servers/check", server=at(server))
        assert (outcome["ask"], outcome["question"]) == ("certificate", {"fingerprint": server.fingerprint})
        assert outcome["problem"]["type"] == "CertificateChanged"
        assert outcome["certificate"]["pinned"] == first
        with pytest.raises(CertificateChanged):  # the page shows another one than is there now
            ask("servers/accept", server=at(server), fingerprint=first)
        ask("servers/accept", server=at(server), fingerprint=server.fingerprint)
        assert ask("servers/check", server=at(server))["report"]


def test_an_expired_certificate_is_told_and_not_offered():
    with SimulatorProcess("--certificate-expired") as server:
        outcome = ask("servers/check", server=at(server))
    assert outcome["problem"]["type"] == "CertificateRejected"
    assert "expired" in outcome["problem"]["message"]
    assert "expired" in outcome["certificate"]["problem"]
    assert outcome["ask"] is None
    assert outcome["change"]["app"].startswith("Update Draw Things")


def test_what_is_wrong_with_the_secret_is_told(guarded):
    ask("servers/accept", server=at(guarded), fingerprint=guarded.fingerprint)
    missing = ask("servers/check", server=at(guarded))
    assert missing["problem"]["type"] == "SecretRejected"
    assert "asks for a shared secret" in missing["problem"]["message"]
    assert "save the API server's shared secret" in missing["change"]["app"]
    Profiles().save_secret("studio", "a wrong one")
    wrong = ask("servers/check", server=at(guarded, secret="studio"))
    assert "did not accept" in wrong["problem"]["message"]
    assert "--shared-secret" in wrong["change"]["command"]
    assert wrong["certificate"]["fingerprint"] == guarded.fingerprint
    assert "a wrong one" not in json.dumps(wrong)


def test_a_secret_that_nobody_asks_for_is_told(simulator):
    Profiles().save_secret("studio", "unneeded")
    assert ask("servers/check", server=at(simulator, secret="studio"))["report"]["secret"] == "ignored"


def test_a_model_browser_that_is_off_passes_and_says_what_to_change():
    with SimulatorProcess("--no-tls") as server:
        outcome = ask("servers/check", server=at(server))
    assert outcome["report"] is not None
    assert outcome["report"]["model_browser"] is False
    assert outcome["change"] == report.BROWSING._asdict()


@pytest.mark.parametrize(
    ("server", "type", "words", "change"),
    [
        (lambda: {"host": "127.0.0.1", "port": free_port()}, "ServerUnreachable", "refused", "Switch API Server on"),
        (lambda: {"host": "no-such-host.invalid"}, "ServerUnreachable", "is not known", "Nothing, if you write the IP address"),
        (lambda: {"host": "a b"}, "InvalidInput", "not a server address", None),
        (lambda: {"host": "a", "tls": "maybe"}, "InvalidSetting", "tls", None),
        (lambda: {"host": "a", "secret": "hunter2"}, "ProfileError", "not saved", None),
        (lambda: {"host": "", "saved_server": "Nobody"}, "ProfileError", "No server is saved as 'Nobody'", None),
    ],
    ids=["refused", "unknown name", "no address", "unknown mode", "unknown secret", "not saved"],
)
def test_every_failure_is_an_outcome_with_a_sentence(simulator, server, type, words, change):
    given = server()
    outcome = ask("servers/check", server={"port": simulator.port, **given})
    assert outcome["report"] is None
    assert outcome["problem"]["type"] == type
    assert words in outcome["problem"]["message"]
    assert (outcome["change"] is None) if change is None else outcome["change"]["app"].startswith(change)


def test_a_ca_file_that_is_not_there_is_told(guarded):
    outcome = ask("servers/check", server=at(guarded, tls="CA file", ca_file="/no/such.pem"))
    assert outcome["problem"]["type"] == "InvalidInput"
    assert "cannot be read" in outcome["problem"]["message"]
    assert outcome["certificate"]["fingerprint"] == guarded.fingerprint


def test_the_port_of_the_advice_is_the_one_that_was_tried():
    port = free_port()
    change = ask("servers/check", server={"host": "127.0.0.1", "port": port})["change"]
    assert change["command"] == f"gRPCServerCLI MODELS_FOLDER --port {port}"
    assert f"port {port}" in change["app"]


def test_the_two_ways_in_which_tls_does_not_fit(simulator, guarded):
    plain = ask("servers/check", server=at(guarded, tls="plain"))
    assert plain["problem"]["type"] == "TLSMismatch"
    assert plain["change"]["command"].endswith("--no-tls")
    pinned = ask("servers/check", server=at(simulator, tls="pinned"))
    assert pinned["problem"]["type"] == "TLSMismatch"
    assert pinned["change"]["app"] == "Switch Transport Layer Security on."


def test_a_server_that_used_tls_before_is_not_sent_a_secret_without():
    port = free_port()
    Profiles().save_secret("studio", SECRET)
    with SimulatorProcess("--port", str(port)) as server:
        ask("servers/accept", server=at(server), fingerprint=server.fingerprint)
    with SimulatorProcess("--no-tls", "--port", str(port)) as server:
        outcome = ask("servers/check", server=at(server, secret="studio"))
        assert "used TLS before" in outcome["problem"]["message"]
        assert server.requests(None) == []
        ask("servers/forget", certificates=[server.address])
        assert ask("servers/check", server=at(server, secret="studio"))["report"]


def test_every_error_of_a_connection_says_what_to_change():
    """A new class of error comes with what cures it at the server."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ConnectionFailed)]
    assert {errors.ConnectionFailed} == {kind for kind in kinds if not any(issubclass(kind, known) for known in report._CHANGES)}


# -- where a secret may go


def test_loopback_is_what_is_spelled_so():
    assert all(map(is_this_machine, ("127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost")))
    assert not any(map(is_this_machine, (ELSEWHERE, "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.nip.example")))


def test_a_graph_cannot_send_a_saved_secret_to_a_stranger(simulator):
    """A workflow from the internet names its author's server and guesses the name of a secret."""
    Profiles().save_secret("studio", SECRET)
    simulator.clear()
    with pytest.raises(SecretNotAllowed) as caught:
        server_from(ELSEWHERE, simulator.port, "auto", "studio")
    assert caught.value.address == f"{ELSEWHERE}:{simulator.port}"
    assert SECRET not in str(caught.value)
    stranger = at(simulator, host=ELSEWHERE, secret="studio")
    outcome = ask("servers/check", server=stranger)
    assert (outcome["ask"], outcome["question"]) == ("secret", {"secret": "studio", "host": caught.value.address})
    assert simulator.requests(None) == []

    answer = ask("secrets/allow", **outcome["question"])
    assert answer["secrets"] == [{"name": "studio", "allowed": [caught.value.address]}]
    assert ask("servers/check", server=stranger)["report"]
    with pytest.raises(SecretNotAllowed):
        server_from(ELSEWHERE, simulator.port + 1, "auto", "studio")


def test_a_saved_server_may_get_its_own_secret_and_no_other():
    ask("servers/save", name="Studio", host="studio.example", new_secret="hunter2")
    Profiles().save_secret("bank", "hunter3")
    assert server_from("Studio", 1, "plain").secret == "hunter2"
    assert server_from("", 1, "plain", saved_server="Studio").secret == "hunter2"
    assert server_from("STUDIO.example.", 7859, "auto", "Studio").secret == "hunter2"
    with pytest.raises(SecretNotAllowed):
        server_from("studio.example", 7859, "auto", "bank")
    ask("servers/forget", servers=["Studio"])
    with pytest.raises(SecretNotAllowed):
        server_from("studio.example", 7859, "auto", "Studio")


def test_a_forgotten_secret_may_go_nowhere_when_its_name_is_used_again():
    profiles = Profiles()
    profiles.save_secret("studio", "hunter2")
    ask("secrets/allow", secret="studio", host="there:1")
    ask("servers/forget", secrets=["studio"])
    profiles.save_secret("studio", "hunter3")
    with pytest.raises(SecretNotAllowed):
        profiles.secret_for("studio", "there", 1)
    with pytest.raises(ProfileError, match="not saved"):
        ask("secrets/allow", secret="nobody", host="there:1")


def test_the_environment_says_where_secrets_may_go(monkeypatch):
    monkeypatch.setenv("DRAWTHINGS_SECRET_STUDIO", "hunter2")
    with pytest.raises(SecretNotAllowed):
        Profiles().secret_for("studio", "10.0.0.2", 7859)
    monkeypatch.setenv("DRAWTHINGS_SERVERS", " 10.0.0.2, mac.local:7860 ")
    assert Profiles().secret_for("studio", "10.0.0.2", 7859) == "hunter2"
    assert Profiles().secret_for("studio", "Mac.local", 7860) == "hunter2"
    with pytest.raises(SecretNotAllowed):
        Profiles().secret_for("studio", "mac.local", 7859)


# -- Load Server


def test_load_server_offers_saved_servers_and_takes_those_that_are_gone_until_it_runs():
    assert LoadServer.INPUT_TYPES()["optional"]["saved_server"][0] == ["none"]
    ask("servers/save", name="Studio", host="a")
    inputs = LoadServer.INPUT_TYPES()
    assert inputs["optional"]["saved_server"][0] == ["none", "Studio"]
    assert list(inputs["optional"])[:3] == ["secret", "ca_file", "compress_uploads"]  # widgets are only ever appended
    assert LoadServer.VALIDATE_INPUTS(saved_server="Gone") is True
    Profiles().path.write_text("{")
    assert LoadServer.INPUT_TYPES()["optional"]["saved_server"][0] == ["none"]


def test_load_server_connects_anew_when_a_saved_server_was_edited():
    def state(**values):
        return LoadServer.IS_CHANGED(**{"host": "127.0.0.1", "port": 7859, "tls": "auto", **values})

    ask("servers/save", name="Studio", host="a", new_secret="hunter2")
    before = {how: state(**values) for how, values in (("list", {"saved_server": "Studio"}), ("host", {"host": "Studio"}))}
    assert before == {"list": state(saved_server="Studio"), "host": state(host="Studio")}
    ask("servers/save", name="Studio", host="a", secret="Studio", new_secret="hunter3", instead_of="Studio")
    changed = {"list": state(saved_server="Studio"), "host": state(host="Studio")}
    assert not set(before.values()) & set(changed.values())
    assert state() == state(saved_server="none")


# -- secrets stay


def test_a_secret_is_in_no_answer_and_no_log(guarded, caplog):
    caplog.set_level(logging.DEBUG)
    page = Page(ROUTES)
    try:
        said = [page.post("servers/save", {"name": "Studio", **at(guarded), "new_secret": SECRET})]
        said += [page.post("servers/check", {"server": {"host": "", "saved_server": "Studio"}})]
        said += [page.post("servers/accept", {"server": at(guarded), "fingerprint": guarded.fingerprint})]
        said += [page.post("servers/check", {"server": {"host": "", "saved_server": "Studio"}})]
        assert said[-1].answer["report"]["secret"] == "accepted"
        said += [page.post("servers/save", {"name": "none", **at(guarded), "new_secret": SECRET})]
        said += [page.post("servers/save", {"name": "Loft", "host": "b", "new_secret": ["x", SECRET]})]
        said += [
            page.post("servers"),
            page.post("servers/forget", {"servers": ["Studio"]}),
            page.post("secrets/allow", {"secret": "Studio", "host": "a"}),
        ]
        assert {reply.status for reply in said} == {200}
    finally:
        page.close()
    assert SECRET not in json.dumps([reply.answer for reply in said])
    assert SECRET not in caplog.text


CERTIFICATE = """-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
"""


def test_modes_come_from_the_one_list():
    assert ask("servers")["tls_modes"] == [mode.value for mode in TLSMode]
