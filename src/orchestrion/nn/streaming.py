"""Convolutions over time that give the same whole and in blocks, with their state as an explicit argument.

Inside, signals are `[b c 1 t]`: as 2-D convolutions they may lie channels last in memory, which a CPU convolves up to
ten times as fast as `[b c t]`. Every layer has one method,

    y = layer.stream(x, past, new, final)

`past` is the list of tensors that the call before left in its `new`, empty at the beginning; each layer reads the entry
at its turn and appends its own. `final` says that nothing follows, so that the zeros behind the end come into play. A
layer gives out what it can, so a short block may yield nothing; the blocks one after another are what the whole signal
gives. `forward` is the whole in one call.

Padding is decided here alone: "centred" looks as far ahead as back, "causal" only back (cached_conv's `get_padding`,
which RAVE uses). Everything here can be compiled by TorchScript.
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

FEW = 128  # steps, over the batch: with more, convolutions are quicker than matrix products


def pads(taps: int, dilation: int, causal: bool) -> tuple[int, int]:
    """Zeros in front and behind, so that n samples give n / stride."""
    reach = (taps - 1) * dilation
    return (reach, 0) if causal else (reach // 2, reach - reach // 2)


def join(past: list[Tensor], new: list[Tensor], x: Tensor, zeros: int) -> Tensor:
    """`x` behind what the call before left at this turn, or behind `zeros` at the beginning."""
    turn = len(new)
    if turn < len(past):
        return torch.cat([past[turn], x], -1) if past[turn].shape[-1] > 0 else x
    return nn.functional.pad(x, (zeros, 0)) if zeros else x


def in_place() -> bool:
    """Whether a layer may write over what it was given, if nobody else holds it."""
    if torch.jit.is_scripting():
        return False
    return not (torch.is_grad_enabled() or torch.jit.is_tracing())


class Streaming(nn.Module):
    """Base: `forward` by way of `stream`."""

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        past: list[Tensor] = []
        new: list[Tensor] = []
        return self.stream(x, past, new, True)


class Weight(nn.Module):
    """A convolution's kernel `[o i k]`, weight-normalised (Salimans & Kingma 2016) or plain.

    In use, the product of gain and direction, in the precision and layout that is asked for, is kept until a parameter
    changes.
    """

    normed: Final[bool]

    def __init__(self, outputs: int, inputs: int, taps: int, normed: bool) -> None:
        super().__init__()
        value = torch.empty(outputs, inputs, taps)
        nn.init.kaiming_uniform_(value, 5**0.5)
        self.normed = normed
        self.direction = nn.Parameter(value)
        if normed:
            self.gain = nn.Parameter(value.norm(dim=(1, 2), keepdim=True).clone())
        self.kept: dict[object, tuple[object, Tensor]] = {}

    def forward(self) -> Tensor:
        if self.normed:
            return self.direction * (self.gain / self.direction.norm(dim=(1, 2), keepdim=True))
        return self.direction

    @torch.no_grad()
    def fold(self) -> None:
        """Makes it plain for good."""
        self.direction.copy_(self())
        if self.normed:
            del self.gain
        self.normed = False  # type: ignore[misc]

    def ready(self, upsampling: int, dtype: torch.dtype, rows: bool = False) -> Tensor:
        """The kernel as `conv2d` takes it, see `_laid_out`, or as a matrix `[o k·i]` for rows of what it covers; from
        the shelf where nothing has changed."""
        if torch.is_grad_enabled() and self.direction.requires_grad:
            return _laid_out(self(), upsampling)
        state = _state(self.direction) + (_state(self.gain) if self.normed else ())
        name = (upsampling, dtype, rows)
        found = self.kept.get(name)
        if found is not None and found[0] == state:
            return found[1]
        with torch.inference_mode(False), torch.no_grad():  # to be of use in training too
            value = _laid_out(self(), upsampling).to(dtype)
            value = value.permute(0, 2, 3, 1).flatten(1).contiguous() if rows else value.contiguous(
                memory_format=torch.channels_last)
        self.kept = {key: kept for key, kept in self.kept.items() if kept[0] == state} | {name: (state, value)}
        return value

    def convolve(self, x: Tensor, upsampling: int, stride: int, dilation: int, groups: int) -> Tensor:
        """x `[b i 1 t]`, zeros included -> `[b o 1 n]`.

        A few steps at a time, as on stage, are a matrix product: a convolution would first lay out its kernel, which
        takes longer than the work itself.
        """
        dtype = _working_dtype(x)
        taps = 2 if upsampling else self.direction.shape[-1]
        count = (x.shape[-1] - (taps - 1) * dilation - 1) // stride + 1
        if torch.jit.is_tracing() or groups > 1 or x.shape[0] * count > FEW or torch.is_grad_enabled():
            return nn.functional.conv2d(x, self.ready(upsampling, dtype), None, [1, stride], [0, 0], [1, dilation],
                                        groups)
        steps = x[:, :, 0].transpose(1, 2).contiguous()  # [b t i]
        b, t, i = steps.shape
        if taps > 1 or stride > 1:
            steps = steps.as_strided((b, count, taps, i), (t * i, stride * i, dilation * i, 1))
        covered = steps.reshape(b * count, taps * i)
        made = nn.functional.linear(covered.to(dtype), self.ready(upsampling, dtype, rows=True))
        return made.view(b, 1, count, -1).permute(0, 3, 1, 2)


def _state(parameter: Tensor) -> tuple[int, int]:
    """Another one once the parameter has changed."""
    return parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version


def _laid_out(kernel: Tensor, upsampling: int) -> Tensor:
    """`[o i k]` -> `[o i 1 k]`; of a transposed convolution by r, `[i o 2r]` -> `[r·o i 1 2]`, see `Upsample`."""
    if upsampling == 0:
        return kernel.unsqueeze(2)
    inputs, outputs, _ = kernel.shape
    now, before = kernel.split(upsampling, -1)
    pair = torch.stack([before, now], -1)  # [i o r 2]
    return pair.permute(2, 1, 0, 3).reshape(upsampling * outputs, inputs, 2).unsqueeze(2)


class Conv(Streaming):
    """A convolution without bias. `[b i 1 t]` -> `[b o 1 t/stride]`."""

    def __init__(self, inputs: int, outputs: int, taps: int, causal: bool, stride: int = 1, dilation: int = 1,
                 groups: int = 1, normed: bool = True) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.span = (taps - 1) * dilation + 1
        self.left, self.right = pads(taps, dilation, causal)
        self.weight = Weight(outputs, inputs // groups, taps, normed)

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        if final and len(past) == 0 and self.left == self.right:  # whole: no copy for the zeros
            new.append(x[..., :0])
            if torch.jit.is_scripting():  # noqa: SIM108  (TorchScript compiles only one side of a statement)
                kernel = self.weight().unsqueeze(2)
            else:
                kernel = self.weight.ready(0, _working_dtype(x))
            return nn.functional.conv2d(x, kernel, None, [1, self.stride], [0, self.left], [1, self.dilation],
                                        self.groups)
        x = join(past, new, x, self.left)
        if final:
            x = nn.functional.pad(x, (0, self.right))
        needed = self.span if final else max(self.span, self.stride)  # so that no sample is still to be skipped
        count = max(0, (x.shape[-1] - needed) // self.stride + 1)
        new.append(x[..., count * self.stride :])
        if count == 0:
            return x.new_zeros(x.shape[0], self.outputs, 1, 0)
        x = x[..., : (count - 1) * self.stride + self.span]
        if torch.jit.is_scripting():
            return nn.functional.conv2d(x, self.weight().unsqueeze(2), None, [1, self.stride], [0, 0],
                                        [1, self.dilation], self.groups)
        else:
            return self.weight.convolve(x, 0, self.stride, self.dilation, self.groups)


class Upsample(Streaming):
    """A transposed convolution of 2r taps and stride r, r even, cut by r/2 at either end. `[b i 1 t]` -> `[b o 1 r·t]`.

    Computed as a convolution of two taps with r·o outputs: channels last, laying these out in time moves nothing. It
    hears half a step ahead, in causal networks too.
    """

    def __init__(self, inputs: int, outputs: int, ratio: int) -> None:
        super().__init__()
        if ratio % 2:
            raise ValueError(f"an even ratio is needed, got {ratio}")
        self.outputs, self.ratio = outputs, ratio
        self.weight = Weight(inputs, outputs, 2 * ratio, normed=True)

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        turn = len(new)
        beginning = turn >= len(past) or past[turn].shape[-1] == 0  # nothing given out yet
        if beginning:
            x = nn.functional.pad(x, (1, 1 if final else 0))
        else:
            x = torch.cat([past[turn], x], -1)
            x = nn.functional.pad(x, (0, 1)) if final else x
        if x.shape[-1] < 2:
            new.append(x[..., :0] if beginning else x)
            return x.new_zeros(x.shape[0], self.outputs, 1, 0)
        new.append(x[..., -1:])
        if torch.jit.is_scripting():
            blocks = nn.functional.conv2d(x, _laid_out(self.weight(), self.ratio))  # [b r·o 1 t]
        else:
            blocks = self.weight.convolve(x, self.ratio, 1, 1, 1)
        y = blocks.permute(0, 2, 3, 1).reshape(x.shape[0], 1, -1, self.outputs).permute(0, 3, 1, 2)
        first = self.ratio // 2 if beginning else 0
        last = y.shape[-1] - (self.ratio // 2 if final else 0)
        return y[..., first:last]


class Chain(Streaming):
    """Layers one after another."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        for before, layer in pairwise(layers):
            if isinstance(layer, Leaky) and isinstance(before, Conv | Upsample | Residual):
                layer.owns = True  # their output is new, and nothing else reads it

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        for layer in self.layers:
            x = layer.stream(x, past, new, final)  # type: ignore[operator]
        return x


