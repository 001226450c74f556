//! What a GenICam camera can fail at.

use aravis::glib;

/// Why a camera cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not there, or does not answer.
    #[error(
        "there is no camera `{camera}`, or it does not answer ({reason}): check its power, its \
         cable and that its address is of this computer's network; `millsight devices` lists \
         the cameras that answer"
    )]
    Missing {
        /// How it was asked for.
        camera: String,
        /// What the library says.
        reason: String,
    },
    /// Another program controls it.
    #[error(
        "the camera `{camera}` is controlled by another program or computer; end that one. \
         After a crash the camera lets go by itself within some seconds"
    )]
    Busy {
        /// How it was asked for.
        camera: String,
    },
    /// It was there and is gone.
    #[error(
        "the camera `{camera}` is gone: it has lost its power or its connection, or another \
         program has taken control of it"
    )]
    Gone {
        /// How it was asked for.
        camera: String,
    },
    /// Where the camera was, there is another one.
    #[error("the camera `{camera}` is now {found} instead of {expected}")]
    Another {
        /// How it was asked for.
        camera: String,
        /// What is there.
        found: String,
        /// What was there.
        expected: String,
    },
    /// It does not do the asked format.
    #[error(
        "the camera `{camera}` gives frames of {given} instead of {asked}: correct the station \
         by the formats and sizes that `millsight devices` lists"
    )]
    Format {
        /// How it was asked for.
        camera: String,
        /// Format and size that were asked for.
        asked: String,
        /// Those that the camera has.
        given: String,
    },
    /// A feature cannot be set or read.
    #[error(
        "the camera `{camera}` does not take the feature {feature}: {reason}; its manual lists \
         its features and their values"
    )]
    Feature {
        /// How it was asked for.
        camera: String,
        /// Name of the feature.
        feature: String,
        /// What is wrong.
        reason: String,
    },
    /// Something else.
    #[error("cannot {action} the camera `{camera}`: {reason}")]
    Other {
        /// What was tried.
        action: &'static str,
        /// How it was asked for.
        camera: String,
        /// What the library says.
        reason: String,
    },
}

impl Error {
    /// What an error of the library means for a camera that was opened before.
    pub(super) fn new(camera: &str, action: &'static str, error: &glib::Error) -> Self {
        let camera = camera.to_owned();
        match error.kind::<aravis::DeviceError>() {
            Some(
                aravis::DeviceError::NotController
                | aravis::DeviceError::ProtocolErrorAccessDenied
                | aravis::DeviceError::ProtocolErrorBusy,
            ) => Self::Busy { camera },
            Some(aravis::DeviceError::NotConnected | aravis::DeviceError::Timeout) => {
                Self::Gone { camera }
            }
            _ => Self::Other {
                action,
                camera,
                reason: error.message().to_owned(),
            },
        }
    }

    /// What an error of the library means while a camera is opened.
    pub(super) fn of_opening(camera: &str, error: &glib::Error) -> Self {
        match error.kind::<aravis::DeviceError>() {
            Some(
                aravis::DeviceError::NotFound
                | aravis::DeviceError::NotConnected
                | aravis::DeviceError::Timeout,
            ) => Self::Missing {
                camera: camera.to_owned(),
                reason: error.message().to_owned(),
            },
            _ => Self::new(camera, "open", error),
        }
    }

    /// What an error of the library means while a feature is set or read.
    pub(super) fn of_feature(camera: &str, feature: &str, error: &glib::Error) -> Self {
        match Self::new(camera, "set", error) {
            Self::Other { camera, reason, .. } => Self::Feature {
                camera,
                feature: feature.to_owned(),
                reason,
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: aravis::DeviceError) -> glib::Error {
        glib::Error::new(kind, "so it is")
    }

    #[test]
    fn errors_of_the_library_are_told_by_what_to_do() {
        let timeout = error(aravis::DeviceError::Timeout);
        let camera = || "C-1".to_owned();
        assert_eq!(
            Error::new("C-1", "start", &timeout),
            Error::Gone { camera: camera() }
        );
        let missing = Error::of_opening("C-1", &timeout);
        assert!(matches!(&missing, Error::Missing { .. }));
        assert!(missing.to_string().contains("`C-1`"), "{missing}");
        let denied = error(aravis::DeviceError::ProtocolErrorAccessDenied);
        assert_eq!(
            Error::of_feature("C-1", "Gain", &denied),
            Error::Busy { camera: camera() }
        );
        let unknown = error(aravis::DeviceError::FeatureNotFound);
        let told = Error::of_feature("C-1", "Gain", &unknown).to_string();
        assert!(told.contains("Gain") && told.contains("so it is"), "{told}");
    }
}
