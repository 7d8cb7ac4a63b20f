//! Opened products: status, reasons, terms.

use std::ffi::c_char;

use claviger_client::{OpenOptions, Scope, Status, UseSession};

use crate::gate::{gate, gate_or, give, object, optional_text, take, text, write_text};
use crate::news::Gates;
use crate::vendor::Vendor;
use crate::{CLV_INTERNAL, CLV_INVALID_ARGUMENT};

/// An opened product. Made by `clv_license_open`, given back by `clv_license_close`.
pub struct License {
    pub(crate) license: claviger_client::License,
    /// The instance that this handle belongs to, as far as uses go.
    session: UseSession,
    /// Callbacks of calls in flight, silenced when the handle is given back.
    pub(crate) gates: Gates,
}

/// The stable word for the reason: `bad_signature`, `wrong_product` …
pub const CLV_TEXT_REASON_CODE: u32 = 1;
/// A sentence for people about the status, in English, with what to do next.
pub const CLV_TEXT_REASON: u32 = 2;
/// The serial number.
pub const CLV_TEXT_SERIAL: u32 = 3;
/// The licensed product's (or bundle's) name.
pub const CLV_TEXT_PRODUCT_NAME: u32 = 4;
/// `perpetual`, `subscription` or `trial`.
pub const CLV_TEXT_KIND: u32 = 5;
/// The last release date covered, `2026-11-22`; empty where every release is.
pub const CLV_TEXT_UPDATES_UNTIL: u32 = 6;
/// The features that the license opens, joined by line feeds.
pub const CLV_TEXT_ENTITLEMENTS: u32 = 7;
/// The activation's id.
pub const CLV_TEXT_ACTIVATION: u32 = 8;
/// The id of the product that was opened.
pub const CLV_TEXT_PRODUCT: u32 = 9;
/// The id of the licensed product or bundle, which opens this product among others.
pub const CLV_TEXT_LICENSED_PRODUCT: u32 = 10;
/// The ids of all products that the license opens, joined by line feeds.
pub const CLV_TEXT_OPENS: u32 = 11;
/// The last day that a subscription is paid for, `2026-11-22`; empty for other licenses.
pub const CLV_TEXT_PAID_THROUGH: u32 = 12;
/// This computer as the vendor knows it, licensed or not; empty where the system has no id of its own.
pub const CLV_TEXT_MACHINE: u32 = 13;

/// No certificate was found.
pub const CLV_SCOPE_NONE: u32 = 0;
/// The certificate is in the machine's folder: everyone on this computer is licensed.
pub const CLV_SCOPE_MACHINE: u32 = 1;
/// The certificate is in the user's folder.
pub const CLV_SCOPE_USER: u32 = 2;

/// Opens a product: reads and verifies the files on this computer, on the spot. It answers CLV_OK whatever they say;
/// `clv_license_status` tells.
///
/// `product`: its id. `released`: the date of this release, `2026-11-22`, or NULL where updates are not limited.
/// `out`: where the handle is written. Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread but an audio thread.
///
/// # Safety
/// `vendor` is null or live; `product` and `released` are null or C strings; `out` is null or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_open(
    vendor: *const Vendor,
    product: *const c_char,
    released: *const c_char,
    out: *mut *mut License,
) -> u32 {
    gate(|| {
        if out.is_null() {
            return Err(CLV_INVALID_ARGUMENT);
        }
        // SAFETY: the caller's promise.
        let (vendor, product, released) =
            unsafe { (object(vendor)?, text(product)?, optional_text(released)?) };
        let mut options = OpenOptions::new();
        if let Some(date) = released {
            options = options.released(date.parse().map_err(|_| CLV_INVALID_ARGUMENT)?);
        }
        let license = vendor.0.open(product, options).map_err(|_| CLV_INVALID_ARGUMENT)?;
        // SAFETY: not null, and the caller's promise.
        unsafe { give(out, License { session: license.use_session(), license, gates: Gates::default() }) };
        Ok(())
    })
}

/// Gives a license back; NULL is nothing. Callbacks given with it are not called afterwards. Waits at most 5 ms (1 for
/// a callback in progress, then for threads). Any thread but an audio thread; also while a loader lock is held.
///
/// # Safety
/// `license` is null or a handle that was not given back yet and that no other thread uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_close(license: *mut License) {
    gate_or((), || {
        // SAFETY: the caller's promise.
        if let Some(license) = unsafe { take(license) } {
            license.gates.silence();
        }
    });
}

