//! Lets the binaries find libtorch at run time without LD_LIBRARY_PATH.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    // The link in the checkout points at a per-user cache: the binary must not depend on where the checkout is.
    if let Ok(lib) = Path::new(&libtorch).join("lib").canonicalize() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    // For an installed binary, whose libtorch lies beside it.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
}
