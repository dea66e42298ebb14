"""The languages that programs may be written in: one declaration each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Language:
    """How programs of a language are compiled and run. Commands are looked up in the sandbox, by its PATH.

    `{memory_mb}` in a command stands for the run's limit, and `{name}` for the source file's name without its ending.
    """

    name: str
    source: str
    """The file that the program is written to."""
    version: tuple[str, ...]
    """Tells whether the language is there, and which version."""
    run: tuple[str, ...] = ()
    """Runs in the working folder; none for Python, which is run by the warm interpreter."""
    compile: tuple[str, ...] = ()
    """Runs in the job's folder, `/job`, where what it makes stays for the runs, which cannot write there."""
    calls: tuple[str, ...] = ()
    """How functions are called, where they can be."""
    threads: int = 0
    """Threads that the language's own machinery needs beyond what the program may have."""
    memory_mb: int = 0
    """Memory that the machinery needs beyond what the program may have."""
    environment: Mapping[str, str] = field(default_factory=dict)


_CALL_JAVASCRIPT = r"""
"use strict";
const fs = require("fs"), path = require("path"), Module = require("module");
const first = Number(process.env.ASSAY_FIRST), entry = process.env.ASSAY_ENTRY_POINT;
const calls = fs.readFileSync(4, "utf8").split("\n");
function send(index, status, text) {
  const content = Buffer.from(text, "utf8"), head = Buffer.alloc(9);
  head.writeUInt32LE(index, 0); head.writeUInt8(status, 4); head.writeUInt32LE(content.length, 5);
  for (let data = Buffer.concat([head, content]); data.length;) data = data.subarray(fs.writeSync(3, data));
}
function plain(value, seen) {
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number") {
    if (Number.isFinite(value)) return value;
    return {f: Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf"};
  }
  if (typeof value === "bigint") return {i: value.toString(16)};
  if (typeof value !== "object") throw new TypeError("returned a " + typeof value + ", which is no data");
  if (seen.length > 100 || seen.includes(value)) throw new TypeError("returned something too deep, or cyclic");
  const inner = [...seen, value], each = (values) => Array.from(values, (one) => plain(one, inner));
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return each(value);
  if (value instanceof Set) return {s: each(value)};
  const entries = value instanceof Map ? [...value.entries()] : Object.entries(value);
  return {d: entries.map(([key, one]) => [plain(key, inner), plain(one, inner)])};
}
const asWords = (error) => (error instanceof Error ? error.name + ": " + error.message : String(error)).slice(0, 500);
let target;
try {
  const file = path.resolve("main.js"), loaded = new Module(file);
  loaded.filename = file; loaded.paths = [];
  const name = entry.replace(/[^A-Za-z0-9_$.()]/g, "");
  const source = fs.readFileSync(file, "utf8") +
    "\n;try { module.exports.__assay_entry = " + name + "; } catch (error) {}";
  loaded._compile(source, file);
  target = loaded.exports.__assay_entry;
  if (typeof target !== "function" && typeof loaded.exports[entry] === "function") target = loaded.exports[entry];
  if (typeof target !== "function" && typeof loaded.exports === "function") target = loaded.exports;
  if (typeof target !== "function") throw new ReferenceError("the program defines no function " + entry);
} catch (error) { send(0xFFFFFFFF, 1, asWords(error)); process.exit(0); }
send(0xFFFFFFFF, 0, "");
(async () => {
  for (let index = first; index < calls.length; index++) {
    let value;
    try { value = await target(...JSON.parse(calls[index])[0]); }
    catch (error) { send(index, 1, asWords(error)); continue; }
    try { send(index, 0, JSON.stringify(plain(value, []))); } catch (error) { send(index, 2, asWords(error)); }
  }
  process.exit(0);
})();
"""

_DECLARED = (
    Language("python", "main.py", version=("python3", "--version")),
    Language(
        "javascript",
        "main.js",
        version=("node", "--version"),
        run=("node", "--stack-size=8000", "--max-old-space-size={memory_mb}", "main.js"),
        calls=("node", "--max-old-space-size={memory_mb}", "-e", _CALL_JAVASCRIPT),
        threads=16,
        memory_mb=64,
    ),
    Language(
        "typescript",
        "main.ts",
        version=("esbuild", "--version"),
        compile=("esbuild", "main.ts", "--outfile=main.js", "--format=cjs", "--platform=node", "--log-level=error"),
        run=("node", "--stack-size=8000", "--max-old-space-size={memory_mb}", "/job/main.js"),
        threads=16,
        memory_mb=64,
    ),
    Language(
        "c",
        "main.c",
        version=("gcc", "--version"),
        compile=("gcc", "-O2", "-std=gnu17", "-w", "-o", "main", "main.c", "-lm"),
        run=("/job/main",),
    ),
    Language(
        "cpp",
        "main.cpp",
        version=("g++", "--version"),
        compile=("g++", "-O2", "-std=gnu++17", "-w", "-o", "main", "main.cpp"),
        run=("/job/main",),
    ),
    Language(
        "java",
        "Main.java",
        version=("javac", "--version"),
        compile=("javac", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-d", ".", "{name}.java"),
        run=(
            "java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss64m", "-Xmx{memory_mb}m", "-cp", "/job",
            "{name}",
        ),
        threads=40,
        memory_mb=160,
    ),
    Language(
        "go",
        "main.go",
        version=("go", "version"),
        # a standard library that lies compiled in the image is read from there, and nothing is written to it
        compile=(
            "sh", "-c",
            "if [ -d /usr/lib/go-cache ]; then export GOCACHE=/usr/lib/go-cache; fi; "
            "exec go build -trimpath -o main main.go",
        ),
        run=("/job/main",),
        threads=16,
        environment={"GOCACHE": "/tmp/go", "GOPATH": "/tmp/gopath", "GO111MODULE": "off", "CGO_ENABLED": "0"},  # noqa: S108
    ),
    Language(
        "rust",
        "main.rs",
        version=("rustc", "--version"),
        compile=("rustc", "-O", "--edition", "2021", "-A", "warnings", "-o", "main", "main.rs"),
        run=("/job/main",),
        threads=8,
    ),
    Language("bash", "main.sh", version=("bash", "--version"), run=("bash", "main.sh")),
)  # fmt: skip

LANGUAGES: Mapping[str, Language] = MappingProxyType({language.name: language for language in _DECLARED})
"""Every declared language by its name; which of them a sandbox offers depends on what is installed there."""

_PUBLIC_CLASS = re.compile(rb"\bpublic\s+(?:(?:final|abstract|strictfp)\s+)*class\s+([A-Za-z_]\w{0,99})")


def source_name(language: Language, source: bytes) -> str:
    """The file for a program's source: Java's is named by its public class."""
    if language.name == "java" and (found := _PUBLIC_CLASS.search(source)):
        return f"{found[1].decode('ascii')}.java"
    return language.source


def filled(command: tuple[str, ...], memory_mb: int, file: str) -> list[str]:
    """A command with its placeholders filled in."""
    name = file.rpartition(".")[0]
    return [part.replace("{memory_mb}", str(memory_mb)).replace("{name}", name) for part in command]