/// The status: one atomic load. No lock, no allocation, no system call. Any thread, audio threads too. NULL answers
/// CLV_INVALID_ARGUMENT. (While the status is CLV_STATUS_PENDING, a short lock and a look at the clock are added.)
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_status(license: *const License) -> u32 {
    // SAFETY: the caller's promise. No gate: nothing here can panic.
    let Some(license) = (unsafe { license.as_ref() }) else { return CLV_INVALID_ARGUMENT };
    license.license.status().number()
}

/// A counter that rises with every change of this product's status or terms: one atomic load. Any thread, audio threads
/// too. NULL answers 0.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_changes(license: *const License) -> u64 {
    // SAFETY: the caller's promise. No gate: nothing here can panic.
    unsafe { license.as_ref() }.map_or(0, |license| license.license.changes())
}

/// Reads the files again and answers with the status. A license is never taken away by it in a running process. Any
/// thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_refresh(license: *const License) -> u32 {
    gate_or(CLV_INTERNAL, || {
        // SAFETY: the caller's promise.
        unsafe { object(license) }.map_or_else(|error| error, |license| license.license.refresh().number())
    })
}

/// Whether the license opens the feature `entitlement`. False for NULL. Any thread but an audio thread.
///
/// # Safety
/// `license` is null or live; `entitlement` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_has_entitlement(
    license: *const License,
    entitlement: *const c_char,
) -> bool {
    gate_or(false, || {
        // SAFETY: the caller's promise.
        let asked = unsafe { object(license).and_then(|license| Ok((license, text(entitlement)?))) };
        asked.is_ok_and(|(license, entitlement)| license.license.has_entitlement(entitlement))
    })
}

/// Days until a subscription or trial ends, begun ones included; 0 when it is over; -1 where there is no end. Any thread
/// but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_days_left(license: *const License) -> i32 {
    gate_or(-1, || {
        // SAFETY: the caller's promise.
        let days = unsafe { object(license) }.ok().and_then(|license| license.license.days_left());
        days.map_or(-1, |days| i32::try_from(days).unwrap_or(i32::MAX))
    })
}

/// When a subscription (with its grace period) or trial ends, in seconds since 1970 UTC; -1 where there is no end. Any
/// thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_expires(license: *const License) -> i64 {
    gate_or(-1, || {
        // SAFETY: the caller's promise.
        let end = unsafe { object(license) }.ok().and_then(|license| license.license.expires());
        end.map_or(-1, |end| end.0)
    })
}

/// When the certificate was signed, in seconds since 1970 UTC; -1 where there is none. Any thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_issued(license: *const License) -> i64 {
    gate_or(-1, || {
        // SAFETY: the caller's promise.
        let certificate = unsafe { object(license) }.ok().and_then(|license| license.license.certificate());
        certificate.map_or(-1, |certificate| certificate.iat.0)
    })
}

/// The revision of the activation, which rises with every change of its terms; 0 where there is no certificate. Any
/// thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_revision(license: *const License) -> u32 {
    gate_or(0, || {
        // SAFETY: the caller's promise.
        let certificate = unsafe { object(license) }.ok().and_then(|license| license.license.certificate());
        certificate.map_or(0, |certificate| certificate.rev)
    })
}

/// Whose folder the certificate was found in: CLV_SCOPE_…. Any thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_scope(license: *const License) -> u32 {
    gate_or(CLV_SCOPE_NONE, || {
        // SAFETY: the caller's promise.
        let scope = unsafe { object(license) }.ok().and_then(|license| license.license.scope());
        match scope {
            None => CLV_SCOPE_NONE,
            Some(Scope::Machine) => CLV_SCOPE_MACHINE,
            Some(Scope::User) => CLV_SCOPE_USER,
        }
    })
}

