//! Writes libtorch's folder into the run path of this crate's own tests and benches, so that
//! they start without `LD_LIBRARY_PATH`. Cargo does not pass link arguments on from a
//! dependency: every crate with a binary that links libtorch has these lines.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = std::env::var_os("LIBTORCH") else {
        return;
    };
    let library = Path::new(&libtorch).join("lib");
    let library = library.canonicalize().unwrap_or(library);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
}
