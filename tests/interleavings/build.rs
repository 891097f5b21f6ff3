//! Tells src/storage/memory/ that it is checked, so that it has few shards and takes few steps at once.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(grantor_interleavings)");
    println!("cargo::rustc-cfg=grantor_interleavings");
}
