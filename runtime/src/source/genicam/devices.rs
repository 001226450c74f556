//! Which cameras are connected.

use std::ffi::{CStr, c_char, c_uint};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A camera that answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CameraInfo {
    /// By this it is opened: maker, model and serial number.
    pub id: String,
    /// Its maker.
    pub vendor: String,
    /// Its model.
    pub model: String,
    /// Its serial number; empty where it does not tell.
    pub serial: String,
    /// `GigEVision` or `USB3Vision`.
    pub protocol: String,
    /// Address in the network, or `USB3`.
    pub address: String,
    /// Hardware address in the network, or identifier on the USB.
    pub physical_id: String,
}

/// The library's list of cameras: whoever brings it up to date frees the texts in it.
static LIST: Mutex<()> = Mutex::new(());

/// Keeps others away from the library's list of cameras.
pub(super) fn lock_list() -> MutexGuard<'static, ()> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cameras that answer. Asks in all networks of this computer and waits a second for
/// the answers.
pub fn list() -> Vec<CameraInfo> {
    listed(&lock_list())
}

/// The cameras that answer, while the list is kept from others.
pub(super) fn listed(_lock: &MutexGuard<'_, ()>) -> Vec<CameraInfo> {
    // SAFETY: takes nothing; the list is ours as long as the lock is held.
    #[allow(unsafe_code)]
    let count = unsafe {
        aravis_sys::arv_update_device_list();
        aravis_sys::arv_get_n_devices()
    };
    (0..count)
        .map(|index| CameraInfo {
            id: text(aravis_sys::arv_get_device_id, index),
            vendor: text(aravis_sys::arv_get_device_vendor, index),
            model: text(aravis_sys::arv_get_device_model, index),
            serial: text(aravis_sys::arv_get_device_serial_nbr, index),
            protocol: text(aravis_sys::arv_get_device_protocol, index),
            address: text(aravis_sys::arv_get_device_address, index),
            physical_id: text(aravis_sys::arv_get_device_physical_id, index),
        })
        .collect()
}

/// A text of the list; empty where the library has none.
fn text(get: unsafe extern "C" fn(c_uint) -> *const c_char, index: c_uint) -> String {
    // SAFETY: the functions take any index, and give no address or that of a text that
    // ends with a zero and lives until the list is brought up to date; whoever calls this
    // holds the lock for as long.
    #[allow(unsafe_code)]
    unsafe {
        let text = get(index);
        if text.is_null() {
            return String::new();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
