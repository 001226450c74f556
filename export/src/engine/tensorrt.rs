//! How TensorRT builds an engine from a model, and keeps it.

use std::path::{Path, PathBuf};

use crate::model_file::ModelFile;

/// What is asked of TensorRT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorRtOptions {
    /// Whether it may compute in half precision.
    pub half_precision: bool,
    /// Folder of the engines that it builds; `None`: one in the user's cache.
    pub cache: Option<PathBuf>,
    /// Most tiles in one run; `None`: not known, and an engine is built again when
    /// there are more than ever before.
    pub largest_batch: Option<usize>,
}

impl TensorRtOptions {
    /// The folder of the engines; `None` where there is none.
    pub fn folder(&self) -> Option<PathBuf> {
        let own = || Some(dirs::cache_dir()?.join("millsight").join("tensorrt"));
        self.cache.clone().or_else(own)
    }

    /// The options of ONNX Runtime's provider, by name
    /// (`onnxruntime_providers_options`), for a model whose engines are kept in
    /// `folder`.
    pub fn of(&self, model: &ModelFile, folder: Option<&Path>) -> Vec<(&'static str, String)> {
        let yes = || "1".to_owned();
        let mut options = Vec::new();
        if let Some(folder) = folder {
            let folder = folder.display().to_string();
            options.extend([
                ("trt_engine_cache_enable", yes()),
                ("trt_engine_cache_path", folder.clone()),
                // An engine fits one model only, whatever its nodes are called.
                ("trt_engine_cache_prefix", model.sha256[..16].to_owned()),
                ("trt_timing_cache_enable", yes()),
                ("trt_timing_cache_path", folder),
            ]);
        }
        if self.half_precision {
            // Layer norms overflow in half precision.
            options.push(("trt_fp16_enable", yes()));
            options.push(("trt_layer_norm_fp32_fallback", yes()));
        }
        if model.card.is_quantized() {
            options.push(("trt_int8_enable", yes()));
        }
        if let (Some(most), None) = (self.largest_batch, model.fixed_batch) {
            let input = &model.card.input;
            let tiles = |tiles: usize| {
                let (name, channels) = (&input.name, input.channels);
                format!("{name}:{tiles}x{channels}x{}x{}", input.height, input.width)
            };
            options.extend([
                ("trt_profile_min_shapes", tiles(1)),
                ("trt_profile_opt_shapes", tiles(most)),
                ("trt_profile_max_shapes", tiles(most)),
            ]);
        }
        options
    }
}
