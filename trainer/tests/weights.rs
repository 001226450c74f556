//! Files of weights in the layouts of other programs (`weights/`, made by
//! `make_weights.py`), and files that are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use millsight_export::graph::{Pooling, VitSpec};
use millsight_export::weights::NamedArrays;
use millsight_trainer::model::initial;
use millsight_trainer::model::presets::Preset;
use millsight_trainer::weights::backbone::Backbone;
use millsight_trainer::weights::file::WeightsFile;
use millsight_trainer::weights::initialise::fit;
use millsight_trainer::weights::layouts::Layout;
use millsight_trainer::weights::positions::Convention;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/weights")
        .join(name)
}

/// Opens a file whose arrays must be those of `expected.safetensors` that
/// `spec` names.
fn open(name: &str, spec: &VitSpec) -> Backbone {
    let backbone = Backbone::open(&file(name)).unwrap();
    let expected = NamedArrays::load(&file("expected.safetensors")).unwrap();
    let mut parameters = spec.parameters();
    if backbone.sizes.classes.is_none() {
        parameters.retain(|(name, _)| !name.starts_with("head."));
    }
    let mut names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(backbone.weights.names().collect::<Vec<_>>(), names);
    for name in names {
        assert_eq!(backbone.weights.get(name), expected.get(name), "{name}");
    }
    let own = backbone.network(Some(2), spec.classes).unwrap();
    assert_eq!(
        VitSpec {
            image_height: 8,
            image_width: 8,
            ..own
        },
        *spec
    );
    backbone
}

fn plain() -> VitSpec {
    VitSpec {
        image_height: 8,
        image_width: 8,
        patch: 2,
        width: 8,
        depth: 2,
        heads: 2,
        mlp_width: 16,
        ..Preset::Tiny.spec(3)
    }
}

fn scaled() -> VitSpec {
    VitSpec {
        layer_scale: true,
        ..plain()
    }
}

#[test]
fn a_training_checkpoint_of_mae_gives_its_encoder() {
    let backbone = open("mae_pretraining.pth", &plain());
    assert_eq!(backbone.layout, Layout::Mae);
    assert_eq!(backbone.layout.convention(), Convention::Mae);
    assert_eq!(backbone.prefix, "model.");
    assert_eq!(
        backbone.not_needed,
        [
            "model.decoder_blocks.0.norm1.weight",
            "model.decoder_embed.bias",
            "model.decoder_embed.weight",
            "model.decoder_norm.weight",
            "model.decoder_pos_embed",
            "model.decoder_pred.weight",
            "model.mask_token",
            "optimizer.state.0.exp_avg",
            "optimizer.state.0.exp_avg_sq",
            "optimizer.state.0.step",
        ]
    );
    assert!(backbone.unknown.is_empty());
}

#[test]
fn a_classifier_that_mae_fine_tuned_keeps_head_and_pooling() {
    let pooled = VitSpec {
        pooling: Pooling::Mean,
        ..plain()
    };
    let backbone = open("mae_fine_tuned.pth", &pooled);
    assert_eq!(backbone.layout, Layout::Mae);
    assert_eq!(backbone.sizes.classes, Some(3));
    let (_, adoption) = fit(&pooled, None, &backbone).unwrap();
    assert!(adoption.missing.is_empty() && adoption.other_classes.is_empty());
}

#[test]
fn of_dino_the_teacher_is_taken() {
    let backbone = open("dino_training.pth", &plain());
    assert_eq!(backbone.layout, Layout::Dino);
    assert_eq!(backbone.layout.convention(), Convention::Dino);
    assert_eq!(backbone.prefix, "teacher.backbone.");
    assert!(!backbone.guessed);
    let left_out = |name: &str| backbone.not_needed.iter().any(|other| other == name);
    assert!(left_out("teacher.head.last_layer.weight_g"));
    assert!(left_out("student.module.backbone.cls_token"));
    assert!(left_out("optimizer.state.0.exp_avg"));
    assert!(left_out("dino_loss.center"));
    assert!(backbone.unknown.is_empty());
}

#[test]
fn a_backbone_in_the_old_format_of_pytorch_is_read() {
    let backbone = open("dino_backbone.pth", &plain());
    assert_eq!(
        (backbone.layout, backbone.prefix.as_str()),
        (Layout::Dino, "")
    );
    assert!(backbone.guessed);
    assert!(backbone.not_needed.is_empty() && backbone.unknown.is_empty());
}

