//! A GenICam camera: what it is, and setting it up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aravis::glib::prelude::*;
use aravis::prelude::*;
use millsight_firmware_config::FeatureValue;

use super::chunks::ChunkNames;
use super::devices;
use super::error::Error;
use super::features;

/// An open camera. No other program can open it to change it.
#[derive(Debug)]
pub struct Camera {
    pub(super) camera: aravis::Camera,
    /// How it was asked for.
    pub(super) name: String,
    /// Set, in a thread of the library, when the control of the camera is lost.
    pub(super) is_gone: Arc<AtomicBool>,
    identity: Identity,
}

/// What a camera says of itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    /// Its maker.
    pub vendor: String,
    /// Its model.
    pub model: String,
    /// Its serial number; empty where it does not tell.
    pub serial: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            vendor,
            model,
            serial,
        } = self;
        write!(formatter, "{vendor} {model} {serial}")
    }
}

/// Features by their names.
pub type Features = BTreeMap<String, FeatureValue>;

/// How the frames of a camera are to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Format of the pixels as GenICam names it, for example `Mono8`.
    pub pixel_format: String,
    /// Pixels of a line.
    pub width: u32,
    /// Lines of a frame.
    pub height: u32,
    /// Further features by their names.
    pub features: Features,
    /// What it sends beside the pixels.
    pub chunks: ChunkNames,
}

/// How frames are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLayout {
    /// Format of the pixels as GenICam names it.
    pub pixel_format: String,
    /// Bits of a pixel, with those that only fill up.
    pub bits_per_pixel: u32,
    /// Pixels of a line.
    pub width: u32,
    /// Most lines of a frame.
    pub height: u32,
    /// Most bytes of a frame, with what the camera sends beside the pixels.
    pub payload: usize,
}

impl FrameLayout {
    /// Bytes of a line, where nothing fills it up.
    pub fn bytes_per_line(&self) -> usize {
        (self.width as usize * self.bits_per_pixel as usize).div_ceil(8)
    }
}

impl Camera {
    /// Opens a camera by its id (as [`devices::list`] gives it), its serial number, its
    /// address, its hardware address or the name that its user gave it.
    ///
    /// Waits some seconds for a camera that does not answer.
    ///
    /// # Errors
    /// When there is none, or another program controls it.
    pub fn open(name: &str) -> Result<Self, Error> {
        let lock = devices::lock_list();
        let camera = aravis::Camera::new(Some(name))
            .or_else(|error| {
                // By a serial number alone the library finds none.
                let listed = devices::listed(&lock);
                let found = listed.iter().find(|found| found.serial == name);
                found.map_or(Err(error), |found| aravis::Camera::new(Some(&found.id)))
            })
            .map_err(|error| Error::of_opening(name, &error))?;
        let device = camera.device().ok_or_else(|| Error::Missing {
            camera: name.to_owned(),
            reason: "the library gives no device".to_owned(),
        })?;
        // The library opens a camera that another program controls as if nothing were.
        if let Some(device) = device.downcast_ref::<aravis::GvDevice>()
            && !device.is_controller()
        {
            return Err(Error::Busy {
                camera: name.to_owned(),
            });
        }
        let is_gone = Arc::new(AtomicBool::new(false));
        let to_set = Arc::clone(&is_gone);
        device.connect_control_lost(move |_| to_set.store(true, Ordering::Release));
        let text = |feature| features::text(&camera, feature).unwrap_or_default();
        let identity = Identity {
            vendor: text("DeviceVendorName"),
            model: text("DeviceModelName"),
            serial: ["DeviceSerialNumber", "DeviceID"]
                .map(text)
                .into_iter()
                .find(|serial| !serial.is_empty())
                .unwrap_or_default(),
        };
        Ok(Self {
            camera,
            name: name.to_owned(),
            is_gone,
            identity,
        })
    }

    /// How it was asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether its control was lost. It cannot be used any more, only closed.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    pub(super) fn gone(&self) -> Error {
        Error::Gone {
            camera: self.name.clone(),
        }
    }

    pub(super) fn failed(
        &self,
        action: &'static str,
    ) -> impl Fn(aravis::glib::Error) -> Error + use<'_> {
        move |error| Error::new(&self.name, action, &error)
    }

    fn features(&self) -> features::Features<'_> {
        features::Features {
            camera: &self.camera,
            name: &self.name,
        }
    }

    /// Reads a feature; nothing of a command.
    ///
    /// # Errors
    /// When the camera lacks it or does not let it be read.
    pub fn feature(&self, name: &str) -> Result<Option<FeatureValue>, Error> {
        self.features().get(name)
    }

    /// Sets format and features, and tells how frames are then, and which features the
    /// camera has set to something else than asked.
    ///
    /// # Errors
    /// When the camera has no such format or feature, or is gone.
    pub fn set_up(&self, settings: &Settings) -> Result<(FrameLayout, Vec<String>), Error> {
        let format = FeatureValue::Text(settings.pixel_format.clone());
        let (width, height) = (settings.width.into(), settings.height.into());
        let (width, height) = (FeatureValue::Integer(width), FeatureValue::Integer(height));
        let continuous = FeatureValue::Text("Continuous".to_owned());
        let mut features = vec![
            ("PixelFormat", &format),
            ("Width", &width),
            ("Height", &height),
        ];
        if self
            .camera
            .is_feature_available("AcquisitionMode")
            .unwrap_or(false)
        {
            features.push(("AcquisitionMode", &continuous));
        }
        let further = settings.features.iter();
        features.extend(further.map(|(name, value)| (name.as_str(), value)));
        let mut notices = self.features().set_all(&features)?;
        for features in settings.chunks.features() {
            let features: Vec<_> = features
                .iter()
                .map(|(name, value)| (*name, value))
                .collect();
            notices.extend(self.features().set_all(&features)?);
        }
        let layout = self.layout()?;
        let given = (layout.pixel_format.as_str(), layout.width, layout.height);
        if given
            != (
                settings.pixel_format.as_str(),
                settings.width,
                settings.height,
            )
        {
            let asked = (
                settings.pixel_format.as_str(),
                settings.width,
                settings.height,
            );
            let text = |(format, width, height)| format!("{width} x {height} pixels {format}");
            return Err(Error::Format {
                camera: self.name.clone(),
                asked: text(asked),
                given: text(given),
            });
        }
        Ok((layout, notices))
    }

    /// How frames are.
    ///
    /// # Errors
    /// When the camera does not tell.
    pub fn layout(&self) -> Result<FrameLayout, Error> {
        let failed = self.failed("read the format of");
        let camera = &self.camera;
        let pixel_format = features::text(camera, "PixelFormat").map_err(&failed)?;
        let pixels = camera.pixel_format().map_err(&failed)?;
        let (_, _, width, height) = camera.region().map_err(&failed)?;
        let payload = camera.payload().map_err(&failed)?;
        Ok(FrameLayout {
            pixel_format,
            bits_per_pixel: aravis::bits_per_pixel(pixels).into(),
            width: width.max(0).cast_unsigned(),
            height: height.max(0).cast_unsigned(),
            payload: payload as usize,
        })
    }
}
