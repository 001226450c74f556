//! The nodes of the network, from the image to the logits.

use onnx_protobuf::ModelProto;
use onnx_protobuf::tensor_proto::DataType;

use super::{ScreenSpec, convolution_name};
use crate::graph::builder::{Attribute, Builder, Extent, Value, with_batch};
use crate::graph::convolution::{Features, Folded, Kernel, convolve, folded};
use crate::graph::fold::fold_grey;
use crate::graph::{INPUT, InputForm, OUTPUT};
use crate::weights::NamedArrays;

/// Writes the graph. All weights have been checked to be there.
pub(super) struct Writer<'a> {
    pub(super) builder: Builder,
    pub(super) spec: &'a ScreenSpec,
    pub(super) weights: &'a NamedArrays,
}

impl Writer<'_> {
    pub(super) fn write(mut self, form: InputForm) -> ModelProto {
        let mut x = self.stem(form);
        let kernel = Kernel {
            side: 3,
            stride: 2,
            pad: 1,
        };
        for layer in 1..self.spec.widths.len() {
            let name = convolution_name(layer);
            let folded = folded(self.weights, &name);
            x = self.rectified(&x, &name, &folded, kernel);
        }
        let logits = self.head(&x);
        self.builder.finish(&logits)
    }

    /// The stem pads nothing, so that it can take the normalisation of grey
    /// levels in.
    fn stem(&mut self, form: InputForm) -> Features {
        let name = convolution_name(0);
        let size = [self.spec.image_height, self.spec.image_width];
        let mut stem = folded(self.weights, &name);
        let image = match form {
            InputForm::Normalised => Features {
                value: self
                    .builder
                    .input(INPUT, DataType::FLOAT, &[3, size[0], size[1]]),
                channels: 3,
                size,
            },
            InputForm::FoldedGrey { mean, std } => {
                let extents = [1, size[0], size[1]];
                let raw = self.builder.input(INPUT, DataType::UINT8, &extents);
                let to = [("to", Attribute::Int(DataType::FLOAT as i64))];
                let shape = raw.shape().to_vec();
                let (weight, bias) = fold_grey(&stem.weight, &stem.bias, mean, std);
                stem = Folded { weight, bias };
                Features {
                    value: self
                        .builder
                        .node("levels/Cast", "Cast", &[&raw], &to, shape),
                    channels: 1,
                    size,
                }
            }
        };
        let kernel = Kernel {
            side: self.spec.stem,
            stride: self.spec.stem,
            pad: 0,
        };
        self.rectified(&image, &name, &stem, kernel)
    }

    /// Convolution and ReLU.
    fn rectified(&mut self, x: &Features, name: &str, folded: &Folded, kernel: Kernel) -> Features {
        let convolved = convolve(&mut self.builder, x, name, folded, kernel);
        let shape = convolved.value.shape().to_vec();
        let inputs = [&convolved.value];
        let relu = format!("{name}/Relu");
        Features {
            value: self.builder.node(&relu, "Relu", &inputs, &[], shape),
            ..convolved
        }
    }

    fn head(&mut self, x: &Features) -> Value {
        let pooled = with_batch(&[x.channels, 1, 1]);
        let pools = ["GlobalMaxPool", "GlobalAveragePool"].map(|operator| {
            let name = format!("head/{operator}");
            self.builder
                .node(&name, operator, &[&x.value], &[], pooled.clone())
        });
        let width = 2 * x.channels;
        let axis = [("axis", Attribute::Int(1))];
        let inputs = [&pools[0], &pools[1]];
        let both = with_batch(&[width, 1, 1]);
        let both = self
            .builder
            .node("head/Concat", "Concat", &inputs, &axis, both);
        let flat = vec![Extent::Batch, Extent::Fixed(width)];
        let flat = self
            .builder
            .node("head/Flatten", "Flatten", &[&both], &axis, flat);
        let classes = self.spec.classes;
        let data = |name: &str| {
            let array = self.weights.get(name);
            array.map_or(Vec::new(), |array| array.data.clone())
        };
        let (weight, bias) = (data("head.weight"), data("head.bias"));
        let weight = self
            .builder
            .floats("head.weight", &[classes, width], &weight);
        let bias = self.builder.floats("head.bias", &[classes], &bias);
        self.builder.node(
            OUTPUT,
            "Gemm",
            &[&flat, &weight, &bias],
            &[("transB", Attribute::Int(1))],
            with_batch(&[classes]),
        )
    }
}