#[test]
fn blocks_of_dinov2_in_chunks_are_numbered_through() {
    let backbone = open("dinov2_training.pth", &scaled());
    assert_eq!(backbone.layout, Layout::Dinov2);
    assert_eq!(backbone.layout.convention(), Convention::Dino);
    assert_eq!(
        backbone.not_needed,
        [
            "teacher.backbone.mask_token",
            "teacher.dino_head.mlp.0.weight"
        ]
    );
}

#[test]
fn query_key_and_value_of_hugging_face_are_joined() {
    let backbone = open("dinov2_hugging_face.safetensors", &scaled());
    assert_eq!(backbone.layout, Layout::HuggingFaceDinov2);
    assert_eq!(backbone.layout.convention(), Convention::Mae);
    assert_eq!(backbone.not_needed, ["embeddings.mask_token"]);
    assert!(backbone.unknown.is_empty());
}

/// Half and double precision, bfloat16, transposed arrays and every second
/// element of larger ones, below `state_dict` and `module`.
#[test]
fn other_precisions_and_strides_give_the_same_numbers() {
    let backbone = open("timm_mixed.pth", &plain());
    assert_eq!(backbone.layout, Layout::Timm);
    assert_eq!(backbone.prefix, "state_dict.module.");
    assert!(backbone.not_needed.is_empty() && backbone.unknown.is_empty());
}

/// A message that names the file `name` with `bytes` and says `reason`.
fn refused(name: &str, bytes: &[u8], reason: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = Backbone::open(&path).unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "{error}");
    assert!(error.contains(reason), "{error}");
}

#[test]
fn files_that_are_no_weights_are_refused_with_their_name() {
    let text = b"path,label,split\nno_defect/1.png,no_defect,train\n";
    refused(
        "table.pth",
        text,
        "neither a safetensors file nor a PyTorch",
    );
    refused("empty.pth", b"", "the file is empty");
    refused("empty.safetensors", b"", "is empty");
    refused("text.safetensors", text, "not a whole safetensors file");
    refused(
        "notes.pth",
        b"cheers and thanks\n",
        "cannot use the PyTorch checkpoint",
    );
    // `os.system("x")`, which nobody calls.
    let call = b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00x\x85R.";
    refused("call.pth", call, "Expected a dictionary");
    let whole = std::fs::read(file("mae_pretraining.pth")).unwrap();
    refused(
        "cut.pth",
        &whole[..whole.len() / 2],
        "cannot use the PyTorch checkpoint",
    );
    let huge = std::fs::read(file("expanded.pth")).unwrap();
    refused(
        "huge.pth",
        &huge,
        "its arrays would take 1207959552 bytes, but the file has",
    );
    let half = std::fs::read(file("dinov2_hugging_face.safetensors")).unwrap();
    refused(
        "cut",
        &half[..half.len() / 2],
        "not a whole safetensors file",
    );
    assert!(
        Backbone::open(Path::new("nowhere.pth"))
            .unwrap_err()
            .to_string()
            .contains("cannot read the weights nowhere.pth")
    );
}

/// A bit that flips in the elements is found by the checksum, where a format
/// has one, and none anywhere makes the reader panic. What is missing at the
/// end is always found.
#[test]
fn damaged_checkpoints_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let without_checksum = [
        "dino_backbone.pth",
        "dinov2_hugging_face.safetensors",
        "expected.safetensors",
    ];
    let with_checksum = ["dino_training.pth", "timm_mixed.pth"];
    for name in [&without_checksum[..], &with_checksum].concat() {
        let whole = std::fs::read(file(name)).unwrap();
        let path = folder.path().join(name);
        let mut found = 0;
        let steps = (0..whole.len()).step_by(whole.len() / 100);
        for at in steps.clone() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, &damaged).unwrap();
            found += usize::from(Backbone::open(&path).is_err());
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(Backbone::open(&path).is_err(), "{name} cut at {at}");
        }
        let checked = with_checksum.contains(&name);
        assert!(
            !checked || found > steps.len() / 3,
            "{name}: {found} damages"
        );
    }
}

fn reason(arrays: NamedArrays) -> String {
    let file = WeightsFile::of_arrays(Path::new("given.safetensors"), arrays);
    let error = Backbone::of(file).unwrap_err().to_string();
    let beginning = "the network cannot begin with given.safetensors: ";
    error.strip_prefix(beginning).unwrap_or(&error).to_owned()
}

