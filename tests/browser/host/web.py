"""The routes that ComfyUI's page asks for, once as they are and once below /api."""

from __future__ import annotations

import io
import json
import mimetypes
import os
import sys
import urllib.parse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from .jobs import Job, PromptRefused, Queue
from .messages import FEATURES, Messages
from .package import Package
from .peer import FOLDERS, PromptServer

LARGEST_BODY = 256 << 20
VERSION = "0.0.0-test"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(page: Path, base: Path, package: Package, queue: Queue, messages: Messages, server: PromptServer) -> web.Application:
    """Everything that is served."""
    app = web.Application(client_max_size=LARGEST_BODY)
    routes = web.RouteTableDef()
    _about(routes, package, messages, queue)
    _prompts(routes, queue)
    _files(routes, base)
    _users(routes, base / "user" / "default")
    doubled = web.RouteTableDef()
    for route in [*routes, *server.routes]:
        assert isinstance(route, web.RouteDef)
        doubled.route(route.method, f"/api{route.path}", **route.kwargs)(route.handler)
    # Ours before the package's: so does ComfyUI.
    app.add_routes([*doubled, *routes, *server.routes])
    app.router.add_static("/api/workflow_templates/" + package.name, package.folder / "example_workflows")
    app.router.add_static("/extensions/" + package.name, package.web)
    app.router.add_get("/{path:.*}", _page(page))
    return app


def _page(folder: Path) -> Handler:
    """The frontend's own files."""

    async def serve(request: web.Request) -> web.StreamResponse:
        path = (folder / (request.match_info["path"] or "index.html")).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise web.HTTPNotFound
        kind = "text/javascript" if path.suffix in (".js", ".mjs") else mimetypes.guess_type(path.name)[0]
        return web.FileResponse(path, headers={"Content-Type": kind or "application/octet-stream", "Cache-Control": "max-age=600"})

    return serve


