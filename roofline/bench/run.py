"""What a program printed about one run, in its own words → an observation in the catalog's.

The readers gather a ``Seen``: model, devices, processor and build as texts. A ``Namer`` turns it into ids, fills in
what follows from them, and says what it cannot tell and which option tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from roofline import catalog, quantization
from roofline.bench.devices import Unit, hardware_and_count, hardware_id
from roofline.bench.model_names import fits, model_id, quant_of
from roofline.bench.names import Names
from roofline.bench.observation import NOTHING, Checker, Given, Observation, Skipped
from roofline.bench.text import clean, shown
from roofline.spec import SpecError

#: What programs call the backends; those on the right that run on the CPU do not name a device.
_BACKENDS = {
    "cuda": "cuda", "cublas": "cuda", "ggml_cuda": "cuda",
    "rocm": "rocm", "hip": "rocm", "hipblas": "rocm", "rocblas": "rocm",
    "metal": "metal", "mtl": "metal",
    "vulkan": "vulkan", "sycl": "sycl", "opencl": "opencl", "clblast": "opencl", "gpuopencl": "opencl",
    "cpu": "cpu", "blas": "cpu", "openblas": "cpu", "accelerate": "cpu", "amx": "cpu", "accel": "cpu", "none": "cpu",
    "": "cpu",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A run in a program's own words; "" where it says nothing.

    model_type: 'llama 7B Q4_0'; parameters [1]; file: of the model; backends: 'CUDA,BLAS'; devices: 'A, A';
    processor: the CPU's name; single: one device only was used, however many there are.
    """

    model_type: str = ""
    parameters: float | None = None
    file: str = ""
    backends: str = ""
    devices: str = ""
    processor: str = ""
    build: str = ""
    date: str = ""
    single: bool = False
    partly: bool = False


def backend_of(text: str) -> str:
    """The device backend in 'CUDA,BLAS' (cuda), 'BLAS' (cpu) or 'MTL'; SpecError for one unknown, or several."""
    words = [
        word.strip().lower().rstrip("0123456789") for word in text[:200].replace("+", ",").replace("/", ",").split(",")
    ]
    words = [word for word in words if word != "rpc"]
    unknown = [word for word in words if word not in _BACKENDS]
    if unknown:
        raise SpecError(f"backend: expected one of cpu, cuda, metal, vulkan, rocm, sycl, opencl, found {shown(text)}")
    found = {_BACKENDS[word] for word in words} - {"cpu"}
    if len(found) > 1:
        raise SpecError(f"backend: expected one device backend, found {shown(text)}; give --backend")
    return found.pop() if found else "cpu"


