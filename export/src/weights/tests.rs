#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use safetensors::tensor::TensorView;

use super::*;

fn sample() -> NamedArrays {
    let mut arrays = NamedArrays::new();
    arrays
        .insert(
            "head.weight",
            [2, 3],
            vec![0.0, -1.5, 2.0, f32::MIN_POSITIVE, 1e30, -0.0],
        )
        .unwrap();
    arrays.insert("head.bias", [2], vec![1.0, 2.0]).unwrap();
    arrays.insert("scale", [], vec![3.0]).unwrap();
    arrays.insert("none", [0, 4], vec![]).unwrap();
    arrays.metadata.insert("step".into(), "12".into());
    arrays.metadata.insert("format".into(), "pt".into());
    arrays
}

#[test]
fn what_is_saved_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    sample().save(&path).unwrap();
    let loaded = NamedArrays::load(&path).unwrap();
    assert_eq!(loaded, sample());
    assert_eq!(
        loaded.names().collect::<Vec<_>>(),
        ["head.bias", "head.weight", "none", "scale"]
    );
    assert_eq!(loaded.parameters(), 9);
    assert_eq!(loaded.to_bytes(), std::fs::read(&path).unwrap());
}

#[test]
fn the_reference_implementation_reads_what_is_written() {
    let bytes = sample().to_bytes();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let bias = tensors.tensor("head.bias").unwrap();
    assert_eq!(bias.shape(), [2]);
    assert_eq!(bias.data(), [0, 0, 128, 63, 0, 0, 0, 64]);
}

#[test]
fn half_precision_is_widened_exactly() {
    let cases: [(u16, f32); 8] = [
        (0x0000, 0.0),
        (0x8000, -0.0),
        (0x3c00, 1.0),
        (0xc500, -5.0),
        (0x0001, 2f32.powi(-24)),
        (0x83ff, -1023.0 * 2f32.powi(-24)),
        (0x7bff, 65504.0),
        (0x7c00, f32::INFINITY),
    ];
    for (bits, value) in cases {
        assert_eq!(f32_from_f16(bits).to_bits(), value.to_bits(), "{bits:#06x}");
    }
    assert!(f32_from_f16(0x7e00).is_nan());
    assert_eq!(f32_from_bf16(0xc0a0), -5.0);
}

#[test]
fn half_precision_files_are_read() {
    let half = TensorView::new(Dtype::F16, vec![2], &[0x00, 0x3c, 0x00, 0xc5]).unwrap();
    let brain = TensorView::new(Dtype::BF16, vec![1], &[0xa0, 0xc0]).unwrap();
    let bytes = safetensors::serialize([("half", half), ("brain", brain)], None).unwrap();
    let arrays = NamedArrays::from_bytes(&bytes, "test").unwrap();
    assert_eq!(arrays.require("half").unwrap().data, [1.0, -5.0]);
    assert_eq!(arrays.require("brain").unwrap().data, [-5.0]);
}

#[test]
fn wide_numbers_are_rounded() {
    let values: Vec<u8> = [0.1_f64, -1e300].map(f64::to_le_bytes).concat();
    let counts: Vec<u8> = [7_i64, -1, (1 << 24) + 1].map(i64::to_le_bytes).concat();
    let bytes = safetensors::serialize(
        [
            (
                "values",
                TensorView::new(Dtype::F64, vec![2], &values).unwrap(),
            ),
            (
                "counts",
                TensorView::new(Dtype::I64, vec![3], &counts).unwrap(),
            ),
        ],
        None,
    )
    .unwrap();
    let arrays = NamedArrays::from_bytes(&bytes, "test").unwrap();
    assert_eq!(
        arrays.require("values").unwrap().data,
        [0.1, f32::NEG_INFINITY]
    );
    assert_eq!(
        arrays.require("counts").unwrap().data,
        [7.0, -1.0, 16_777_216.0]
    );
}

#[test]
fn errors_name_what_is_wrong() {
    let text = |result: Result<NamedArrays, WeightsError>| result.unwrap_err().to_string();
    assert!(
        text(NamedArrays::load(Path::new("/nowhere/w.safetensors")))
            .contains("/nowhere/w.safetensors")
    );
    assert!(text(NamedArrays::from_bytes(b"", "w")).contains("empty"));
    assert!(
        text(NamedArrays::from_bytes(b"\x89PNG\r\n\x1a\n etc", "w"))
            .contains("not a whole safetensors")
    );
    let whole = sample().to_bytes();
    let cut = &whole[..whole.len() - 1];
    assert!(text(NamedArrays::from_bytes(cut, "w")).contains("not a whole safetensors"));
    let integers = TensorView::new(Dtype::I32, vec![1], &[0; 4]).unwrap();
    let bytes = safetensors::serialize([("labels", integers)], None).unwrap();
    assert!(
        text(NamedArrays::from_bytes(&bytes, "w"))
            .contains("`labels` of w has elements of type I32")
    );
    let error = NamedArrays::new()
        .insert("x", [2, 2], vec![0.0; 3])
        .unwrap_err();
    assert!(error.to_string().contains("[2, 2] cannot have 3 elements"));
    assert!(
        sample()
            .require("tail")
            .unwrap_err()
            .to_string()
            .contains("`tail`")
    );
}

proptest! {
    #[test]
    fn any_bytes_give_an_error_or_arrays(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = NamedArrays::from_bytes(&bytes, "random");
    }

    #[test]
    fn any_array_survives(values in proptest::collection::vec(any::<u32>(), 0..50)) {
        let data: Vec<f32> = values.iter().map(|bits| f32::from_bits(*bits)).collect();
        let mut arrays = NamedArrays::new();
        arrays.insert("a", [data.len()], data).unwrap();
        let back = NamedArrays::from_bytes(&arrays.to_bytes(), "memory").unwrap();
        let bits: Vec<u32> = back.require("a").unwrap().data.iter().map(|v| v.to_bits()).collect();
        prop_assert_eq!(bits, values);
    }
}