def _about(routes: web.RouteTableDef, package: Package, messages: Messages, queue: Queue) -> None:
    """The host, the package and its nodes."""

    def fixed(path: str, content: Callable[[], Any]) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(content())

        routes.get(path)(answer)

    @routes.get("/ws")
    async def socket(request: web.Request) -> web.WebSocketResponse:
        return await messages.serve(request, queue.status)

    @routes.get("/object_info/{name}")
    async def one_class(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({name: package.definition(name)} if name in package.classes else {})

    @routes.get("/user.css")
    async def css(_: web.Request) -> web.Response:
        return web.Response(content_type="text/css")

    fixed("/object_info", package.definitions)
    fixed("/extensions", package.scripts)
    fixed("/i18n", package.translations)
    fixed("/workflow_templates", lambda: {package.name: package.templates()})
    fixed("/features", lambda: FEATURES)
    fixed("/system_stats", _system_stats)
    for path in ("/embeddings", "/models", "/experiment/models", "/models/{folder}", "/experiment/models/{folder}"):
        fixed(path, list)
    for path in ("/global_subgraphs", "/node_replacements", "/view_metadata/{folder}", "/templates/index_logo.json"):
        fixed(path, dict)
    fixed("/templates/index.json", list)
    fixed("/templates/index.{language}.json", list)
    fixed("/internal/folder_paths", dict)
    fixed("/internal/logs", str)
    fixed("/internal/logs/raw", lambda: {"entries": [], "size": {"cols": 80, "rows": 24}})


def _system_stats() -> dict[str, Any]:
    system = {
        "os": sys.platform,
        "ram_total": 1 << 34,
        "ram_free": 1 << 33,
        "comfyui_version": VERSION,
        "required_frontend_version": VERSION,
        "python_version": sys.version,
        "pytorch_version": "none",
        "embedded_python": False,
        "argv": ["main.py"],
    }
    device = {"name": "cpu", "type": "cpu", "index": None, "vram_total": 0, "vram_free": 0, "torch_vram_total": 0, "torch_vram_free": 0}
    return {"system": system, "devices": [device]}


def _prompts(routes: web.RouteTableDef, queue: Queue) -> None:
    """The queue and what came of it."""

    @routes.post("/prompt")
    async def put(request: web.Request) -> web.Response:
        try:
            return web.json_response(await queue.put(await request.json()))
        except PromptRefused as refusal:
            return web.json_response(refusal.answer, status=400)

    @routes.get("/prompt")
    async def remaining(_: web.Request) -> web.Response:
        return web.json_response(queue.status["status"])

    @routes.get("/queue")
    async def listed(_: web.Request) -> web.Response:
        rows = {"queue_running": [job.row for job in queue.running], "queue_pending": [job.row for job in queue.pending]}
        return web.json_response(rows)

    @routes.post("/queue")
    async def change(request: web.Request) -> web.Response:
        body = await request.json()
        queue.remove(None if body.get("clear") else body.get("delete", []))
        return web.Response()

    @routes.post("/interrupt")
    async def interrupt(request: web.Request) -> web.Response:
        body = json.loads(await request.text() or "{}")
        queue.interrupt(body.get("prompt_id"))
        return web.Response()

    @routes.post("/free")
    async def free(_: web.Request) -> web.Response:
        return web.Response()

    @routes.get("/history")
    async def history(request: web.Request) -> web.Response:
        rows = list(queue.done.values())
        if "max_items" in request.query:
            rows = rows[-int(request.query["max_items"]) :]
        return web.json_response({job.prompt_id: _history(job) for job in rows})

    @routes.get("/history/{prompt_id}")
    async def one(request: web.Request) -> web.Response:
        job = queue.done.get(request.match_info["prompt_id"])
        return web.json_response({job.prompt_id: _history(job)} if job is not None else {})

    @routes.post("/history")
    async def forget(request: web.Request) -> web.Response:
        body = await request.json()
        queue.forget(None if body.get("clear") else body.get("delete", []))
        return web.Response()

    @routes.get("/jobs")
    async def jobs(request: web.Request) -> web.Response:
        wanted = set(request.query.get("status", "pending,in_progress,completed,failed,cancelled").split(","))
        rows = [job for job in reversed([*queue.done.values(), *queue.running, *queue.pending]) if job.status in wanted]
        offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", len(rows) or 1))
        page = {"offset": offset, "limit": limit, "total": len(rows), "has_more": offset + limit < len(rows)}
        return web.json_response({"jobs": [_job(job) for job in rows[offset : offset + limit]], "pagination": page})

    @routes.get("/jobs/{prompt_id}")
    async def job_detail(request: web.Request) -> web.Response:
        for job in [*queue.done.values(), *queue.running, *queue.pending]:
            if job.prompt_id == request.match_info["prompt_id"]:
                workflow = {"prompt": job.prompt, "extra_data": job.extra}
                return web.json_response({**_job(job), "outputs": job.results, "workflow": workflow, "execution_status": _status(job)})
        return web.json_response({"error": "Job not found"}, status=404)

    @routes.post("/jobs/cancel")
    async def cancel_several(request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["job_ids"]:
            _cancel(queue, prompt_id)
        return web.json_response({})

    @routes.post("/jobs/{prompt_id}/cancel")
    async def cancel(request: web.Request) -> web.Response:
        _cancel(queue, request.match_info["prompt_id"])
        return web.json_response({})


def _cancel(queue: Queue, prompt_id: str) -> None:
    queue.remove([prompt_id])
    queue.interrupt(prompt_id)


def _status(job: Job) -> dict[str, Any]:
    return {
        "status_str": "success" if job.status == "completed" else "error",
        "completed": job.status == "completed",
        "messages": job.messages,
    }


def _history(job: Job) -> dict[str, Any]:
    meta = {node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node} for node in job.results}
    return {"prompt": job.row, "outputs": job.results, "status": _status(job), "meta": meta}


def _job(job: Job) -> dict[str, Any]:
    """As /jobs lists it; times in milliseconds."""
    pictures = [{**row, "nodeId": node, "mediaType": kind} for node, output in job.results.items() for kind, row in _rows(output)]
    return {
        "id": job.prompt_id,
        "status": job.status,
        "priority": job.number,
        "create_time": int(job.created * 1000),
        "execution_start_time": job.started and int(job.started * 1000),
        "execution_end_time": job.ended and int(job.ended * 1000),
        "execution_error": job.error if job.status == "failed" else None,
        "outputs_count": len(pictures),
        "preview_output": pictures[0] if pictures else None,
        "workflow_id": ((job.extra.get("extra_pnginfo") or {}).get("workflow") or {}).get("id"),
    }


def _rows(output: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, row) for kind, rows in output.items() for row in rows if isinstance(row, dict)]