/// Copies a text about the license (CLV_TEXT_…) into `buffer`, with a NUL.
///
/// `length`: the buffer's size going in, the text's length without its NUL coming out. With a NULL buffer only the length
/// is told. Answers CLV_OK, CLV_BUFFER_TOO_SMALL or CLV_INVALID_ARGUMENT; a text that there is none of is empty. Any
/// thread but an audio thread.
///
/// # Safety
/// `license` is null or live; `length` is null or valid; `buffer` is null or has `*length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_text(
    license: *const License,
    which: u32,
    buffer: *mut c_char,
    length: *mut usize,
) -> u32 {
    gate(|| {
        // SAFETY: the caller's promise.
        let license = &unsafe { object(license) }?.license;
        let certificate = license.certificate();
        let value = match which {
            CLV_TEXT_REASON_CODE => license.reason().code.to_owned(),
            CLV_TEXT_REASON => license.reason().sentence,
            CLV_TEXT_ENTITLEMENTS => license.entitlements().join("\n"),
            CLV_TEXT_SERIAL => certificate.map(|c| c.serial.to_string()).unwrap_or_default(),
            CLV_TEXT_PRODUCT_NAME => certificate.map(|c| c.name).unwrap_or_default(),
            CLV_TEXT_KIND => certificate.map_or("", |c| kind(c.kind)).to_owned(),
            CLV_TEXT_UPDATES_UNTIL => {
                certificate.and_then(|c| c.updates_until).map(|date| date.to_string()).unwrap_or_default()
            }
            CLV_TEXT_ACTIVATION => certificate.map(|c| c.jti.to_string()).unwrap_or_default(),
            CLV_TEXT_PRODUCT => license.product().to_string(),
            CLV_TEXT_LICENSED_PRODUCT => certificate.map(|c| c.product.to_string()).unwrap_or_default(),
            CLV_TEXT_OPENS => certificate.map(|c| lines(&c.opens)).unwrap_or_default(),
            CLV_TEXT_PAID_THROUGH => {
                certificate.and_then(|c| c.paid_through).map(|date| date.to_string()).unwrap_or_default()
            }
            CLV_TEXT_MACHINE => license.machine().map(|machine| machine.to_string()).unwrap_or_default(),
            _ => return Err(CLV_INVALID_ARGUMENT),
        };
        // SAFETY: the caller's promise.
        unsafe { write_text(&value, buffer, length) }
    })
}

fn lines(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn kind(kind: claviger_client::protocol::documents::LicenseKind) -> &'static str {
    use claviger_client::protocol::documents::LicenseKind;
    match kind {
        LicenseKind::Perpetual => "perpetual",
        LicenseKind::Subscription => "subscription",
        LicenseKind::Trial => "trial",
        LicenseKind::Other => "other",
    }
}

/// Copies a sentence for people about any status number into `buffer`; `length` as in `clv_license_text`. Any thread but
/// an audio thread.
///
/// # Safety
/// `length` is null or valid; `buffer` is null or has `*length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_status_text(status: u32, buffer: *mut c_char, length: *mut usize) -> u32 {
    gate(|| {
        let status = Status::from_number(status).ok_or(CLV_INVALID_ARGUMENT)?;
        // SAFETY: the caller's promise.
        unsafe { write_text(status.sentence(), buffer, length) }
    })
}

/// Copies the stable word for any status number (`licensed`, `not_activated` …) into `buffer`; `length` as in
/// `clv_license_text`. Any thread but an audio thread.
///
/// # Safety
/// `length` is null or valid; `buffer` is null or has `*length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_status_code(status: u32, buffer: *mut c_char, length: *mut usize) -> u32 {
    gate(|| {
        let status = Status::from_number(status).ok_or(CLV_INVALID_ARGUMENT)?;
        // SAFETY: the caller's promise.
        unsafe { write_text(status.code(), buffer, length) }
    })
}

/// Audio is processed: call it with every block. Uses are counted only where a person has agreed to it, and instances of a
/// product that run together are one use; without consent this is one atomic load. Any thread, audio threads too.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_begin_use(license: *const License) {
    // SAFETY: the caller's promise. No gate: nothing here can panic.
    if let Some(license) = unsafe { license.as_ref() } {
        license.session.begin();
    }
}

/// The instance has stopped processing; also done by `clv_license_close`. Without consent, and where nothing was begun, one
/// atomic load. Any thread but an audio thread.
///
/// # Safety
/// `license` is null or live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_end_use(license: *const License) {
    gate_or((), || {
        // SAFETY: the caller's promise.
        if let Ok(license) = unsafe { object(license) } {
            license.session.end();
        }
    });
}

/// What a use is told with: `version`, that of the product; `host` and `host_version`, what the host calls itself through the
/// plug-in format. Each may be NULL. Forgotten at once without consent. Answers CLV_OK or CLV_INVALID_ARGUMENT. Any thread
/// but an audio thread.
///
/// # Safety
/// `license` is null or live; the texts are null or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clv_license_describe_use(
    license: *const License,
    version: *const c_char,
    host: *const c_char,
    host_version: *const c_char,
) -> u32 {
    gate(|| {
        // SAFETY: the caller's promise.
        let (license, version, host, host_version) = unsafe {
            (object(license)?, optional_text(version)?, optional_text(host)?, optional_text(host_version)?)
        };
        let text = Option::unwrap_or_default;
        license.session.describe(text(version), text(host), text(host_version));
        Ok(())
    })
}
