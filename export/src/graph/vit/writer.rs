//! The nodes of a Vision Transformer, from the image to the logits.

use onnx_protobuf::ModelProto;
use onnx_protobuf::tensor_proto::DataType;

use super::{Pooling, VitSpec};
use crate::graph::builder::{Attribute, Builder, Extent, Value, with_batch};
use crate::graph::fold::fold_grey;
use crate::graph::{INPUT, InputForm, OUTPUT};
use crate::weights::NamedArrays;

/// Writes the graph. All weights have been checked to be there.
pub(super) struct Writer<'a> {
    pub(super) builder: Builder,
    pub(super) spec: &'a VitSpec,
    pub(super) weights: &'a NamedArrays,
}

impl Writer<'_> {
    pub(super) fn write(mut self, form: InputForm) -> ModelProto {
        let spec = self.spec;
        let mut tokens = self.embed(form);
        for block in 0..spec.depth {
            tokens = self.attention(&tokens, block);
            tokens = self.perceptron(&tokens, block);
        }
        let logits = self.head(&tokens);
        self.builder.finish(&logits)
    }

    fn data(&self, name: &str) -> &[f32] {
        self.weights.get(name).map_or(&[], |array| &array.data)
    }

    /// Patch embedding, class token and positions: `[N, 1 + patches, width]`.
    fn embed(&mut self, form: InputForm) -> Value {
        let VitSpec {
            image_height,
            image_width,
            patch,
            width,
            ..
        } = *self.spec;
        let (rows, columns) = (image_height / patch, image_width / patch);
        let (channels, image, weight, bias) = match form {
            InputForm::Normalised => {
                let image =
                    self.builder
                        .input(INPUT, DataType::FLOAT, &[3, image_height, image_width]);
                let weight = self.data("patch_embed.proj.weight").to_vec();
                (
                    3,
                    image,
                    weight,
                    self.data("patch_embed.proj.bias").to_vec(),
                )
            }
            InputForm::FoldedGrey { mean, std } => {
                let raw =
                    self.builder
                        .input(INPUT, DataType::UINT8, &[1, image_height, image_width]);
                let to = [("to", Attribute::Int(DataType::FLOAT as i64))];
                let shape = raw.shape().to_vec();
                let image = self
                    .builder
                    .node("levels/Cast", "Cast", &[&raw], &to, shape);
                let (weight, bias) = fold_grey(
                    self.data("patch_embed.proj.weight"),
                    self.data("patch_embed.proj.bias"),
                    mean,
                    std,
                );
                (1, image, weight, bias)
            }
        };
        let weight = self.builder.floats(
            "patch_embed.proj.weight",
            &[width, channels, patch, patch],
            &weight,
        );
        let bias = self
            .builder
            .floats("patch_embed.proj.bias", &[width], &bias);
        let side = vec![patch as i64, patch as i64];
        let patches = self.builder.node(
            "patch_embed/Conv",
            "Conv",
            &[&image, &weight, &bias],
            &[
                ("kernel_shape", Attribute::Ints(side.clone())),
                ("strides", Attribute::Ints(side)),
            ],
            with_batch(&[width, rows, columns]),
        );
        let count = rows * columns;
        let flat = self.reshape(&patches, "patch_embed/Reshape", &[width, count]);
        let tokens = self.transpose(&flat, "patch_embed/Transpose", &[0, 2, 1]);
        // A zero row in front, to which "positions" adds class token and
        // position: no operator then needs to know the size of the batch.
        let pads = self
            .builder
            .integers("class_token/pads", &[0, 1, 0, 0, 0, 0]);
        let shape = with_batch(&[count + 1, width]);
        let padded = self
            .builder
            .node("class_token/Pad", "Pad", &[&tokens, &pads], &[], shape);
        let mut positions = self.data("pos_embed").to_vec();
        for (position, token) in positions.iter_mut().zip(self.data("cls_token")) {
            *position += token;
        }
        let positions = self
            .builder
            .floats("positions", &[1, count + 1, width], &positions);
        self.binary("Add", &padded, &positions, "positions/Add")
    }

    fn attention(&mut self, tokens: &Value, block: usize) -> Value {
        let VitSpec { width, heads, .. } = *self.spec;
        let count = self.spec.patches() + 1;
        let head_width = width / heads;
        let at = |name: &str| format!("blocks.{block}.{name}");
        let normed = self.layer_norm(tokens, &at("norm1"));
        let qkv = self.linear(&normed, &at("attn.qkv"), 3 * width);
        let sizes = self.builder.integers(&at("attn.split"), &[width as i64; 3]);
        let names = [at("attn.query"), at("attn.key"), at("attn.value")];
        let parts = self.builder.node_with_outputs(
            "Split",
            &[&qkv, &sizes],
            &[("axis", Attribute::Int(-1))],
            &[&names[0], &names[1], &names[2]],
            with_batch(&[count, width]),
        );
        let mut split = |part: &Value, name: &str, order: &[usize]| {
            let per_head = self.reshape(
                part,
                &format!("{name}/Reshape"),
                &[count, heads, head_width],
            );
            self.transpose(&per_head, &format!("{name}/Transpose"), order)
        };
        let query = split(&parts[0], &names[0], &[0, 2, 1, 3]);
        let key = split(&parts[1], &names[1], &[0, 2, 3, 1]);
        let value = split(&parts[2], &names[2], &[0, 2, 1, 3]);
        let scale = self
            .builder
            .floats(&at("attn.scale"), &[], &[(head_width as f32).powf(-0.5)]);
        let scaled = self.binary("Mul", &query, &scale, &at("attn.scale/Mul"));
        let square = with_batch(&[heads, count, count]);
        let scores = self.builder.node(
            &at("attn.scores/MatMul"),
            "MatMul",
            &[&scaled, &key],
            &[],
            square.clone(),
        );
        let last = [("axis", Attribute::Int(-1))];
        let shares = self
            .builder
            .node(&at("attn/Softmax"), "Softmax", &[&scores], &last, square);
        let mixed = self.builder.node(
            &at("attn.mixed/MatMul"),
            "MatMul",
            &[&shares, &value],
            &[],
            with_batch(&[heads, count, head_width]),
        );
        let merged = self.transpose(&mixed, &at("attn.mixed/Transpose"), &[0, 2, 1, 3]);
        let merged = self.reshape(&merged, &at("attn.mixed/Reshape"), &[count, width]);
        let projected = self.linear(&merged, &at("attn.proj"), width);
        let branch = self.layer_scale(projected, &at("ls1"));
        self.binary("Add", tokens, &branch, &at("attn.residual/Add"))
    }

    fn perceptron(&mut self, tokens: &Value, block: usize) -> Value {
        let VitSpec {
            width, mlp_width, ..
        } = *self.spec;
        let at = |name: &str| format!("blocks.{block}.{name}");
        let normed = self.layer_norm(tokens, &at("norm2"));
        let hidden = self.linear(&normed, &at("mlp.fc1"), mlp_width);
        let shape = hidden.shape().to_vec();
        let exact = [("approximate", Attribute::Text("none"))];
        let active = self
            .builder
            .node(&at("mlp/Gelu"), "Gelu", &[&hidden], &exact, shape);
        let output = self.linear(&active, &at("mlp.fc2"), width);
        let branch = self.layer_scale(output, &at("ls2"));
        self.binary("Add", tokens, &branch, &at("mlp.residual/Add"))
    }

    /// LayerNorm works token by token, so the class token is taken before it
    /// rather than after.
    fn head(&mut self, tokens: &Value) -> Value {
        let VitSpec { width, classes, .. } = *self.spec;
        let pooled = with_batch(&[width]);
        let (features, norm) = match self.spec.pooling {
            Pooling::ClassToken => {
                let first = self.builder.scalar("pool/class_token", 0);
                let axis = [("axis", Attribute::Int(1))];
                let inputs = [tokens, &first];
                (
                    self.builder
                        .node("pool/Gather", "Gather", &inputs, &axis, pooled),
                    "norm",
                )
            }
            Pooling::Mean => (self.mean_of_patches(tokens, pooled), "fc_norm"),
        };
        let normed = self.layer_norm(&features, norm);
        let weight = self.data("head.weight").to_vec();
        let weight = self
            .builder
            .floats("head.weight", &[classes, width], &weight);
        let bias = self.data("head.bias").to_vec();
        let bias = self.builder.floats("head.bias", &[classes], &bias);
        self.builder.node(
            OUTPUT,
            "Gemm",
            &[&normed, &weight, &bias],
            &[("transB", Attribute::Int(1))],
            with_batch(&[classes]),
        )
    }

    fn mean_of_patches(&mut self, tokens: &Value, pooled: Vec<Extent>) -> Value {
        let first = self.builder.integers("pool/first", &[1]);
        let end = self.builder.integers("pool/end", &[i64::MAX]);
        let axis = self.builder.integers("pool/axis", &[1]);
        let shape = with_batch(&[self.spec.patches(), self.spec.width]);
        let inputs = [tokens, &first, &end, &axis];
        let patches = self
            .builder
            .node("pool/Slice", "Slice", &inputs, &[], shape);
        let keep = [("keepdims", Attribute::Int(0))];
        let inputs = [&patches, &axis];
        self.builder
            .node("pool/ReduceMean", "ReduceMean", &inputs, &keep, pooled)
    }

    fn layer_norm(&mut self, value: &Value, name: &str) -> Value {
        let width = self.spec.width;
        let gain = self.data(&format!("{name}.weight")).to_vec();
        let gain = self
            .builder
            .floats(&format!("{name}.weight"), &[width], &gain);
        let bias = self.data(&format!("{name}.bias")).to_vec();
        let bias = self
            .builder
            .floats(&format!("{name}.bias"), &[width], &bias);
        self.builder.node(
            &format!("{name}/LayerNormalization"),
            "LayerNormalization",
            &[value, &gain, &bias],
            &[
                ("axis", Attribute::Int(-1)),
                ("epsilon", Attribute::Float(self.spec.layer_norm_epsilon)),
            ],
            value.shape().to_vec(),
        )
    }

    /// `x Wᵀ + b` on the last dimension. The weight is stored transposed, as
    /// `MatMul` wants it.
    fn linear(&mut self, value: &Value, name: &str, outputs: usize) -> Value {
        let weight_name = format!("{name}.weight");
        let weight = self.data(&weight_name);
        let inputs = weight.len() / outputs;
        let mut transposed = vec![0.0; weight.len()];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            for (input, &element) in row.iter().enumerate() {
                transposed[input * outputs + output] = element;
            }
        }
        let weight = self
            .builder
            .floats(&weight_name, &[inputs, outputs], &transposed);
        let mut shape = value.shape().to_vec();
        shape.pop();
        shape.push(Extent::Fixed(outputs));
        let product = self.builder.node(
            &format!("{name}/MatMul"),
            "MatMul",
            &[value, &weight],
            &[],
            shape,
        );
        let bias_name = format!("{name}.bias");
        let bias = self.data(&bias_name).to_vec();
        if bias.is_empty() {
            return product;
        }
        let bias = self.builder.floats(&bias_name, &[outputs], &bias);
        self.binary("Add", &product, &bias, &format!("{name}/Add"))
    }

    fn layer_scale(&mut self, value: Value, name: &str) -> Value {
        if !self.spec.layer_scale {
            return value;
        }
        let gamma_name = format!("{name}.gamma");
        let gamma = self.data(&gamma_name).to_vec();
        let gamma = self.builder.floats(&gamma_name, &[self.spec.width], &gamma);
        self.binary("Mul", &value, &gamma, &format!("{name}/Mul"))
    }

    /// An element-wise operator whose second operand is broadcast.
    fn binary(&mut self, operator: &str, left: &Value, right: &Value, name: &str) -> Value {
        let shape = left.shape().to_vec();
        self.builder
            .node(name, operator, &[left, right], &[], shape)
    }

    /// Reshapes all but the batch.
    fn reshape(&mut self, value: &Value, name: &str, extents: &[usize]) -> Value {
        let mut target = vec![0];
        target.extend(extents.iter().map(|&extent| extent as i64));
        let target = self.builder.integers(&format!("{name}/shape"), &target);
        self.builder
            .node(name, "Reshape", &[value, &target], &[], with_batch(extents))
    }

    fn transpose(&mut self, value: &Value, name: &str, order: &[usize]) -> Value {
        let shape = order.iter().map(|&axis| value.shape()[axis]).collect();
        let order = order.iter().map(|&axis| axis as i64).collect();
        let attributes = [("perm", Attribute::Ints(order))];
        self.builder
            .node(name, "Transpose", &[value], &attributes, shape)
    }
}
