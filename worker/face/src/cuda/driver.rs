//! Is there a device, and can libtorch use it?

use cudarc::driver::CudaContext;

use crate::device::{Device, DeviceDescription, Discovery, Fallback};

/// Opens the CUDA half of libtorch, if there is a driver, and counts devices.
pub(crate) fn look() -> Discovery {
    let without = |fallback: Fallback| Discovery { devices: vec![Device::Cpu], fallback: Some(fallback) };
    // Asking cudarc anything without a driver panics, so this question comes first.
    // SAFETY: only tries to open the driver library by its usual names.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return without(Fallback::NoDriver);
    }
    if let Err(error) = open_cuda_half() {
        return without(Fallback::NoLibtorchCuda(error.to_string()));
    }
    let count = std::panic::catch_unwind(|| {
        if tch::Cuda::is_available() { usize::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 }
    })
    .unwrap_or(0);
    if count == 0 {
        return without(Fallback::NoDevice);
    }
    if let Err(error) = keep_single_precision_exact() {
        tracing::warn!(%error, "TF32 stays on: single precision on the device is less exact than the processor's");
    }
    Discovery { devices: (0..count).map(Device::Cuda).collect(), fallback: None }
}

/// What the driver says about a device; `None` without a driver or such a device.
pub(crate) fn describe(index: usize) -> Option<DeviceDescription> {
    // SAFETY: as above.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return None;
    }
    let context = CudaContext::new(index).ok()?;
    let (_, total) = context.mem_get_info().ok()?;
    Some(DeviceDescription {
        name: context.name().ok()?,
        memory: total as u64,
        compute_capability: context.compute_capability().ok()?,
    })
}

fn open_cuda_half() -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library's initialisers register the CUDA backend with libtorch_cpu, which is
    // linked and therefore loaded already; the symbols must be global for its own plug-ins.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL)? };
    // It must stay for the life of the process: libtorch keeps pointers into it.
    std::mem::forget(library);
    Ok(())
}

/// Convolutions of single-precision numbers lose 13 bits in TF32, which libtorch allows by
/// default: enough to move a landmark by a pixel and a distance across a threshold. tch has no
/// switch for it, so libtorch's own is looked up by name.
fn keep_single_precision_exact() -> Result<(), libloading::Error> {
    use libloading::os::unix::{Library, Symbol};
    use std::ffi::c_void;
    let process = Library::this();
    // SAFETY: the signatures are those of libtorch 2.11's Context.h, to which tch pins us:
    // `Context& globalContext()`, `void Context::setAllowTF32CuDNN(bool)` and its twin. In the
    // Itanium C++ ABI a member function takes `this` as its first argument and a reference is a
    // pointer. Neither throws.
    unsafe {
        let global: Symbol<unsafe extern "C" fn() -> *mut c_void> = process.get(b"_ZN2at13globalContextEv\0")?;
        let cudnn: Symbol<unsafe extern "C" fn(*mut c_void, bool)> =
            process.get(b"_ZN2at7Context17setAllowTF32CuDNNEb\0")?;
        let cublas: Symbol<unsafe extern "C" fn(*mut c_void, bool)> =
            process.get(b"_ZN2at7Context18setAllowTF32CuBLASEb\0")?;
        let context = global();
        cudnn(context, false);
        cublas(context, false);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorchs_switch_for_tf32_is_found_and_turned() {
        use libloading::os::unix::{Library, Symbol};
        use std::ffi::c_void;
        // libtorch must be in the process before its symbols can be found.
        let _loaded = tch::get_num_threads();
        let allowed = || {
            let process = Library::this();
            // SAFETY: as in `keep_single_precision_exact`; `bool Context::allowTF32CuDNN(
            // std::optional<Float32Op>) const`, whose eight bytes of zero are an empty optional.
            unsafe {
                let global: Symbol<unsafe extern "C" fn() -> *mut c_void> =
                    process.get(b"_ZN2at13globalContextEv\0").unwrap();
                let allows: Symbol<unsafe extern "C" fn(*const c_void, u64) -> bool> =
                    process.get(b"_ZNK2at7Context14allowTF32CuDNNESt8optionalINS_9Float32OpEE\0").unwrap();
                allows(global(), 0)
            }
        };
        assert!(allowed(), "libtorch's default");
        keep_single_precision_exact().unwrap();
        assert!(!allowed());
    }
}
