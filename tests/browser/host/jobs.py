"""The queue: prompts run one after the other in a thread, each with the runner, and the page hears about it."""

from __future__ import annotations

import threading
import time
import traceback
import types
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .package import Package
from .peer import InterruptProcessingException, Peer, executing

KEPT = 200
"""Finished jobs that are remembered."""


class PromptRefused(Exception):
    """A prompt that is not queued. answer: what the page is told."""

    def __init__(self, answer: dict[str, Any]):
        super().__init__(answer["error"]["message"])
        self.answer = answer


@dataclass
class Job:
    """One prompt. graph: what the runner makes of it. messages: the events of its run, as /history keeps them."""

    number: float
    prompt_id: str
    prompt: dict[str, Any]
    extra: dict[str, Any]
    client_id: str | None
    outputs: list[str]
    graph: Any
    peer: Peer
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    status: str = "pending"
    results: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    _bars: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def row(self) -> list[Any]:
        """As /queue and /history list it."""
        return [self.number, self.prompt_id, self.prompt, self.extra, self.outputs]

    def tell(self, event: str, **data: Any) -> None:
        """An event about this prompt to the page that sent it."""
        content = {"prompt_id": self.prompt_id, **data}
        if event.startswith("execution_"):
            content["timestamp"] = int(time.time() * 1000)
            self.messages.append((event, content))
        self.peer.messages.send(event, content, self.client_id)

    # -- what happens while it runs

    def began(self, node: Any) -> None:
        executing.set(types.SimpleNamespace(prompt_id=self.prompt_id, node_id=node.id, list_index=None))
        self._bar(node.id, 0, 1, "running")
        self.tell("executing", node=node.id, display_node=node.id)

    def progress(self, node_id: str, value: float, total: float) -> None:
        self._bar(node_id, value, total, "running")
        self.tell("progress", value=value, max=total, node=node_id)

    def ended_node(self, node: Any, returned: Any) -> None:
        bar = self._bars[node.id]
        self._bar(node.id, bar["max"], bar["max"], "finished")
        shown = returned.get("ui") if isinstance(returned, Mapping) else None
        if shown:
            self.results[node.id] = {name: list(rows) for name, rows in shown.items()}
            self.tell("executed", node=node.id, display_node=node.id, output=self.results[node.id])

    def _bar(self, node_id: str, value: float, total: float, state: str) -> None:
        self._bars[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self.tell("progress_state", nodes=dict(self._bars))

    @property
    def executed(self) -> list[str]:
        return [node_id for node_id, bar in self._bars.items() if bar["state"] == "finished"]


class Queue:
    """All prompts of a host."""

    def __init__(self, package: Package, peer: Peer):
        self._package = package
        self._peer = peer
        self._changed = threading.Condition()
        self._count = 0
        self.pending: list[Job] = []
        self.done: dict[str, Job] = {}

    def start(self) -> None:
        threading.Thread(target=self._work, name="prompts", daemon=True).start()

    @property
    def running(self) -> list[Job]:
        return [job for job in [self._peer.running] if job is not None]

    @property
    def status(self) -> dict[str, Any]:
        return {"status": {"exec_info": {"queue_remaining": len(self.pending) + len(self.running)}}}

    async def put(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check and queue what is posted to /prompt; its answer. Raises PromptRefused."""
        prompt = body.get("prompt")
        if not isinstance(prompt, Mapping) or not prompt:
            raise PromptRefused(_refusal("no_prompt", "No prompt provided"))
        graph, outputs, errors = await self._checked(dict(prompt))
        extra = dict(body.get("extra_data") or {})
        graph = replace(graph, workflow=(extra.get("extra_pnginfo") or {}).get("workflow"))
        with self._changed:
            self._count += 1
            number = body.get("number", -self._count if body.get("front") else self._count)
            prompt_id = str(body.get("prompt_id") or uuid.uuid4())
            self.pending.append(Job(number, prompt_id, dict(prompt), extra, body.get("client_id"), outputs, graph, self._peer))
            self.pending.sort(key=lambda job: job.number)
            self._changed.notify()
        self.tell_status()
        return {"prompt_id": prompt_id, "number": number, "node_errors": errors}

    async def _checked(self, prompt: dict[str, Any]) -> tuple[Any, list[str], dict[str, Any]]:
        """The graph, the outputs that can run, and what is wrong with others. Raises PromptRefused when nothing can."""
        package = self._package
        try:
            graph = package.workflow.parse(prompt, package.classes, package.titles)
        except package.workflow.WorkflowError as error:
            raise PromptRefused(_refusal("invalid_prompt", str(error))) from error
        wanted = [node.id for node in graph.nodes.values() if getattr(package.classes[node.type], "OUTPUT_NODE", False)]
        if not wanted:
            raise PromptRefused(_refusal("prompt_no_outputs", "Prompt has no outputs"))
        errors: dict[str, Any] = {}
        fit = []
        for output in wanted:
            node_id = output
            try:
                for node_id in package.validation.order(graph, output):
                    await package.validation.checked_inputs(graph.nodes[node_id], graph, package.classes)
                fit.append(output)
            except package.workflow.WorkflowError as error:
                row = errors.setdefault(node_id, _node_error(graph.nodes[node_id], str(error)))
                row["dependent_outputs"].append(output)
        if not fit:
            raise PromptRefused({**_refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation"), "node_errors": errors})
        return graph, fit, errors

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop what runs, if it is that prompt or none is named."""
        if prompt_id is None or any(job.prompt_id == prompt_id for job in self.running):
            self._peer.interrupt.set()

    def remove(self, prompt_ids: list[str] | None) -> None:
        """Forget waiting prompts: these, or all."""
        with self._changed:
            self.pending = [job for job in self.pending if prompt_ids is not None and job.prompt_id not in prompt_ids]
        self.tell_status()

    def forget(self, prompt_ids: list[str] | None) -> None:
        """Drop finished prompts: these, or all."""
        for prompt_id in list(self.done) if prompt_ids is None else prompt_ids:
            self.done.pop(prompt_id, None)

    def tell_status(self) -> None:
        self._peer.messages.send("status", self.status)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.pending)
                job = self._peer.running = self.pending.pop(0)
            try:
                self._run(job)
            finally:
                job.ended = time.time()
                self.done[job.prompt_id] = job
                for prompt_id in list(self.done)[:-KEPT]:
                    del self.done[prompt_id]
                self._peer.running = None
                job.tell("executing", node=None)
                self.tell_status()

    def _run(self, job: Job) -> None:
        execution = self._package.execution
        self._peer.interrupt.clear()
        job.started, job.status = time.time(), "in_progress"
        job.tell("execution_start")
        job.tell("execution_cached", nodes=[])

        class Watcher(execution.Watcher):
            def began(self, node: Any) -> None:
                job.began(node)

            def ended(self, node: Any, returned: Any) -> None:
                job.ended_node(node, returned)

        try:
            execution.run(job.graph, self._package.classes, self._peer.interrupt.set, Watcher())
        except execution.NodeFailed as failure:
            self._failed(job, failure.node, failure.cause)
        except Exception as error:
            traceback.print_exc()
            job.status, job.error = "failed", {"exception_message": str(error)}
        else:
            job.status = "completed"
            job.tell("execution_success")

    def _failed(self, job: Job, node: Any, cause: Exception) -> None:
        about = {"node_id": node.id, "node_type": node.type, "executed": job.executed}
        if isinstance(cause, (InterruptProcessingException, self._package.errors.GenerationCancelled)):
            job.status = "cancelled"
            job.tell("execution_interrupted", **about)
            return
        kind = type(cause)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        job.status = "failed"
        job.error = {
            **about,
            "exception_message": f"{cause}\n",
            "exception_type": module + kind.__qualname__,
            "traceback": traceback.format_tb(cause.__traceback__),
            "current_inputs": {},
            "current_outputs": job.executed,
        }
        job.tell("execution_error", **job.error)


def _refusal(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, "details": "", "extra_info": {}}, "node_errors": {}}


def _node_error(node: Any, sentence: str) -> dict[str, Any]:
    error = {"type": "custom_validation_failed", "message": "Invalid input", "details": sentence, "extra_info": {}}
    return {"errors": [error], "dependent_outputs": [], "class_type": node.type}
