"""What the lines around a measurement say: devices, processor, model, build, threads, layers on the device."""

from __future__ import annotations

import re
from dataclasses import replace

from roofline.bench.model_names import parameters
from roofline.bench.run import Seen

_COUNT_LINE = re.compile(r"found \d+ (CUDA|ROCm|SYCL|Vulkan) devices?", re.I)
_CUDA = re.compile(r"Device \d+: (.+?),\s*(?:compute capability|gfx)", re.I)
_VULKAN = re.compile(r"ggml_vulkan: \d+ = (.+?)(?:\s*\||$)")
_METAL = re.compile(r"(?:found device|picking default device|GPU name):\s*(Apple \S.*?)\s*$", re.I)
_PROCESSOR = re.compile(r"^\s*(?:model name|cpu(?: model)?|processor)\s*[:=]\s*(\S.*?)\s*$", re.I)
_FILE = re.compile(r"([^\s'\"=]+\.gguf)", re.I)
_ARCHITECTURE = re.compile(r"\barch\s*=\s*(\S+)")
_MODEL_SIZE = re.compile(r"\bmodel type\s*=\s*(\S.*?)\s*$")
_FILE_TYPE = re.compile(r"\b(?:model ftype|file type)\s*=\s*(\S.*?)\s*$")
_PARAMETERS = re.compile(r"\bmodel params\s*=\s*([\d.]+ ?[KMBT])")
_BUILD = re.compile(r"\bbuild(?:\s*=|:)\s*(?:(\d+) \((\w+)\)|(\w{6,12}) \((\d+)\))")
_THREADS = re.compile(r"\bn_threads\s*=\s*(\d+)")
_LAYERS = re.compile(r"offloaded (\d+)/(\d+) layers")


class Log:
    """The state of a log up to its last line. A second list of devices replaces the first."""

    def __init__(self) -> None:
        self.threads = ""
        self.gpu_layers = ""
        self._seen = Seen()
        self._devices: list[str] = []
        self._listing = False
        self._model = {"arch": "", "size": "", "type": ""}

    def read(self, line: str) -> None:
        """Take in one line."""
        line = line[:1000].strip().removeprefix(">").strip()
        listed = self._device(line)
        if listed is not None:
            backend, name = listed
            if not self._listing:
                self._devices = []
            self._listing = True
            self._devices += [name] if name else []
            self._seen = replace(self._seen, devices=", ".join(self._devices), backends=backend or self._seen.backends)
            return
        self._listing = self._listing and not line
        self._words(line)

    def _device(self, line: str) -> tuple[str, str] | None:
        """(backend, device) of a line that lists one, with a blank device for the line that opens a list."""
        if match := _COUNT_LINE.search(line):
            return match[1], ""
        if match := _CUDA.search(line):
            return "", match[1]
        if match := _VULKAN.search(line):
            return "Vulkan", match[1]
        if match := _METAL.search(line):
            return "Metal", match[1] if match[1] not in self._devices else ""
        return None

    def _words(self, line: str) -> None:
        if match := _PROCESSOR.match(line):
            self._seen = replace(self._seen, processor=match[1][:200])
        if match := _BUILD.search(line):
            number, commit = (match[1], match[2]) if match[1] else (match[4], match[3])
            self._seen = replace(self._seen, build=f"{commit} ({number})")
        if match := _FILE.search(line):
            self._seen = replace(self._seen, file=match[1])
        if match := _PARAMETERS.search(line):
            self._seen = replace(self._seen, parameters=parameters(match[1]))
        if match := _THREADS.search(line):
            self.threads = match[1]
        if match := _LAYERS.search(line):
            self.gpu_layers = match[1]
        for key, pattern in (("arch", _ARCHITECTURE), ("size", _MODEL_SIZE), ("type", _FILE_TYPE)):
            if match := pattern.search(line):
                self._model[key] = match[1]

    def seen(self) -> Seen:
        """What is known so far."""
        words = (self._model["arch"], self._model["size"] or "?B", self._model["type"])
        return replace(self._seen, model_type=" ".join(words) if self._model["arch"] or self._model["type"] else "")