/// Weights of `spec` with one array replaced or added.
fn with(spec: &VitSpec, name: &str, shape: &[usize]) -> NamedArrays {
    let mut weights = initial::vit(spec, 1.0, 1).unwrap();
    let data = vec![0.0; shape.iter().product()];
    weights.insert(name, shape, data).unwrap();
    weights
}

#[test]
fn networks_that_ours_cannot_be_are_refused() {
    let spec = plain();
    let mut convolutional = NamedArrays::new();
    for layer in 0..20 {
        let name = format!("model.{layer}.conv.weight");
        convolutional.insert(name, [1], vec![1.0]).unwrap();
    }
    assert_eq!(
        reason(convolutional),
        "none of its arrays is the projection of patches (patch_embed.proj.weight) that every \
         Vision Transformer has; it holds model.0.conv.weight, model.1.conv.weight, \
         model.10.conv.weight, model.11.conv.weight, model.12.conv.weight, \
         model.13.conv.weight, model.14.conv.weight, model.15.conv.weight and 12 more"
    );
    let registers = reason(with(&spec, "register_tokens", &[1, 4, 8]));
    assert!(
        registers.starts_with("its network has register tokens (register_tokens)"),
        "{registers}"
    );
    assert_eq!(
        reason(with(&spec, "blocks.0.attn.q_norm.weight", &[8])),
        "its network has parts that a plain Vision Transformer has not: \
         blocks.0.attn.q_norm.weight"
    );
    assert_eq!(
        reason(with(&spec, "patch_embed.proj.weight", &[8, 1, 2, 2])),
        "its projection of patches takes images of 1 channel, but the network takes 3 (grey tiles \
         are repeated); take weights of a network for colour images"
    );
    assert_eq!(
        reason(with(&spec, "pos_embed", &[1, 16, 8])),
        "pos_embed has 16 tokens, which are not a class token and a square of patches"
    );
    assert_eq!(
        reason(with(&spec, "blocks.7.norm1.weight", &[8])),
        "it has 3 blocks, but none of the number 2; part of it is missing"
    );
    assert_eq!(
        reason(with(&spec, "other.patch_embed.proj.weight", &[8])),
        "it holds several networks, among them `other.` and ``; keep the one that is meant"
    );
    let mut run = NamedArrays::new();
    for (name, array) in initial::vit(&spec, 1.0, 1).unwrap().iter() {
        for part in ["model", "exp_avg", "exp_avg_sq"] {
            let name = format!("{part}.{name}");
            run.insert(name, array.shape.clone(), array.data.clone())
                .unwrap();
        }
    }
    run.metadata
        .insert("millsight.position".into(), "{}".into());
    assert_eq!(
        reason(run.clone()),
        "it is the checkpoint of a run, which does not state its network; take the run's \
         best.safetensors"
    );
    let mut gap = initial::vit(&spec, 1.0, 1).unwrap();
    gap.remove("blocks.0.mlp.fc1.weight");
    assert_eq!(
        reason(gap),
        "it lacks blocks.0.mlp.fc1.weight, which every Vision Transformer has"
    );
    let mut stated = initial::vit(&spec, 1.0, 1).unwrap();
    stated
        .metadata
        .insert("millsight.network".into(), "{}".into());
    let stated = reason(stated);
    assert!(
        stated.starts_with("millsight.network in its metadata: missing field"),
        "{stated}"
    );
}

#[test]
fn another_network_is_told_which_options_to_give() {
    let backbone = Backbone::open(&file("dinov2_hugging_face.safetensors")).unwrap();
    let error = backbone.check(&Preset::Tiny.spec(3)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("dinov2_hugging_face.safetensors"), "{text}");
    assert!(
        text.ends_with(
            "its network is another one: patch 2 instead of 16, width 8 instead of 192, depth 2 \
             instead of 12, MLP width 16 instead of 768, LayerScale; leave out the options of \
             the network, or give --patch 2 --width 8 --depth 2 --mlp-ratio 2 --layer-scale 1"
        ),
        "{text}"
    );
    let heads = backbone.network(None, 3).unwrap_err().to_string();
    assert!(
        heads.ends_with(
            "it does not say how many attention heads its width of 8 is divided into; give --heads"
        ),
        "{heads}"
    );
}
