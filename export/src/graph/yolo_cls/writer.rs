//! The nodes of the network, from the image to the logits.

use onnx_protobuf::ModelProto;
use onnx_protobuf::tensor_proto::DataType;

use super::{BODY_CHANNELS, STAGES, Stage, YoloClsSpec};
use crate::graph::builder::{Attribute, Builder, Extent, Value, with_batch};
use crate::graph::convolution::{Features, Kernel, convolve, folded};
use crate::graph::{INPUT, InputForm, OUTPUT};
use crate::weights::NamedArrays;

/// Writes the graph. All weights have been checked to be there.
pub(super) struct Writer<'a> {
    pub(super) builder: Builder,
    pub(super) spec: &'a YoloClsSpec,
    pub(super) weights: &'a NamedArrays,
}

impl Writer<'_> {
    pub(super) fn write(mut self, form: InputForm) -> ModelProto {
        let mut x = self.image(form);
        for (number, stage) in STAGES.into_iter().enumerate() {
            let name = format!("model.{number}");
            x = match stage {
                Stage::Halving { .. } => self.convolution(&x, &name, 3, 2),
                Stage::C2f { channels, repeats } => self.c2f(&x, &name, channels, repeats),
            };
        }
        debug_assert_eq!(x.channels, BODY_CHANNELS);
        let head = format!("model.{}", STAGES.len());
        let x = self.convolution(&x, &format!("{head}.conv"), 1, 1);
        let logits = self.head(&x, &head);
        self.builder.finish(&logits)
    }

    /// The normalised image. A convolution that pads with zeros cannot take
    /// the normalisation in, so grey levels are normalised by nodes of their
    /// own, which also replicate them to three channels.
    fn image(&mut self, form: InputForm) -> Features {
        let size = [self.spec.image_height, self.spec.image_width];
        let shape = with_batch(&[3, size[0], size[1]]);
        let value = match form {
            InputForm::Normalised => {
                let extents = [3, size[0], size[1]];
                self.builder.input(INPUT, DataType::FLOAT, &extents)
            }
            InputForm::FoldedGrey { mean, std } => {
                let extents = [1, size[0], size[1]];
                let raw = self.builder.input(INPUT, DataType::UINT8, &extents);
                let to = [("to", Attribute::Int(DataType::FLOAT as i64))];
                let grey = with_batch(&extents);
                let levels = self.builder.node("levels/Cast", "Cast", &[&raw], &to, grey);
                let scale: Vec<f32> = std
                    .map(|std| (1.0 / (255.0 * f64::from(std))) as f32)
                    .into();
                let shift: Vec<f32> = (0..3)
                    .map(|channel| (f64::from(mean[channel]) / f64::from(std[channel])) as f32)
                    .collect();
                let scale = self.builder.floats("levels.scale", &[3, 1, 1], &scale);
                let shift = self.builder.floats("levels.shift", &[3, 1, 1], &shift);
                let inputs = [&levels, &scale];
                let scaled = self
                    .builder
                    .node("levels/Mul", "Mul", &inputs, &[], shape.clone());
                let inputs = [&scaled, &shift];
                self.builder.node("levels/Sub", "Sub", &inputs, &[], shape)
            }
        };
        Features {
            value,
            channels: 3,
            size,
        }
    }

    fn c2f(&mut self, x: &Features, name: &str, channels: usize, repeats: usize) -> Features {
        let half = channels / 2;
        let first = self.convolution(x, &format!("{name}.cv1"), 1, 1);
        let [height, width] = first.size;
        let sizes = self
            .builder
            .integers(&format!("{name}/Split/sizes"), &[half as i64; 2]);
        let names = [format!("{name}/Split/0"), format!("{name}/Split/1")];
        let mut parts = self.builder.node_with_outputs(
            "Split",
            &[&first.value, &sizes],
            &[("axis", Attribute::Int(1))],
            &[&names[0], &names[1]],
            with_batch(&[half, height, width]),
        );
        for bottleneck in 0..repeats {
            let name = format!("{name}.m.{bottleneck}");
            let input = Features {
                value: parts[parts.len() - 1].clone(),
                channels: half,
                size: first.size,
            };
            let hidden = self.convolution(&input, &format!("{name}.cv1"), 3, 1);
            let output = self.convolution(&hidden, &format!("{name}.cv2"), 3, 1);
            let inputs = [&input.value, &output.value];
            let shape = input.value.shape().to_vec();
            let sum = self
                .builder
                .node(&format!("{name}/Add"), "Add", &inputs, &[], shape);
            parts.push(sum);
        }
        let all = half * parts.len();
        let concatenated = self.builder.node(
            &format!("{name}/Concat"),
            "Concat",
            &parts.iter().collect::<Vec<_>>(),
            &[("axis", Attribute::Int(1))],
            with_batch(&[all, height, width]),
        );
        let concatenated = Features {
            value: concatenated,
            channels: all,
            size: first.size,
        };
        self.convolution(&concatenated, &format!("{name}.cv2"), 1, 1)
    }

    /// Convolution, batch norm and SiLU; `kernel` is 1 or 3.
    fn convolution(&mut self, x: &Features, name: &str, kernel: usize, stride: usize) -> Features {
        let folded = folded(self.weights, name);
        let kernel = Kernel {
            side: kernel,
            stride,
            pad: kernel / 2,
        };
        let convolved = convolve(&mut self.builder, x, name, &folded, kernel);
        let shape = convolved.value.shape().to_vec();
        let gate = format!("{name}/Sigmoid");
        let inputs = [&convolved.value];
        let gate = self
            .builder
            .node(&gate, "Sigmoid", &inputs, &[], shape.clone());
        let inputs = [&convolved.value, &gate];
        let product = format!("{name}/Mul");
        Features {
            value: self.builder.node(&product, "Mul", &inputs, &[], shape),
            ..convolved
        }
    }

    fn head(&mut self, x: &Features, name: &str) -> Value {
        let pooled = with_batch(&[x.channels, 1, 1]);
        let pool = format!("{name}/GlobalAveragePool");
        let mean = self
            .builder
            .node(&pool, "GlobalAveragePool", &[&x.value], &[], pooled);
        let flat = vec![Extent::Batch, Extent::Fixed(x.channels)];
        let axis = [("axis", Attribute::Int(1))];
        let flat = self
            .builder
            .node(&format!("{name}/Flatten"), "Flatten", &[&mean], &axis, flat);
        let classes = self.spec.classes;
        let (weight_name, bias_name) = (
            format!("{name}.linear.weight"),
            format!("{name}.linear.bias"),
        );
        let weight = self.data(&weight_name).to_vec();
        let weight = self
            .builder
            .floats(&weight_name, &[classes, x.channels], &weight);
        let bias = self.data(&bias_name).to_vec();
        let bias = self.builder.floats(&bias_name, &[classes], &bias);
        self.builder.node(
            OUTPUT,
            "Gemm",
            &[&flat, &weight, &bias],
            &[("transB", Attribute::Int(1))],
            with_batch(&[classes]),
        )
    }

    fn data(&self, name: &str) -> &[f32] {
        self.weights.get(name).map_or(&[], |array| &array.data)
    }
}
