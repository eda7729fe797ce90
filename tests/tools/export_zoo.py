#!/usr/bin/python3
"""Exports a zoo of small torchvision networks to ONNX, with PyTorch's float64 answers beside them, for zoo_test.

    export_zoo.py OUTDIR [--models alexnet,resnet18]

Writes for every model NAME.onnx, NAME.input.npy (float32), NAME.output.npy (the file's output) and NAME.gradient.npy
(input gradient of sum_n S[n, n + 3], S the logits, summed over positions where they have any; both computed in float64
on the float32 weights), and one line "NAME TOLERANCE BATCH" in index.txt: the relative error that float64 arithmetic
may show against the reference, and "batch" or "single" for whether the file takes more than one picture at a time.

Weights are random with a fixed seed. BatchNorm statistics are first measured, so that signals neither die nor explode,
and then disturbed together with scale and shift, so that a mistake in folding any of them changes the answer.
"""

import argparse
import os
import sys
import time
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
import torch
from torch import nn
import torch.nn.functional as F
import torchvision

CLASSES = 50
BATCH = 2
FIRST_TARGET = 3
# Float64 on the same weights differs only through attributes that the format stores as float32, such as epsilon.
TOLERANCE = 1e-6
# One of them is HardSigmoid's 1/6, 3e-8 off at each of up to 28 layers.
TOLERANCE_HARD_SIGMOID = 2e-5
# When the exporter itself folds BatchNorm, the folded weights are rounded to float32 and the reference is not.
TOLERANCE_FOLDED = 2e-5


