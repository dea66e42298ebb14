"""A chat model's server that is a script: after the seconds that its model's name says, a verdict.

`python -m bench.judge_model` prints its address, and serves until its standard input ends. GET /peak is the most
requests that it has had at once.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

from aiohttp import web

_KEY = re.compile(r"^(VERDICT-[0-9a-f]{8}): <", re.MULTILINE)
REASONS = "The response does what the task asks for, and says how. " * 8


class Model:
    """Answers, and counts how many wait at once."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    async def chat(self, request: web.Request) -> web.Response:
        """POST /v1/chat/completions."""
        body: dict[str, Any] = json.loads(await request.read())
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(float(body["model"]))
        self.now -= 1
        prompt = body["messages"][-1]["content"]
        marker = _KEY.findall(prompt)[-1]
        message = {"role": "assistant", "content": f"{REASONS}\n{marker}: 7"}
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 100}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": usage})

    async def told(self, _: web.Request) -> web.Response:
        """GET /peak."""
        return web.json_response({"peak": self.peak})


async def main() -> None:
    """Serve."""
    model = Model()
    app = web.Application(client_max_size=2**24)
    app.add_routes([web.post("/v1/chat/completions", model.chat), web.get("/peak", model.told)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=2_048)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