class Namer:
    """Seen runs to observations, with what the user gave. prefix: of the ids, which are numbered by row."""

    def __init__(self, given: Given, prefix: str) -> None:
        self.given, self._prefix = given, prefix
        self._names = Names()
        self._checker = Checker(Given(), self._names)

    def row(
        self,
        row: int,
        seen: Seen,
        fields: Mapping[str, str],
        extra: Mapping[str, str] = NOTHING,
        suffix: str = "",
    ) -> Observation | Skipped:
        """The observation of one printed speed: `fields` by column, the rest from `seen`."""
        name = f"{self._prefix}-{row}{suffix}"
        try:
            filled = dict(fields) | self._identity(seen, fields)
        except SpecError as error:
            return Skipped(name, row, f"row {row}, {error}")
        filled["kind"] = kind_of(filled)
        filled.setdefault("batch", "1")
        filled.setdefault("runtime", self.given.runtime)
        filled.setdefault("build", clean(seen.build, 200))
        filled.setdefault("date", clean(seen.date[:10]))
        kept = {key: clean(value) for key, value in extra.items() if value} if extra else {}
        if seen.model_type:
            kept["model_type"] = clean(seen.model_type)
        return self._checker.check_fields(filled, row, kept or NOTHING, name)

    def skip(self, row: int, reason: str, suffix: str = "") -> Skipped:
        """A row that is no measurement of one phase."""
        return Skipped(f"{self._prefix}-{row}{suffix}", row, f"row {row}, {reason}")

    def _identity(self, seen: Seen, fields: Mapping[str, str]) -> dict[str, str]:
        model = self._model(seen)
        backend = self.given.backend or self._backend(seen)
        layers, phase = fields.get("gpu_layers", "").strip(), fields.get("phase", "")
        partly = seen.partly or _partly(layers, model) if backend != "cpu" else False
        # With no layer on the device a token is decoded by the host; prompts are still sent to the device in pieces.
        on_host = backend != "cpu" and layers == "0" and phase == "tg"
        if on_host:
            backend, partly = "cpu", False
        hardware, count = self._hardware(seen, backend, on_host)
        found = {"model": model, "hardware": hardware, "count": str(count), "backend": backend}
        found["quant"] = self._quant(seen)
        found["host"] = _host(seen, hardware) if backend != "cpu" else ""
        if partly:
            found["partly"] = "1"
        return found

    def _model(self, seen: Seen) -> str:
        if self.given.model:
            identity = self._names.model(self.given.model)
            if seen.parameters is None or identity.endswith((".gguf", ".json")) or fits(identity, seen.parameters):
                return identity
            if not (seen.model_type or seen.file):
                raise SpecError(f"model: expected {identity}, found {seen.parameters:.4g} parameters")
        elif not (seen.model_type or seen.file):
            raise SpecError("model: expected a name, found none; give --model")
        try:
            return model_id(seen.model_type, seen.parameters, seen.file)
        except SpecError as error:
            raise SpecError(f"model: {error}") from None

    def _quant(self, seen: Seen) -> str:
        """What the program printed; what is given where it printed nothing, or a mix of the same base type."""
        given = self._names.quant(self.given.quant) if self.given.quant else None
        try:
            printed = quant_of(seen.model_type, seen.file)
        except SpecError as error:
            if given is None:
                raise SpecError(f"quant: {error}") from None
            return given
        if given is not None and quantization.get(given).layout == quantization.get(printed).layout:
            return given
        return printed

    def _backend(self, seen: Seen) -> str:
        if seen.backends:
            return backend_of(seen.backends)
        if self.given.hardware:
            identity, _ = self._names.hardware(self.given.hardware)
            return str(catalog.load_hardware(identity).spec.backends[0])
        if seen.devices:
            return str(catalog.load_hardware(hardware_and_count(seen.devices)[0]).spec.backends[0])
        return "cpu"

    def _hardware(self, seen: Seen, backend: str, on_host: bool) -> tuple[str, int]:
        """The device and how many: what is given where that has the backend, else what the program printed."""
        given = self._names.hardware(self.given.hardware) if self.given.hardware else None
        if given is None or backend not in catalog.load_hardware(given[0]).spec.backends:
            return self._printed_hardware(seen, backend)
        if given[1] == 1 and not on_host:
            try:
                printed = self._printed_hardware(seen, backend)
            except SpecError:
                return given
            return printed if printed[0] == given[0] else given  # two of the given one
        return given

    def _printed_hardware(self, seen: Seen, backend: str) -> tuple[str, int]:
        unit: Unit = "cpu" if backend == "cpu" else "gpu"
        text = (seen.processor or seen.devices) if unit == "cpu" else (seen.devices or seen.processor)
        if not text:
            raise SpecError(f"hardware: expected the name of a device with {backend}, found none; give --hw")
        identity, count = (hardware_id(text, unit), 1) if unit == "cpu" else hardware_and_count(text, unit)
        backends = catalog.load_hardware(identity).spec.backends
        if backend not in backends:  # a device that was named further up, for another run
            has = ", ".join(backends)
            raise SpecError(f"hardware: expected a device with {backend}, found {identity} ({has}); give --hw")
        return identity, 1 if seen.single else count


def _partly(layers: str, model: str) -> bool:
    """Whether some layers stay on the host; the output counts as one more layer."""
    if not layers.isdigit() or model.endswith((".gguf", ".json")):
        return False
    return int(layers[:9]) < catalog.load_model(model).spec.layers


def _host(seen: Seen, hardware: str) -> str:
    """The machine around a device where its processor is in the catalog."""
    if not seen.processor:
        return ""
    try:
        found = hardware_id(seen.processor, "cpu")
    except SpecError:
        return ""
    return "" if found == hardware else found


def kind_of(fields: dict[str, str]) -> str:
    """What a row is an example of; takes the mark `partly` out of `fields`."""
    if fields.pop("partly", ""):
        return "hybrid"
    if fields.get("batch", "1") not in ("", "1"):
        return "batch"
    if fields.get("count", "1") not in ("", "1"):
        return "multi"
    if fields.get("depth", "0") not in ("", "0"):
        return "depth"
    model = fields["model"]
    if not model.endswith((".gguf", ".json")) and catalog.load_model(model).spec.expert_count:
        return "moe"
    return "plain"