def _files(routes: web.RouteTableDef, base: Path) -> None:
    """Pictures to the page and from it."""

    @routes.get("/view")
    async def view(request: web.Request) -> web.StreamResponse:
        query = request.query
        path = _inside(base / FOLDERS.get(query.get("type", "output"), "output"), query.get("subfolder", ""), query["filename"])
        if not path.is_file():
            raise web.HTTPNotFound
        if "preview" not in query or path.suffix not in (".png", ".jpg", ".webp"):
            return web.FileResponse(path)
        kind, _, quality = query["preview"].partition(";")
        buffer = io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB" if kind == "jpeg" else "RGBA").save(buffer, kind, quality=int(quality or 90))
        return web.Response(body=buffer.getvalue(), content_type=f"image/{kind}")

    @routes.post("/upload/image")
    async def upload(request: web.Request) -> web.Response:
        form = await request.post()
        sent = form["image"]
        assert isinstance(sent, web.FileField)
        kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
        path = _inside(base / FOLDERS[kind], subfolder, os.path.basename(sent.filename))
        path.parent.mkdir(parents=True, exist_ok=True)
        content = sent.file.read()
        first, number = path, 1
        while path.exists() and form.get("overwrite") not in ("1", "true") and path.read_bytes() != content:
            path = first.with_name(f"{first.stem} ({number}){first.suffix}")
            number += 1
        path.write_bytes(content)
        return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})

    @routes.get("/internal/files/{kind}")
    async def files(request: web.Request) -> web.Response:
        folder = base / FOLDERS.get(request.match_info["kind"], "output")
        found = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: -path.stat().st_mtime)
        return web.json_response([path.name for path in found])


def _inside(folder: Path, *parts: str) -> Path:
    path = folder.joinpath(*parts).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise web.HTTPForbidden
    return path


def _users(routes: web.RouteTableDef, folder: Path) -> None:
    """The one user's settings and files."""
    saved = folder / "comfy.settings.json"

    def settings() -> dict[str, Any]:
        return json.loads(saved.read_text(encoding="utf-8")) if saved.is_file() else {}

    def keep(changes: dict[str, Any]) -> web.Response:
        saved.write_text(json.dumps({**settings(), **changes}, indent=1), encoding="utf-8")
        return web.Response()

    @routes.get("/users")
    async def users(_: web.Request) -> web.Response:
        return web.json_response({"storage": "server", "migrated": True})

    @routes.get("/settings")
    async def all_settings(_: web.Request) -> web.Response:
        return web.json_response(settings())

    @routes.post("/settings")
    async def several(request: web.Request) -> web.Response:
        return keep(await request.json())

    @routes.get("/settings/{name}")
    async def one(request: web.Request) -> web.Response:
        return web.json_response(settings().get(request.match_info["name"]))

    @routes.post("/settings/{name}")
    async def change(request: web.Request) -> web.Response:
        return keep({request.match_info["name"]: await request.json()})

    @routes.get("/userdata")
    async def listed(request: web.Request) -> web.Response:
        top = _inside(folder, request.query.get("dir", ""))
        if not top.is_dir():
            raise web.HTTPNotFound
        found = sorted(path for path in (top.rglob("*") if request.query.get("recurse") == "true" else top.glob("*")) if path.is_file())
        full = request.query.get("full_info") == "true"
        return web.json_response([_about_file(path, top) if full else path.relative_to(top).as_posix() for path in found])

    @routes.get("/userdata/{file}")
    async def read(request: web.Request) -> web.StreamResponse:
        path = _user_file(folder, request, "file")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    @routes.post("/userdata/{file}")
    async def write(request: web.Request) -> web.Response:
        path = _user_file(folder, request, "file")
        if path.exists() and request.query.get("overwrite") == "false":
            return web.Response(status=409, text="File already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await request.read())
        return _written(request, path, folder)

    @routes.post("/userdata/{file}/move/{to}")
    async def move(request: web.Request) -> web.Response:
        source, target = _user_file(folder, request, "file"), _user_file(folder, request, "to")
        if not source.is_file():
            raise web.HTTPNotFound
        if target.exists() and request.query.get("overwrite") == "false":
            return web.Response(status=409, text="File already exists")
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return _written(request, target, folder)

    @routes.delete("/userdata/{file}")
    async def delete(request: web.Request) -> web.Response:
        _user_file(folder, request, "file").unlink(missing_ok=True)
        return web.Response(status=204)


def _user_file(folder: Path, request: web.Request, name: str) -> Path:
    return _inside(folder, urllib.parse.unquote(request.match_info[name]))


def _written(request: web.Request, path: Path, folder: Path) -> web.Response:
    full = request.query.get("full_info") == "true"
    return web.json_response(_about_file(path, folder) if full else path.relative_to(folder).as_posix())


def _about_file(path: Path, top: Path) -> dict[str, Any]:
    facts = path.stat()
    times = {"modified": int(facts.st_mtime * 1000), "created": int(facts.st_ctime * 1000)}
    return {"path": path.relative_to(top).as_posix(), "size": facts.st_size, **times}