class Residual(Streaming):
    """x + f(x); x waits until f has caught up."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        waiting = join(past, new, x, 0)
        turn = len(new)
        new.append(waiting)
        y = self.inner.stream(x, past, new, final)  # type: ignore[operator]
        count = y.shape[-1]
        new[turn] = waiting[..., count:]
        if in_place():
            return y.add_(waiting[..., :count])
        return y + waiting[..., :count]


def level(branches: list[Tensor], past: list[Tensor], new: list[Tensor]) -> list[Tensor]:
    """Branches of different delay -> what all of them have by now; the rest waits."""
    joined: list[Tensor] = []
    for i, branch in enumerate(branches):
        turn = len(new) + i
        joined.append(torch.cat([past[turn], branch], -1) if turn < len(past) else branch)
    count = joined[0].shape[-1]
    for branch in joined:
        count = min(count, branch.shape[-1])
    for branch in joined:
        new.append(branch[..., count:])
    return [branch[..., :count] for branch in joined]


def _working_dtype(x: Tensor) -> torch.dtype:
    """What a convolution computes in: bfloat16 or half under autocast."""
    if torch.jit.is_scripting():
        return x.dtype
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


# Activations: nothing to remember


class Leaky(Streaming):
    """Leaky ReLU, slope 0.2. owns: what it is given is its own."""

    owns: bool

    def __init__(self) -> None:
        super().__init__()
        self.owns = False

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        return nn.functional.leaky_relu(x, 0.2, self.owns and in_place())


class Snake(Streaming):
    """x + sin²(αx)/α with one α a channel (Ziyin et al. 2020): periodic, so that it can go on swinging."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(channels, 1))

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        alpha = self.alpha.unsqueeze(-1).to(x.dtype)
        return x + torch.sin(alpha * x).square() / (alpha + 1e-9)


class BatchNorm(Streaming):
    """Batch normalisation over `[b c 1 t]`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def stream(self, x: Tensor, past: list[Tensor], new: list[Tensor], final: bool) -> Tensor:
        return self.norm(x)
