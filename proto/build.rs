//! Generates the messages. Fails with the name of the missing Debian package.
fn main() {
    let has_protoc =
        std::env::var_os("PROTOC").is_some() || std::process::Command::new("protoc").arg("--version").output().is_ok();
    assert!(has_protoc, "protoc is missing: install it with `apt-get install protobuf-compiler`, or set PROTOC");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let files: Vec<_> = std::fs::read_dir("consilium/v1")
        .expect("the .proto folder is part of the crate")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "proto"))
        .collect();
    prost_build::Config::new()
        .bytes(["."])
        .enable_type_names()
        .file_descriptor_set_path(out.join("consilium_descriptor.bin"))
        .compile_protos(&files, &[std::path::PathBuf::from(".")])
        .expect("the .proto files compile");
    println!("cargo:rerun-if-changed=consilium/v1");
}
