"""Golden values of weight distillation's generator: the student's weights, gradients of the generator's parameters, losses of ten steps.

    python scripts/oracles/weight_generator.py    writes crates/kd-translation/tests/golden/weight_generator.safetensors

The formulas are written out as the paper and its released program state them, on the teacher's weights stacked to [out, in, K], one product
after the other; networks, batches, loss and optimiser are those of `transformer_trajectory.py`. All is float64.

released:  encoder          S = W * tanh(theta) + B
           decoder          S = W * tanh(theta x_out W_O x_layer M x_in W_I x_layer w) + B, each layer with maps of its own
paper:     both halves      S = W * tanh(theta x_in W_I x_out W_O x_layer W_L) + B, the maps shared by the layers of a class
tables:    same width       W * tanh(E) + B, the output projection copied
           narrower         W * tanh(E P) + B, the output projection E P'

Parameters have the names and the layout of `kd_translation::generated_student`: maps are stored transposed, [to, from].
"""

import pathlib

import torch

from cifar_networks import formula, noise
from transformer_trajectory import Shape, shapes, trajectory, write

TEACHER = Shape(19, 23, (2, 16, 24, 4), (5, 16, 24, 4))
PRE_NORM_TEACHER = Shape(19, 23, (2, 16, 24, 4), (5, 16, 24, 4), pre_norm=True)
TINY, SMALL = (1, 8, 12, 4), (2, 16, 24, 4)
# Teacher, the student's decoder, form. Two student layers of five teacher layers: the fifth is left over.
CASES = {
    "released-tiny": (TEACHER, TINY, "released"),
    "released-small": (PRE_NORM_TEACHER, SMALL, "released"),
    "paper-tiny": (TEACHER, TINY, "paper"),
    "paper-small": (TEACHER, SMALL, "paper"),
}


def start(name, shape):
    """The value of a generator's parameter, in float64."""
    u = noise(shape, name)
    kind = name.rsplit(".", 1)[-1]
    if kind == "scale":
        return 1 + 0.3 * u
    if kind == "shift":
        return 0.1 * u
    if kind == "layers":
        return 1 / shape[1] + 0.3 * u
    return formula(name, shape)


class Generator:
    """The student's weights from the teacher's; parameters are made when they are first asked for."""

    def __init__(self, teacher_shape, student_shape, teacher, form):
        self.shapes, self.student, self.of, self.teacher, self.form = shapes(student_shape), student_shape, teacher_shape, teacher, form
        self.leaves = {}

    def leaf(self, name, shape):
        if name not in self.leaves:
            self.leaves[name] = start(name, shape).float().double().requires_grad_()
        assert self.leaves[name].shape == shape
        return self.leaves[name]

    def bent(self, name, z):
        own = f"generator.{name}"
        return self.leaf(f"{own}.scale", z.shape) * torch.tanh(z) + self.leaf(f"{own}.shift", z.shape)

    def table(self, name):
        e, (_, width) = self.teacher[name], self.shapes[name]
        p = None if e.shape[1] == width else self.leaf(f"generator.{name}.input", (width, e.shape[1])).T
        if name == "decoder.output_projection.weight":
            return e if p is None else e @ p
        return self.bent(name, e if p is None else e @ p)

    def released(self, name, theta):
        shape, k, own = self.shapes[name], theta.shape[-1], f"generator.{name}"
        z = torch.tensordot(theta, self.leaf(f"{own}.output", (shape[0], theta.shape[0])).T, ([0], [0]))  # [in,] K, out
        z = torch.tensordot(z, self.leaf(f"{own}.mix", (k, k)), ([-2], [0]))  # [in,] out, K
        if len(shape) == 2:
            z = torch.tensordot(z, self.leaf(f"{own}.input", (shape[1], theta.shape[1])).T, ([0], [0])).transpose(1, 2)  # out, in, K
        return self.bent(name, z @ self.leaf(f"{own}.layers", (1, k))[0])

    def paper(self, name, theta):
        half, _, _, rest = name.split(".", 3)
        shape, k, shared = self.shapes[name], theta.shape[-1], f"generator.{half}.{rest}"
        w_o = self.leaf(f"{shared}.output", (shape[0], theta.shape[0])).T
        w_l = self.leaf(f"{shared}.layers", (1, k)).T
        if len(shape) == 2:
            w_i = self.leaf(f"{shared}.input", (shape[1], theta.shape[1])).T
            return self.bent(name, torch.einsum("oik,ij,op,kl->pj", theta, w_i, w_o, w_l))
        return self.bent(name, torch.einsum("ok,op,kl->p", theta, w_o, w_l))

    def weight(self, name):
        if name.startswith(("encoder.layer_norm", "decoder.layer_norm")):
            return self.leaf(name, self.shapes[name])
        if "layers" not in name:
            return self.table(name)
        half, _, layer, rest = name.split(".", 3)
        (deep, *_), (shallow, *_) = (getattr(s, half) for s in (self.of, self.student))
        each = int(deep / shallow)
        subset = range(each * int(layer), each * (int(layer) + 1))
        theta = torch.stack([self.teacher[f"{half}.layers.{i}.{rest}"] for i in subset], -1)
        if self.form == "paper":
            return self.paper(name, theta)
        return self.bent(name, theta[..., 0]) if half == "encoder" else self.released(name, theta)

    def weights(self):
        return {name: self.weight(name) for name in self.shapes}


def main():
    golden = {}
    for case, (teacher_shape, decoder, form) in CASES.items():
        teacher = {name: formula(f"teacher.{name}", shape).float().double() for name, shape in shapes(teacher_shape).items()}
        student = Shape(teacher_shape.source_vocabulary, teacher_shape.target_vocabulary, teacher_shape.encoder, decoder, teacher_shape.pre_norm)
        generator = Generator(teacher_shape, student, teacher, form)
        made = {f"weights/{name}": weight.detach().clone() for name, weight in generator.weights().items()}
        found = trajectory(student, generator.leaves, generator.weights)
        print(case, len(generator.leaves), found["losses"].tolist())
        golden |= {f"{case}/{name}": tensor for name, tensor in (made | found).items()}
    write(pathlib.Path(__file__).parents[2] / "crates/kd-translation/tests/golden/weight_generator.safetensors", golden)


if __name__ == "__main__":
    main()