class SegmentationLogits(nn.Module):
    """The one tensor of torchvision's dictionary of outputs."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x)["out"]


def shrink_classifier(model, in_features):
    """AlexNet and VGG without their 4096-wide layers and the pooling to a fixed grid that small inputs do not fill."""
    model.avgpool = nn.Identity()
    model.classifier = nn.Sequential(nn.Dropout(), nn.Linear(in_features, 512), nn.ReLU(inplace=True), nn.Dropout(),
                                     nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Linear(512, CLASSES))
    return model


def torchvision_model(name, **options):
    return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **options)


def small_vit():
    return torchvision.models.VisionTransformer(image_size=64, patch_size=16, num_layers=4, num_heads=4, hidden_dim=96,
                                                mlp_dim=192, num_classes=CLASSES)


def deeplab():
    return SegmentationLogits(torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=21))


def fcn():
    """FCN as in torchvision, on the smallest ResNet instead of ResNet-50."""
    backbone = torchvision.models._utils.IntermediateLayerGetter(torchvision_model("resnet18"), {"layer4": "out"})
    head = torchvision.models.segmentation.fcn.FCNHead(512, 21)
    return SegmentationLogits(torchvision.models.segmentation.FCN(backbone, head))


# name: (constructor, input side, opset, whether the exporter folds BatchNorm)
TORCH_MODELS = {
    "alexnet": (lambda: shrink_classifier(torchvision_model("alexnet"), 256 * 2 * 2), 96, 11, False),
    "vgg11": (lambda: shrink_classifier(torchvision_model("vgg11"), 512 * 2 * 2), 64, 13, False),
    "vgg11_bn": (lambda: shrink_classifier(torchvision_model("vgg11_bn"), 512 * 2 * 2), 64, 12, False),
    "resnet18": (lambda: torchvision_model("resnet18"), 64, 11, False),
    "resnet18_folded": (lambda: torchvision_model("resnet18"), 64, 13, True),
    "resnet50": (lambda: torchvision_model("resnet50"), 64, 13, False),
    "densenet121": (lambda: torchvision_model("densenet121"), 64, 13, False),
    "googlenet": (lambda: torchvision_model("googlenet", aux_logits=False, init_weights=False), 64, 13, False),
    "inception_v3": (lambda: torchvision_model("inception_v3", aux_logits=False, init_weights=False), 128, 13, False),
    "squeezenet1_1": (lambda: torchvision_model("squeezenet1_1"), 96, 11, False),
    "mobilenet_v2": (lambda: torchvision_model("mobilenet_v2"), 64, 13, False),
    "mobilenet_v3_small": (lambda: torchvision_model("mobilenet_v3_small"), 64, 13, False),
    "mobilenet_v3_large": (lambda: torchvision_model("mobilenet_v3_large"), 64, 17, False),
    "shufflenet_v2": (lambda: torchvision_model("shufflenet_v2_x1_0"), 64, 13, False),
    "efficientnet_b0": (lambda: torchvision_model("efficientnet_b0"), 64, 13, False),
    "convnext_tiny": (lambda: torchvision_model("convnext_tiny"), 64, 13, False),
    "convnext_tiny_17": (lambda: torchvision_model("convnext_tiny"), 64, 17, False),
    "regnet_y_400mf": (lambda: torchvision_model("regnet_y_400mf"), 64, 16, False),
    "mnasnet": (lambda: torchvision_model("mnasnet0_5"), 64, 11, False),
    "fcn_resnet18": (fcn, 64, 11, False),
    "deeplab_mobilenet_v3": (deeplab, 96, 13, False),
    "vit": (small_vit, 64, 17, False),
}


def randomize(model, side):
    generator = torch.Generator().manual_seed(1)

    def normal(shape, std):
        return torch.randn(shape, generator=generator) * std

    def uniform(shape, low, high):
        return low + (high - low) * torch.rand(shape, generator=generator)

    norms = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                module.weight.copy_(normal(module.weight.shape, (2.0 / fan_in) ** 0.5))
                if module.bias is not None:
                    module.bias.copy_(normal(module.bias.shape, 0.05))
            elif isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                module.weight.copy_(uniform(module.weight.shape, 0.5, 1.5))
                module.bias.copy_(normal(module.bias.shape, 0.2))
                if isinstance(module, nn.BatchNorm2d):
                    norms.append(module)
            elif isinstance(module, nn.MultiheadAttention):
                module.in_proj_bias.copy_(normal(module.in_proj_bias.shape, 0.1))
        for name, parameter in model.named_parameters():
            if name.endswith("layer_scale"):  # ConvNeXt starts at 1e-6, where no block would matter
                parameter.copy_(uniform(parameter.shape, 0.1, 0.5))
            elif name.endswith("class_token"):
                parameter.copy_(normal(parameter.shape, 0.5))

        model.eval()
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            model(torch.randn((8, 3, side, side), generator=generator))
        for norm in norms:
            norm.eval()
            # Channels that happen to be almost constant would be amplified without bound by whoever follows.
            norm.running_var.clamp_(min=0.5 * norm.running_var.mean().item())
            disturbed_mean = norm.running_mean + normal(norm.running_mean.shape, 0.1) * norm.running_var.sqrt()
            disturbed_var = norm.running_var * uniform(norm.running_var.shape, 0.5, 1.5)
            # Scale and shift make up for it: four numbers per channel that only together leave the signal as it was.
            norm.bias.add_(norm.weight * (disturbed_mean - norm.running_mean) / norm.running_var.sqrt())
            norm.weight.mul_((disturbed_var / norm.running_var).sqrt())
            norm.running_mean.copy_(disturbed_mean)
            norm.running_var.copy_(disturbed_var)
    return model


def target_sum(logits):
    return sum(logits[n, FIRST_TARGET + n].sum() for n in range(logits.shape[0]))


def write_references(folder, name, x, output, logits):
    """`x` is the float64 leaf that `output` and `logits` were computed from."""
    gradient, = torch.autograd.grad(target_sum(logits), x)
    values = {"input": x.detach().float(), "output": output.detach(), "gradient": gradient}
    for part, value in values.items():
        if not torch.isfinite(value).all() or value.abs().max() == 0:
            raise RuntimeError(f"{name}: {part} is not a useful reference")
        np.save(os.path.join(folder, f"{name}.{part}.npy"), value.float().numpy() if part == "input" else value.numpy())


def export_torch_model(folder, name):
    make, side, opset, folded = TORCH_MODELS[name]
    torch.manual_seed(0)
    model = randomize(make(), side)
    x = torch.randn((BATCH, 3, side, side), generator=torch.Generator().manual_seed(2))
    path = os.path.join(folder, f"{name}.onnx")
    mode = torch.onnx.TrainingMode
    torch.onnx.export(model, x, path, opset_version=opset, input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
                      training=mode.EVAL if folded else mode.PRESERVE)
    onnx.checker.check_model(path)
    operators = {node.op_type for node in onnx.load(path).graph.node}

    model.double()
    leaf = x.double().requires_grad_()
    logits = model(leaf)
    write_references(folder, name, leaf, logits, logits)
    if folded:
        return TOLERANCE_FOLDED, "batch"
    return TOLERANCE_HARD_SIGMOID if "HardSigmoid" in operators else TOLERANCE, "batch"


class HandMade:
    """Nodes and weights written with onnx.helper, in the ways other exporters write them."""

    def __init__(self, seed):
        self.random = np.random.RandomState(seed)
        self.nodes = []
        self.initializers = []

    def weight(self, name, shape, low, high):
        value = self.random.uniform(low, high, shape).astype(np.float32)
        return self.constant(name, value)

    def constant(self, name, value):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return torch.from_numpy(np.array(value))

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def save(self, path, name, inputs, outputs, opset):
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="export_zoo")
        model.ir_version = 7
        onnx.checker.check_model(model)
        onnx.save(model, path)


def same_pads(size, kernel, stride):
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def pad_same(x, kernel, stride, value=0.0):
    top, bottom = same_pads(x.shape[2], kernel, stride)
    left, right = same_pads(x.shape[3], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


def export_keras_like(folder, name):
    """NHWC input, SAME padding, ReLU6 as Clip, scale and shift on the last axis, MatMul + Add, Softmax."""
    h = HandMade(5)
    stem = h.weight("stem/kernel", (16, 3, 3, 3), -0.3, 0.3)
    gamma = h.weight("bn/gamma", (16,), 0.5, 1.5)
    beta = h.weight("bn/beta", (16,), -0.3, 0.3)
    mean = h.weight("bn/mean", (16,), -0.1, 0.1)
    var = h.weight("bn/var", (16,), 0.5, 1.5)
    depthwise = h.weight("depthwise/kernel", (16, 1, 5, 5), -0.3, 0.3)
    scale = h.weight("scale", (16,), 0.5, 1.5)
    shift = h.weight("shift", (16,), -0.2, 0.2)
    dense = h.weight("dense/kernel", (32, CLASSES), -0.5, 0.5)
    bias = h.weight("dense/bias", (CLASSES,), -0.1, 0.1)
    h.constant("zero", np.array(0, np.float32))
    h.constant("six", np.array(6, np.float32))
    h.constant("spatial", np.array([1, 2], np.int64))
    h.node("Transpose", ["image"], "to_nchw", perm=[0, 3, 1, 2])
    h.node("Conv", ["to_nchw", "stem/kernel"], "stem", strides=[2, 2], auto_pad="SAME_UPPER", kernel_shape=[3, 3])
    h.node("BatchNormalization", ["stem", "bn/gamma", "bn/beta", "bn/mean", "bn/var"], "bn", epsilon=0.001)
    h.node("Clip", ["bn", "zero", "six"], "relu6")
    h.node("Conv", ["relu6", "depthwise/kernel"], "depthwise", strides=[2, 2], auto_pad="SAME_UPPER", group=16,
           kernel_shape=[5, 5])
    h.node("Transpose", ["depthwise"], "to_nhwc", perm=[0, 2, 3, 1])
    h.node("Mul", ["to_nhwc", "scale"], "scaled")
    h.node("Add", ["scaled", "shift"], "shifted")
    h.node("Relu", ["shifted"], "relu")
    h.node("Transpose", ["relu"], "to_nchw_1", perm=[0, 3, 1, 2])
    h.node("MaxPool", ["to_nchw_1"], "max", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    h.node("AveragePool", ["to_nchw_1"], "average", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    h.node("Transpose", ["max"], "max_nhwc", perm=[0, 2, 3, 1])
    h.node("Transpose", ["average"], "average_nhwc", perm=[0, 2, 3, 1])
    h.node("Concat", ["max_nhwc", "average_nhwc"], "concat", axis=-1)
    h.node("ReduceMean", ["concat"], "pooled", axes=[1, 2], keepdims=1)
    h.node("Squeeze", ["pooled", "spatial"], "squeezed")
    h.node("MatMul", ["squeezed", "dense/kernel"], "matmul")
    h.node("Add", ["matmul", "dense/bias"], "dense")
    h.node("Softmax", ["dense"], "probabilities", axis=-1)
    side = 32
    h.save(os.path.join(folder, f"{name}.onnx"), name,
           [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", side, side, 3])],
           [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", CLASSES])], 13)

    x = torch.from_numpy(h.random.uniform(-1, 1, (BATCH, side, side, 3)).astype(np.float32)).double().requires_grad_()
    y = F.conv2d(pad_same(x.permute(0, 3, 1, 2), 3, 2), stem.double(), stride=2)
    epsilon = float(np.float32(0.001))
    y = F.batch_norm(y, mean.double(), var.double(), gamma.double(), beta.double(), eps=epsilon).clamp(0, 6)
    y = F.conv2d(pad_same(y, 5, 2), depthwise.double(), stride=2, groups=16)
    y = F.relu(y * scale.double().view(1, -1, 1, 1) + shift.double().view(1, -1, 1, 1))
    largest = F.max_pool2d(pad_same(y, 3, 2, -np.inf), 3, 2)
    # Keras leaves the padding out of the mean, as count_include_pad = 0 says.
    inside = F.avg_pool2d(pad_same(torch.ones_like(y), 3, 2), 3, 2)
    average = F.avg_pool2d(pad_same(y, 3, 2), 3, 2) / inside
    logits = torch.cat([largest, average], 1).mean((2, 3)) @ dense.double() + bias.double()
    write_references(folder, name, x, logits.softmax(-1), logits)
    return TOLERANCE, "batch"


def export_single_picture(folder, name):
    """A file made for a batch of one: it flattens with Reshape(1, -1), which would run two pictures into one row."""
    h = HandMade(6)
    kernel = h.weight("kernel", (8, 3, 3, 3), -0.4, 0.4)
    bias = h.weight("bias", (8,), -0.2, 0.2)
    dense = h.weight("dense", (CLASSES, 8 * 8 * 8), -0.2, 0.2)
    dense_bias = h.weight("dense_bias", (CLASSES,), -0.1, 0.1)
    h.constant("flat", np.array([1, -1], np.int64))
    h.node("Conv", ["image", "kernel", "bias"], "conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    h.node("Relu", ["conv"], "relu")
    h.node("MaxPool", ["relu"], "pool", kernel_shape=[2, 2], strides=[2, 2])
    h.node("Reshape", ["pool", "flat"], "row")
    h.node("Gemm", ["row", "dense", "dense_bias"], "logits", transB=1)
    h.save(os.path.join(folder, f"{name}.onnx"), name,
           [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 16, 16])],
           [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])], 11)

    x = torch.from_numpy(h.random.uniform(-1, 1, (BATCH, 3, 16, 16)).astype(np.float32)).double().requires_grad_()
    y = F.max_pool2d(F.relu(F.conv2d(x, kernel.double(), bias.double(), padding=1)), 2)
    logits = F.linear(y.flatten(1), dense.double(), dense_bias.double())
    write_references(folder, name, x, logits, logits)
    return TOLERANCE, "single"


HAND_MADE = {"keras_like": export_keras_like, "single_picture": export_single_picture}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="OUTDIR")
    parser.add_argument("--models", default="", help="comma-separated names; default: all")
    arguments = parser.parse_args()
    known = list(TORCH_MODELS) + list(HAND_MADE)
    names = arguments.models.split(",") if arguments.models else known
    for name in names:
        if name not in known:
            parser.error(f"no model '{name}'; there are {', '.join(known)}")

    # The exporter warns about constants in traced shapes of every torchvision model; none of them matters here.
    warnings.filterwarnings("ignore")
    os.makedirs(arguments.folder, exist_ok=True)
    lines = []
    for name in names:
        start = time.monotonic()
        if name in HAND_MADE:
            tolerance, batch = HAND_MADE[name](arguments.folder, name)
        else:
            tolerance, batch = export_torch_model(arguments.folder, name)
        lines.append(f"{name} {tolerance:g} {batch}\n")
        print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    # Written last: a folder with an index is complete.
    with open(os.path.join(arguments.folder, "index.txt"), "w", encoding="utf-8") as index:
        index.writelines(lines)


if __name__ == "__main__":
    main()
