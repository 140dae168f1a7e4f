"""EfficientNet-Lite0, the default image encoder: a small convolutional network trained on ImageNet.

After Tan and Le, "EfficientNet", ICML 2019 (arXiv:1905.11946), without squeeze-and-excitation and with ReLU6. The
weights come as a package; its names are kept, so that `load_state_dict` can be strict. Choices: the padding is
TensorFlow's ("same": the odd pixel goes to the right and below), as in training; batch norms are folded into the
convolutions.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

WEIGHTS = "efficientnet-lite0-57934424.pth"
SIZE = 224
"""Pixels of the side of a picture."""
CHANNELS = 1280
"""Channels of the last feature map, which has 7 × 7 places."""
_BLOCKS = (
    # repeats, kernel, stride, expansion, channels in, channels out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class _Convolution(nn.Conv2d):
    """A convolution without bias that keeps ⌈n / stride⌉ of n pixels."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, C', ⌈H / stride⌉, ⌈W / stride⌉)."""
        if self.stride[0] > 1:
            down, right = (
                max((-(-n // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - n, 0) for n in x.shape[2:]
            )
            x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Expand, filter each channel by itself, project; added to its input where the shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self._expand_conv = _Convolution(channels_in, inner, 1) if expansion > 1 else nn.Identity()
        self._bn0 = _norm(inner) if expansion > 1 else nn.Identity()
        self._depthwise_conv = _Convolution(inner, inner, kernel, stride, groups=inner)
        self._bn1 = _norm(inner)
        self._project_conv = _Convolution(inner, channels_out, 1)
        self._bn2 = _norm(channels_out)
        self.expands = expansion > 1
        self.adds = stride == 1 and channels_in == channels_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        out = self._bn2(self._project_conv(inner))
        return out + x if self.adds else out


class EfficientNetLite0(nn.Module):
    """The network up to its last feature map."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Convolution(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks = []
        for repeats, kernel, stride, expansion, channels_in, channels_out in _BLOCKS:
            blocks.append(_Block(kernel, stride, expansion, channels_in, channels_out))
            blocks += [_Block(kernel, 1, expansion, channels_out, channels_out) for _ in range(repeats - 1)]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _Convolution(320, CHANNELS, 1)
        self._bn1 = _norm(CHANNELS)
        self._fc = nn.Linear(CHANNELS, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures, float (B, 3, SIZE, SIZE), (pixel − 127) / 128, to feature maps (B, CHANNELS, 7, 7) from 0 to 6."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)))

    def classify(self, maps: torch.Tensor) -> torch.Tensor:
        """Feature maps to logits of the 1,000 classes of ImageNet, (B, 1000)."""
        return self._fc(maps.mean((2, 3)))

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype) -> "EfficientNetLite0":
        """The pretrained network, ready to be used.

        Args:
            folder: holds the file WEIGHTS.
            dtype: of the weights, and of the pictures that it takes.

        Raises:
            OSError, RuntimeError, pickle.UnpicklingError: no such file, or other weights.
        """
        network = cls()
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
        network.load_state_dict(weights, strict=True)
        network.eval()
        network._fold()
        return network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _fold(self) -> None:
        pairs: list[tuple[nn.Module, str, str]] = [(self, "_conv_stem", "_bn0"), (self, "_conv_head", "_bn1")]
        names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        pairs += [(block, *pair) for block in self._blocks for pair in names]
        for module, convolution, norm in pairs:
            found = getattr(module, convolution)
            if isinstance(found, nn.Conv2d):
                setattr(module, convolution, fuse_conv_bn_eval(found, getattr(module, norm)))
                setattr(module, norm, nn.Identity())
